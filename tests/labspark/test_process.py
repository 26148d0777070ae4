"""End a process and all it has started, although one of them ends by itself meanwhile."""

from __future__ import annotations

import psutil
import pytest

from labspark import process

TWO_SLEEPERS = """
import subprocess
sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
for sleeper in sleepers:
    sleeper.wait()
"""


def test_kill_ends_all_of_a_family_one_of_which_has_just_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    victim = process.start_python(TWO_SLEEPERS)
    seen: list[psutil.Process] = []
    real = psutil.Process.children

    def children(self: psutil.Process, recursive: bool = False) -> list[psutil.Process]:
        """List them as ever; between the first list and its use, one of them ends."""
        listed = real(self, recursive)
        if not seen:
            seen.extend(listed)
            listed[0].kill()
            psutil.wait_procs(listed[:1])
        return listed

    while len(real(psutil.Process(victim.pid))) < 2:
        assert victim.poll() is None, "the program that starts two others ended by itself"
    monkeypatch.setattr(psutil.Process, "children", children)
    process.kill(victim)
    assert victim.returncode == -9, "a process that was killed hard has no exit code of its own"
    assert len(seen) == 2
    assert not any(one.is_running() for one in seen)


def test_kill_leaves_a_process_that_has_ended_alone() -> None:
    victim = process.start_python("pass")
    victim.wait()
    assert process.kill(victim) == 0
    assert victim.returncode == 0
