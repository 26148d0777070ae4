"""The node's confinement as a program: what is not named stays shut, tight or not."""

from __future__ import annotations

import platform
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from labsandbox.node import landlock, syscalls

pytestmark = pytest.mark.sandbox
confined = pytest.mark.skipif(
    not landlock.abi(), reason="this kernel has no Landlock: nothing is confined"
)
ROOT = Path(__file__).resolve().parents[2]
READ = ["/usr", "/bin", "/lib", "/lib64", "/proc", str(ROOT), sys.prefix, sys.base_prefix]


def run(code: str, *words: str) -> str:
    """Run Python code in the confinement and return what it printed."""
    options = [f"--read={path}" for path in READ] + ["--write=/dev/null", *words]
    command = [sys.executable, "-m", "labsandbox.node.landlock", *options, "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return done.stdout + done.stderr.strip().rpartition("\n")[2]


@confined
def test_confined_program_reads_and_writes_what_is_named_and_no_more(tmp_path: Path) -> None:
    for name in ("shown", "mine", "hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    allowed = (f"--read={tmp_path / 'shown'}", f"--write={tmp_path / 'mine'}")
    for name, mode, is_open in [
        ("shown", "r", True), ("shown", "a", False), ("mine", "a", True), ("hidden", "r", False),
    ]:  # fmt: skip
        said = run(f"open({str(tmp_path / name / 'file')!r}, {mode!r}); print('open')", *allowed)
        assert ("open" in said, "PermissionError" in said) == (is_open, not is_open), said


@confined
@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("import socket; socket.socket(socket.AF_UNIX)", "PermissionError"),
        ("import os; os.truncate('/dev/null', 0)", "PermissionError"),
        ("import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall(425, 1, 0);"
         "print(ctypes.get_errno())", "38"),
        ("print(open('/proc/self/status').read().split('CapEff:')[1].split()[0])", "0" * 16),
    ],
    ids=["unix-socket", "truncate", "io_uring", "capabilities"],
)  # fmt: skip
def test_tight_program_has_no_way_to_ask_others(code: str, refusal: str) -> None:
    assert refusal in run(code, "--tight")
    if "status" not in code:  # an ordinary user has no capabilities in either case
        assert refusal not in run(code)


@confined
def test_tight_program_keeps_what_event_loops_are_made_of() -> None:
    code = "import asyncio, socket; asyncio.run(asyncio.sleep(0)); socket.socket(); print('runs')"
    assert run(code, "--tight") == "runs\n"


@confined
def test_confined_program_cannot_look_at_or_signal_its_parent() -> None:
    assert "PermissionError" in run("import os; open(f'/proc/{os.getppid()}/environ', 'rb').read()")
    if landlock.abi() >= 6:
        assert "PermissionError" in run("import os; os.kill(os.getppid(), 0)")


def test_kernel_without_landlock_is_refused_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert landlock.main(["--write=/", "--", "/bin/echo", "started"]) == 3
    said = capsys.readouterr()
    assert "Expected a kernel with Landlock" in said.err
    assert "started" not in said.out


def test_program_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    if landlock.abi():
        done = subprocess.run(
            [sys.executable, "-m", "labsandbox.node.landlock", "--read=/usr", "--", "no-such"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 127
        assert "no-such" in done.stderr


# The filter of system calls, followed line by line as the kernel does it: also for the instruction
# set that this machine has not.


def verdict(code: bytes, number: int, machine: int, argument: int = 0) -> int:
    """Return what a filter says about a call: 0 for yes, else the error."""
    data = struct.pack("<IIQQ", number, machine, 0, argument)
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    at, loaded = 0, 0
    while True:
        operation, yes, no, value = lines[at]
        at += 1
        if operation == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif operation == 0x15:
            at += yes if loaded == value else no
        elif operation == 0x35:
            at += yes if loaded >= value else no
        else:
            return value & 0xFFFF if value != 0x7FFF0000 else 0


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_filter_of_calls_refuses_these_and_no_others(name: str) -> None:
    machine = syscalls._MACHINES[name]
    code = syscalls.filter_for(machine)
    unix, internet = int(socket.AF_UNIX), int(socket.AF_INET)
    assert verdict(code, machine.socket, machine.audit, unix) == 13
    assert verdict(code, machine.socket, machine.audit, internet) == 0
    assert verdict(code, machine.truncate, machine.audit) == 13
    assert verdict(code, 425, machine.audit) == 38
    assert verdict(code, machine.socket, 0x40000003, internet) == 38, "another instruction set"
    others = set(range(500)) - {machine.socket, machine.truncate, 425}
    assert {verdict(code, number, machine.audit, unix) for number in others} == {0}
    assert platform.machine() in syscalls._MACHINES, "this machine is not covered"
