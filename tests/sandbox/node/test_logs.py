"""Log files: how they are written and how they are read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from labsandbox.node import journal, logs
from labsandbox.node.intake import Intake
from labsandbox.node.journal import Log, Pump
from labsandbox.node.logs import LogOptions

pytestmark = pytest.mark.fast

DATA = b"".join(
    b"2026-01-01T00:00:0%d.000000000Z %s F line %d\n" % (n, b"stderr" if n == 2 else b"stdout", n)
    for n in range(5)
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LogOptions(), b"line 0\nline 1\nline 2\nline 3\nline 4\n"),
        (LogOptions(tail=2), b"line 3\nline 4\n"),
        (LogOptions(tail=0), b""),
        (LogOptions(tail=1, has_timestamps=True), b"2026-01-01T00:00:04.000000000Z line 4\n"),
        (LogOptions(since="2026-01-01T00:00:03.5"), b"line 4\n"),
    ],
)
def test_select_shows_what_is_wanted(options: LogOptions, expected: bytes) -> None:
    assert logs.select(DATA, options) == expected


def test_select_joins_the_parts_of_a_long_line() -> None:
    stamp = b"2026-01-01T00:00:00.000000000Z stdout"
    assert logs.select(stamp + b" P abc\n" + stamp + b" F def\n", LogOptions()) == b"abcdef\n"


def pump(folder: Path, *chunks: bytes, limit: int = journal.LIMIT) -> Log:
    log = Log(str(folder / "0.log"), limit)
    for chunk in chunks:
        reading, writing = os.pipe()
        os.write(writing, chunk)
        os.close(writing)
        each = Pump(reading, "stdout", log, "x", Intake(str(folder / "taken"), is_new=True))
        while each.read():
            pass
        each.finish()
        os.close(reading)
    return log


def texts(path: Path) -> bytes:
    return logs.select(path.read_bytes(), LogOptions())


def test_pump_writes_whole_lines_and_the_unfinished_last(tmp_path: Path) -> None:
    pump(tmp_path, b"a\nb\nlast").close()
    assert texts(tmp_path / "0.log") == b"a\nb\nlast\n"


def test_pump_splits_an_endless_line(tmp_path: Path) -> None:
    pump(tmp_path, b"x" * 40_000 + b"\ny\n").close()
    lines = (tmp_path / "0.log").read_bytes().splitlines()
    assert [line.split(b" ")[2] for line in lines] == [b"P", b"P", b"F", b"F"]
    assert texts(tmp_path / "0.log") == b"x" * 40_000 + b"\ny\n"


def test_log_turns_over_without_losing_a_line(tmp_path: Path) -> None:
    pump(tmp_path, b"one\n" * 10, b"two\n" * 10, limit=600).close()
    assert (tmp_path / "0.log.1").exists()
    data, _ = logs.read_whole(tmp_path / "0.log")
    assert logs.select(data, LogOptions()) == b"one\n" * 10 + b"two\n" * 10


def test_read_follows_until_the_container_ends(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(DATA)
    more = iter([b"2026-01-01T00:00:09.000000000Z stdout F new\n", b""])

    def is_over() -> bool:
        added = next(more, b"")
        with path.open("ab") as file:
            file.write(added)
        return not added

    async def collect() -> bytes:
        options = LogOptions(tail=1, is_following=True)
        return b"".join([chunk async for chunk in logs.read(path, options, is_over)])

    assert asyncio.run(collect()) == b"line 4\nnew\n"


def test_read_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(DATA)

    async def collect() -> bytes:
        return b"".join([c async for c in logs.read(path, LogOptions(limit=10), lambda: True)])

    assert asyncio.run(collect()) == b"line 0\nlin"
