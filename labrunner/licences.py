"""The licences of everything that `make setup` installs, as the packages themselves state them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

UNSTATED = "not stated"
_LONGEST = 60
_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", re.MULTILINE)


@dataclass(frozen=True)
class Licence:
    """One installed package."""

    package: str
    version: str
    licence: str


def installed(lock: Path) -> list[Licence]:
    """Return the packages of the lock that are installed here, by name."""
    wanted = {_plain(name) for name in _NAME.findall(lock.read_text("utf-8"))}
    found = {}
    for one in metadata.distributions():
        name = _plain(one.metadata["Name"] or "")
        if name in wanted:
            found[name] = Licence(name, one.version, stated(one.metadata))
    return [found[name] for name in sorted(found)]


def stated(about: metadata.PackageMetadata) -> str:
    """Return the licence a package states: as an expression, by its classifiers, or in a word."""
    if "License-Expression" in about:
        return str(about["License-Expression"])
    classifiers = [
        str(line).rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or ()
        if str(line).startswith("License ::") and not str(line).endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(classifiers)
    named = str(about["License"]) if "License" in about else ""
    text = named.strip().partition("\n")[0].strip()
    return text[:_LONGEST] or UNSTATED


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
