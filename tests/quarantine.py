"""The tests that `.ci/run` gives a second chance, and no other: `python -m tests.quarantine`.

It prints the tests that failed in the last run and may be run again. It exits with 1 when a test
failed that is not listed in `quarantine.toml`, or when nothing that failed has a name."""

from __future__ import annotations

import datetime
import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FILE", "MOST", "Entry", "read", "second_chance"]

FILE = Path(__file__).with_suffix(".toml")
FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 10


@dataclass(frozen=True)
class Entry:
    """One test, what is known of its failures, and since when it is listed."""

    id: str
    reason: str
    since: datetime.date


def read(text: str) -> list[Entry]:
    """Return the entries of a quarantine file."""
    return [Entry(**one) for one in tomllib.loads(text)["test"]]


def second_chance(failed: list[str], entries: list[Entry]) -> tuple[list[str], list[str]]:
    """Split the tests that failed: those that may be run again, and those that may not.

    >>> entry = Entry("tests/a.py::test_b", "a port that was free is taken", datetime.date.today())
    >>> second_chance(["tests/a.py::test_b[1]", "tests/a.py::test_bc"], [entry])
    (['tests/a.py::test_b[1]'], ['tests/a.py::test_bc'])
    """
    listed = {entry.id for entry in entries}
    may = [one for one in failed if one in listed or one.partition("[")[0] in listed]
    return may, [one for one in failed if one not in may]


def main() -> int:
    """Print what may be run again, or say why nothing may."""
    failed = sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []
    may, others = second_chance(failed, read(FILE.read_text("utf-8")))
    for one in others:
        print(f"failed, and not in tests/quarantine.toml: {one}", file=sys.stderr)
    if others or not may:
        return 1
    print("\n".join(may))
    return 0


if __name__ == "__main__":
    sys.exit(main())
