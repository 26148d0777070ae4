"""What the images install: the lock without the tools that only developers and the hub need.

`python labapps/requirements.py pyproject.toml requirements.lock` prints it; the names of extras
may follow (`hub`), or `--of image.toml`: then it is the packages which that file names, and what
they need. Nothing is resolved again: each line is the lock's own, hashes included.
Standard library only, for it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pin", "closure", "pins"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Pin:
    """One package of the lock: its lines, and who asked for it."""

    name: str
    lines: tuple[str, ...]
    asked_by: frozenset[str]


def normal(name: str) -> str:
    """Return a package's name as indexes compare it.

    >>> normal("Jupyter_Server.Proxy[extra]>=4")
    'jupyter-server-proxy'
    """
    found = _NAME.match(name.strip())
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def pins(lock: str) -> Iterator[Pin]:
    """Read the packages of a lock that says for each one why it is there."""
    block: list[str] = []
    for line in [*lock.splitlines(), "end"]:
        if block and line and not line[0].isspace():
            yield _pin(block)
            block = []
        if line.strip() and (block or not line.startswith("#")):
            block.append(line)


def _pin(block: list[str]) -> Pin:
    remarks = [line.strip().lstrip("#").strip() for line in block if line.strip().startswith("#")]
    reasons = (remark.removeprefix("via").strip() for remark in remarks)
    lines = [line for line in block if not line.strip().startswith("#")]
    return Pin(normal(block[0]), tuple(lines), frozenset(normal(one) for one in reasons if one))


def closure(found: Iterable[Pin], wanted: Iterable[str]) -> list[Pin]:
    """Return the wanted packages and all that they need, in the lock's order."""
    everything = list(found)
    needed = {normal(name) for name in wanted}
    while True:
        more = {pin.name for pin in everything if pin.asked_by & needed} - needed
        if not more:
            return [pin for pin in everything if pin.name in needed]
        needed |= more


def main(project: Path, lock: Path, *extras: str) -> None:
    """Print the part of a lock that a project's own dependencies, and some extras, need."""
    found = list(pins(lock.read_text("utf-8")))
    if extras[:1] == ("--of",):
        wanted = list(tomllib.loads(Path(extras[1]).read_text("utf-8"))["wheels"])
        unknown = {normal(name) for name in wanted} - {pin.name for pin in found}
        if unknown:
            sys.exit(f"Expected packages of {lock}; found {', '.join(sorted(unknown))}.")
    else:
        about = tomllib.loads(project.read_text("utf-8"))["project"]
        wanted = list(about["dependencies"])
        for extra in extras:
            wanted += about["optional-dependencies"][extra]
    for pin in closure(found, wanted):
        print("\n".join(pin.lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
