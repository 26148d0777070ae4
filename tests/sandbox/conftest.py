"""A real API server for tests: one for the session, one per module, or one per test."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from labsandbox import rights
from labsandbox.client import Client

ROOT = Path(__file__).resolve().parents[2]
REFUSED = 'forbidden: User "labsandbox:'


@dataclass
class ApiServer:
    """A running server: where it is, how to sign in, and how to stop and start it."""

    state: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """admin.conf: a client certificate of system:masters."""
        return self.state / "admin.conf"

    admin_conf = kubeconfig

    @property
    def ca(self) -> Path:
        return self.state / "pki" / "ca.crt"

    @property
    def certificate(self) -> tuple[str, str]:
        """Certificate and key files of the administrator, as `requests` takes them."""
        pki = self.state / "pki"
        stem = "client-kubernetes-admin"
        return str(pki / f"{stem}.crt"), str(pki / f"{stem}.key")

    @property
    def log(self) -> str:
        return (self.state / "server.log").read_text(errors="replace")

    def start(self, deadline: float = 20.0) -> ApiServer:
        """Start the program and wait until it says it is ready."""
        marker = self.state / "apiserver.json"
        before = marker.read_bytes() if marker.exists() else b""
        with (self.state / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "labsandbox.apiserver", "--state", str(self.state),
                    "--parent-pid", str(os.getpid()), *self.arguments,
                ],
                cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **self.environment},
            )  # fmt: skip
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at once:\n{self.log}")
            if marker.exists() and marker.read_bytes() != before:
                found = json.loads(marker.read_text())
                if found["pid"] == self.process.pid:
                    self.url = found["url"]
                    return self
            time.sleep(0.01)
        self.kill()
        raise AssertionError(f"the server was not ready after {deadline} s:\n{self.log}")

    def grant(self) -> ApiServer:
        """Give the parts of the platform their rights, as its administrator does."""

        async def work() -> None:
            async with Client.from_kubeconfig(self.kubeconfig) as client:
                await rights.grant(client)

        asyncio.run(work())
        return self

    def stop(self) -> None:
        """Stop as a user would; clean up when that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill without warning."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def make_server(*arguments: str) -> ApiServer:
    """A server that is not started yet, in a folder of its own."""
    return ApiServer(Path(tempfile.mkdtemp(prefix="apiserver-")), arguments)


def missing_rights(state: Path) -> list[str]:
    """What the programs wrote about requests that the platform's own parts may not send."""
    logs = (log.read_text(errors="replace") for log in sorted(state.glob("*.log")))
    return [line for log in logs for line in log.splitlines() if REFUSED in line]


def _running(*arguments: str) -> Iterator[ApiServer]:
    server = make_server(*arguments)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(server.state, ignore_errors=True)


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ApiServer]:
    """One server for all tests that keep to a namespace of their own."""
    yield from _running()


@pytest.fixture(scope="module")
def fresh_apiserver() -> Iterator[ApiServer]:
    """A server of the module's own."""
    yield from _running()


@pytest.fixture
def own_apiserver() -> Iterator[ApiServer]:
    """A server of the test's own, to kill, restart or fill."""
    yield from _running()
