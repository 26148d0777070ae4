"""A warden leaves nothing behind, however its program ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.hub.running import until

pytestmark = pytest.mark.sandbox
WARDEN = [sys.executable, "-m", "labclass.warden"]
ROOT = Path(__file__).resolve().parents[2]

# A program that leaves its parent on purpose, without its parent's environment.
ORPHAN = "env -i /bin/sh -c 'setsid sleep {tag} & setsid sleep {tag} & exit' ; "


@pytest.fixture
def tag() -> Iterator[str]:
    """Return a duration for `sleep` that no other test's process has."""
    number = f"1000.{os.getpid()}{os.urandom(2).hex().translate(str.maketrans('abcdef', '123456'))}"
    yield number
    for process in sleeping(number):
        process.kill()


def sleeping(tag: str) -> list[psutil.Process]:
    """Return the processes that sleep for a test."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[:2] == ["sleep", tag]:
            found.append(process)
    return found


def start(script: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a shell script under a warden."""
    return subprocess.Popen([*WARDEN, *options, "--", "/bin/sh", "-c", script], cwd=ROOT)


def test_orphans_end_with_the_program_and_its_status_is_kept(tag: str) -> None:
    assert start(ORPHAN.format(tag=tag) + "exit 7").wait(20) == 7
    assert not sleeping(tag)


def test_killed_program_takes_all_it_started_along(tag: str) -> None:
    warden = start(ORPHAN.format(tag=tag) + f"exec sleep {tag}")
    until(lambda: len(sleeping(tag)) == 3, "three processes sleep")
    oldest = min(psutil.Process(warden.pid).children(), key=lambda one: one.create_time())
    oldest.kill()  # what the warden started itself; the others it adopted
    assert warden.wait(20) == 128 + signal.SIGKILL
    assert not sleeping(tag)


def test_ended_warden_asks_the_program_first(tag: str, tmp_path: Path) -> None:
    script = f"trap 'echo asked > {tmp_path}/said; exit 3' TERM; sleep {tag} & wait"
    warden = start(script)
    until(lambda: sleeping(tag), "it sleeps")
    warden.terminate()
    assert warden.wait(20) == 3
    assert (tmp_path / "said").read_text() == "asked\n"
    assert not sleeping(tag)


def test_warden_asked_twice_does_not_wait(tag: str) -> None:
    warden = start(f"trap '' TERM INT; sleep {tag} & wait; wait; wait; sleep {tag}")
    until(lambda: sleeping(tag), "it sleeps")
    warden.send_signal(signal.SIGINT)
    warden.send_signal(signal.SIGTERM)
    assert warden.wait(20) == 128 + signal.SIGKILL
    assert not sleeping(tag)


def test_killed_warden_takes_its_program_along(tag: str) -> None:
    warden = start(f"exec sleep {tag}")
    until(lambda: sleeping(tag), "it sleeps")
    warden.kill()
    warden.wait(20)
    until(lambda: not sleeping(tag), "nothing sleeps any more")


@pytest.mark.parametrize("options", [[], ["--with-parent"]], ids=["stays", "with-parent"])
def test_program_outlives_its_parent_unless_told_otherwise(tag: str, options: list[str]) -> None:
    between = subprocess.Popen(
        [
            *(sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"),
            *(*WARDEN, *options, "--", "sleep", tag),
        ],
        cwd=ROOT,
    )
    (sleeper,) = until(lambda: sleeping(tag), "it sleeps")
    warden = sleeper.parent()
    assert warden is not None
    until(lambda: _catches(warden.pid, signal.SIGTERM), "the warden watches")
    between.kill()
    between.wait(20)
    if options:
        until(lambda: not sleeping(tag), "it ended with its parent")
    else:
        assert sleeper.is_running()
        warden.terminate()
        until(lambda: not sleeping(tag), "it ended when asked")


def _catches(pid: int, number: signal.Signals) -> bool:
    line = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(line, 16) >> (number - 1) & 1)


def test_program_that_is_not_there_is_named() -> None:
    done = subprocess.run(
        [*WARDEN, "--", "no-such-program"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 127
    assert "no-such-program" in done.stderr
