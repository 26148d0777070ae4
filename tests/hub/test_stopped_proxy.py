"""A proxy that died is replaced; one that was stopped is not, whatever still looks after it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from labclass.jupyterhub_app import ClassHub, ClassProxy

pytestmark = pytest.mark.fast


class Watched(ClassProxy):
    """A proxy whose process is a sleeper, and that counts its starts."""

    starts = 0

    async def start(self) -> None:
        self.starts += 1
        self.proxy_process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)

    async def restore_routes(self) -> None:
        """There is nobody to tell them to."""

    def end(self) -> None:
        self.proxy_process.kill()
        self.proxy_process.communicate()


@pytest.fixture
def proxy(tmp_path: Path) -> Watched:
    return Watched(pid_file=str(tmp_path / "proxy.pid"), auth_token="of-a-test")


def test_proxy_that_died_is_replaced(proxy: Watched) -> None:
    asyncio.run(proxy.start())
    proxy.end()
    asyncio.run(proxy.check_running())
    assert proxy.starts == 2
    assert proxy.proxy_process.poll() is None
    proxy.end()


def test_proxy_that_was_stopped_stays_down(proxy: Watched) -> None:
    asyncio.run(proxy.start())
    proxy.stop()
    proxy.proxy_process.communicate()
    asyncio.run(proxy.check_running())  # by a timer of an earlier start
    assert proxy.starts == 1


def test_class_runs_with_this_proxy() -> None:
    assert ClassHub().proxy_class is ClassProxy
