"""The node's confinement as a program: what is not named stays shut, tight or not."""

from __future__ import annotations

import os
import platform
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from labsandbox.node import landlock, syscalls, view

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
        said = run(f"open({str(tmp_path / name / 'file')!r}, {mode!r}); print('granted')", *allowed)
        assert ("granted" in said, "PermissionError" in said) == (is_open, not is_open), said


@confined
@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("import socket; socket.socket(socket.AF_UNIX)", "PermissionError"),
        ("import socket; socket.socketpair(type=socket.SOCK_DGRAM)", "PermissionError"),
        ("import os; os.truncate('/dev/null', 0)", "PermissionError"),
        ("import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall(425, 1, 0);"
         "print(ctypes.get_errno())", "38"),
        ("print(open('/proc/self/status').read().split('CapEff:')[1].split()[0])", "0" * 16),
    ],
    ids=["unix-socket", "pair-of-datagrams", "truncate", "io_uring", "capabilities"],
)  # fmt: skip
def test_tight_program_has_no_way_to_ask_others(code: str, refusal: str) -> None:
    assert refusal in run(code, "--tight")
    if "status" not in code:  # an ordinary user has no capabilities in either case
        assert refusal not in run(code)


@confined
@pytest.mark.skipif(not view.is_possible(), reason="no mount namespace can be had on this machine")
@pytest.mark.parametrize(
    "call", ["os.chmod({!r}, 0o777)", "os.chown({!r}, 0, 0)", "os.utime({!r})",
             "os.setxattr({!r}, 'user.a', b'b')"],
    ids=["chmod", "chown", "utime", "setxattr"],
)  # fmt: skip
def test_tight_program_changes_nothing_about_a_file_that_is_not_its_own(
    call: str, tmp_path: Path
) -> None:
    for name in ("other", "own"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    before = os.stat(tmp_path / "other" / "file")
    write = f"--write={tmp_path / 'own'}"
    other, own = (str(tmp_path / name / "file") for name in ("other", "own"))
    assert "Read-only file system" in run(f"import os; {call.format(other)}", "--tight", write)
    assert run(f"import os; {call.format(own)}; print('done')", "--tight", write) == "done\n"
    assert os.stat(tmp_path / "other" / "file") == before


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


def verdict(code: bytes, number: int, machine: int, *arguments: int) -> int:
    """Return what a filter says about a call: 0 for yes, else the error."""
    data = struct.pack("<IIQ6Q", number, machine, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    at, loaded = 0, 0
    while True:
        operation, yes, no, value = lines[at]
        at += 1
        if operation == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif operation == 0x54:
            loaded &= value
        elif operation == 0x15:
            at += yes if loaded == value else no
        elif operation == 0x35:
            at += yes if loaded >= value else no
        else:
            return value & 0xFFFF if value != 0x7FFF0000 else 0


@pytest.mark.parametrize("name", sorted(syscalls._MACHINES))
def test_filter_of_calls_refuses_these_and_no_others(name: str) -> None:
    machine = syscalls._MACHINES[name]
    code = syscalls.filter_for(machine)

    def answer(number: int, *arguments: int) -> int:
        return verdict(code, number, machine.audit, *arguments)

    ip = {int(f) for f in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)}
    assert {family for family in range(50) if answer(machine.socket, family) == 0} == ip
    assert {kind for kind in range(16) if answer(machine.socketpair, 1, kind) == 0} == {1, 5}
    close_on_exec = int(socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    assert answer(machine.socketpair, 1, close_on_exec) == 0
    assert answer(machine.socketpair, 1, int(socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) == 13
    assert answer(machine.truncate) == 13
    assert answer(425) == 38
    assert {answer(number) for number in machine.keys} == {1}
    assert verdict(code, machine.socket, 0x40000003, 2) == 38, "another instruction set"
    others = set(range(500)) - {machine.socket, machine.truncate, 425, *machine.keys}
    others -= {machine.socketpair}
    assert {answer(number) for number in others} == {0}
    assert platform.machine() in syscalls._MACHINES, "this machine is not covered"


@pytest.mark.parametrize("name", sorted(syscalls._MACHINES))
def test_filter_lets_a_program_limit_itself_alone(name: str) -> None:
    machine = syscalls._MACHINES[name]
    code = syscalls.filter_for(machine)
    limits, priority = machine.prlimit, machine.setpriority
    for number, arguments, error in [
        (limits, (0, 7, 0x7FFF0000), 0),
        (limits, (1234, 7, 0), 0),  # reads them
        (limits, (1234, 7, 0x7FFF0000), 1),
        (limits, (1234, 7, 0x100000000), 1),  # a pointer whose lower half is zero
        (priority, (0, 0, 19), 0),
        (priority, (0, 1234, 19), 1),
        (priority, (1, 0, 19), 1),  # a group
        (priority, (2, 0, 19), 1),  # everything of a user
    ]:
        assert verdict(code, number, machine.audit, *arguments) == error, (number, arguments)


@pytest.mark.parametrize("name", sorted(syscalls._MACHINES))
def test_filter_of_calls_of_a_pod_that_may_use_sockets(name: str) -> None:
    machine = syscalls._MACHINES[name]
    code = syscalls.filter_for(machine, sockets=False, truncate=False, chown=True)
    refused = {425, *machine.chown, *machine.keys}
    assert {n for n in range(500) if verdict(code, n, machine.audit)} == refused
