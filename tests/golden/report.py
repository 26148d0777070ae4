"""Scores, known differences and their reasons."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.golden.comparison import shorten
from tests.golden.replay import Result

KNOWN = Path(__file__).with_name("known.toml")


@dataclass(frozen=True)
class Known:
    """A difference somebody decided to keep, and why."""

    area: str
    exchange: str
    reason: str
    parts: tuple[str, ...] = ("status", "headers", "body")

    def covers(self, result: Result) -> bool:
        """Tell whether this entry explains everything that differs."""
        if not fnmatch.fnmatchcase(result.area, self.area):
            return False
        if self.exchange != result.exchange and not fnmatch.fnmatchcase(
            result.exchange, self.exchange
        ):
            return False
        return set(differing(result)) <= set(self.parts)


def differing(result: Result) -> list[str]:
    """Name the parts of an exchange that differ."""
    if result.error or not result.is_status_same:
        return ["status", "headers", "body"]
    parts = ["headers"] if result.header_differences else []
    return parts + (["body"] if result.body_differences else [])


def read_known(file: Path = KNOWN) -> list[Known]:
    """Read the list of known differences."""
    entries = tomllib.loads(file.read_text()).get("difference", []) if file.exists() else []
    return [
        Known(
            entry["area"],
            entry["exchange"],
            entry["reason"],
            tuple(entry.get("parts", ("status", "headers", "body"))),
        )
        for entry in entries
    ]


def explain(result: Result, known: Iterable[Known]) -> Known | None:
    """Find the entry that explains a difference."""
    return next((entry for entry in known if entry.covers(result)), None)


def describe(result: Result, most: int = 6) -> list[str]:
    """Show what differs in one exchange."""
    lines = []
    if result.error:
        lines.append(f"no answer: {result.error}")
    elif not result.is_status_same:
        lines.append(f"status: expected {result.status[0]}, found {result.status[1]}")
    found = result.header_differences + result.body_differences
    for path, want, have in found[:most]:
        lines.append(f"{path or '/'}: expected {shorten(want)}, found {shorten(have)}")
    if len(found) > most:
        lines.append(f"… and {len(found) - most} more")
    return lines


def score_line(name: str, results: list[Result], known: list[Known]) -> str:
    """One line: how far an area agrees."""
    total = len(results)
    status = sum(item.is_status_same for item in results)
    body = sum(item.is_body_same for item in results)
    headers = sum(item.is_status_same and not item.header_differences for item in results)
    listed = sum(not item.is_same and explain(item, known) is not None for item in results)
    return (
        f"{name:<36} {total:4d} exchanges  status {_share(status, total)}  "
        f"body {_share(body, total)}  headers {_share(headers, total)}  listed {listed}"
    )


def _share(part: int, total: int) -> str:
    return f"{part:4d} ({100 * part / total if total else 100:5.1f} %)"
