"""Locks: exact versions with hashes, and what changes in one when a pin is taken out.

`<version>.lock` is resolved with all pins of its era. `<version>.without-<package>.lock` holds only
the entries that differ when the pin of that package is missing, so the experiment "remove one pin"
needs no resolver and no index.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labregress.errors import BadMatrix

__all__ = ["Lock", "difference", "name_of", "read"]

_ENTRY = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==", re.M)
REMOVED = "# removed: "


def name_of(requirement: str) -> str:
    """Return the normalised name of the package that a requirement is about.

    >>> name_of("SQLAlchemy<2.1"), name_of("xgboost_cpu==3.2.0"), name_of("uvicorn[standard]")
    ('sqlalchemy', 'xgboost-cpu', 'uvicorn')
    """
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    if not match:
        raise BadMatrix(f"Expected a requirement such as `setuptools<66`, found {requirement!r}.")
    return re.sub(r"[-_.]+", "-", match[1]).lower()


@dataclass(frozen=True)
class Lock:
    """Entries by package; an entry is the text with its version and hashes."""

    entries: dict[str, str]

    @property
    def text(self) -> str:
        """Return the lock as a file."""
        return "".join(self.entries[name] for name in sorted(self.entries))

    @property
    def digest(self) -> str:
        """Return a short name for exactly these packages."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def version(self, name: str) -> str:
        """Return the version of a package, or nothing when it is not locked."""
        match = re.search(r"==([^\s;\\]+)", self.entries.get(name_of(name), ""))
        return match[1] if match else ""


def parse(text: str) -> Lock:
    """Read the text of a lock.

    >>> parse("a==1 --hash=sha256:0\\nb==2 --hash=sha256:1\\n").version("b")
    '2'
    """
    starts = [match.start() for match in _ENTRY.finditer(text)]
    pieces = [text[at:end] for at, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    entries: dict[str, str] = {}
    for piece in pieces:
        lines = [line for line in piece.splitlines() if not line.lstrip().startswith("#")]
        name = name_of(piece)
        entries[name] = entries.get(name, "") + "\n".join(lines) + "\n"
    return Lock(entries)


def read(folder: Path, version: str, removed: Iterable[str] = ()) -> Lock:
    """Return the lock of a version, with the pins of some packages taken out."""
    path = folder / f"{version}.lock"
    if not path.is_file():
        raise BadMatrix(
            f"Expected the lock {path}, found none. Type `labregress lock` to resolve it."
        )
    entries = dict(parse(path.read_text("utf-8")).entries)
    for name in removed:
        other = folder / f"{version}.without-{name}.lock"
        if not other.is_file():
            raise BadMatrix(
                f"Expected {other} for a run without the pin of {name}, found none. "
                "Type `labregress lock` to resolve it."
            )
        text = other.read_text("utf-8")
        entries |= parse(text).entries
        for line in text.splitlines():
            if line.startswith(REMOVED):
                entries.pop(line[len(REMOVED) :].strip(), None)
    return Lock(entries)


def difference(whole: Lock, without: Lock) -> str:
    """Return the text that turns the one lock into the other.

    >>> difference(parse("a==1\\nb==1\\n"), parse("a==2\\n"))
    '# removed: b\\na==2\\n'
    """
    gone = sorted(set(whole.entries) - set(without.entries))
    changed = [
        without.entries[name]
        for name in sorted(without.entries)
        if whole.entries.get(name) != without.entries[name]
    ]
    return "".join(f"{REMOVED}{name}\n" for name in gone) + "".join(changed)
