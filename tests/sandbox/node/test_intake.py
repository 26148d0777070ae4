"""What a pump had in its hands when it was killed: every byte is logged once, none twice."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labsandbox.node import intake, journal, logs
from labsandbox.node.intake import Intake
from labsandbox.node.journal import Log, Pump
from labsandbox.node.logs import LogOptions

pytestmark = pytest.mark.fast

CALLS = ("splice", "pread", "write", "pwrite", "ftruncate", "replace", "open", "unlink")
OUT = b"a\nb\nbegun in one read and ended in another\nc\n" + b"d\n" * 30 + b"last"
ERR = b"".join(b"error %d\n" % number for number in range(9)) + b"no end"


class Stream:
    """One pipe of a container, held open as a container holds it, and the log it goes to."""

    def __init__(self, folder: Path, name: str = "stdout") -> None:
        self.folder, self.name = folder, name
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def pump(self, log: Log, *, is_new: bool = False) -> Pump:
        taken = Intake(str(self.folder / f"{self.name}.taken"), is_new=is_new)
        return Pump(self.reading, self.name, log, "x", taken)

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


def in_child(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch, before: int) -> bool:
    """Run in a process that is killed before its so-manyth call; tell whether it was."""
    pid = os.fork()
    if pid == 0:
        try:
            left = iter(range(before))
            for name in CALLS:
                monkeypatch.setattr(os, name, _counted(getattr(os, name), left))
            act()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return status != 0


def _counted(call: Callable[..., Any], left: Any) -> Callable[..., Any]:
    def counted(*words: Any, **named: Any) -> Any:
        if next(left, None) is None:
            os._exit(9)
        return call(*words, **named)

    return counted


def logged(folder: Path, stream: bytes) -> bytes:
    """Return what a stream's lines say together, whether or not they were cut in parts."""
    data, _ = logs.read_whole(folder / "0.log")
    mine = [line for line in data.splitlines(keepends=True) if line.split(b" ")[1] == stream]
    return logs.select(b"".join(mine), LogOptions()).rstrip(b"\n")


def play(out: Stream, err: Stream, limit: int, *, is_new: bool) -> None:
    log = Log(str(out.folder / "0.log"), limit)
    pumps = [out.pump(log, is_new=is_new), err.pump(log, is_new=is_new)]
    is_more = True
    while is_more:
        is_more = pumps[0].read(once=True) | pumps[1].read(once=True)
    for pump in pumps:
        pump.finish()


@pytest.mark.parametrize("limit", [journal.LIMIT, 1500])
@pytest.mark.parametrize("long", [1 << 20, 90])
def test_killed_anywhere_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, long: int
) -> None:
    monkeypatch.setattr(intake, "_CHUNK", 20)
    monkeypatch.setattr(intake, "_LONG", long)
    calls = 0
    is_killed = True
    while is_killed:
        folder = tmp_path / str(calls)
        folder.mkdir()
        out, err = Stream(folder), Stream(folder, "stderr")
        os.write(out.writing, OUT)
        os.write(err.writing, ERR)
        act = functools.partial(play, out, err, limit)
        is_killed = in_child(functools.partial(act, is_new=True), monkeypatch, calls)
        if is_killed:
            act(is_new=False)
        assert (logged(folder, b"stdout"), logged(folder, b"stderr")) == (OUT, ERR)
        assert os.listdir(folder) == ["0.log"] or limit == 1500
        out.close()
        err.close()
        calls += 1
    assert calls > 50


def test_full_disk_drops_output_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Stream(tmp_path)
    log = Log(str(tmp_path / "0.log"))
    pump = out.pump(log, is_new=True)
    os.write(out.writing, b"begun")
    pump.read()

    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "splice", full)
        os.write(out.writing, b" and ended\nbegun on a full disk")
        pump.read()
    os.write(out.writing, b" and ended\nlast\n")
    pump.read()
    again = out.pump(log)
    again.finish()
    pump.finish()
    assert logged(tmp_path, b"stdout") == b"begun and ended\nbegun on a full disk and ended\nlast"


def test_disk_with_no_room_for_the_intake_costs_no_line(tmp_path: Path) -> None:
    out = Stream(tmp_path)
    nowhere = Intake(str(tmp_path / "no such folder" / "taken"), is_new=True)
    pump = Pump(out.reading, "stdout", Log(str(tmp_path / "0.log")), "x", nowhere)
    for said in (b"begun", b" and ended\nbegun", b" again"):
        os.write(out.writing, said)
        assert pump.read()
    pump.finish()
    assert logged(tmp_path, b"stdout") == b"begun and ended\nbegun again"
