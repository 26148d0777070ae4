"""Field numbers of the Kubernetes messages, read from the text files in ``messages/``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

SCALARS = frozenset(("str", "int", "bool", "bytes"))
_FIELD = re.compile(r"(\d+) (\w+)(?::(\*|@)?([\[{])?(\w+)[\]}]?)?$")


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    name: str
    type: str = "str"
    is_pointer: bool = False
    is_inline: bool = False
    is_list: bool = False
    is_map: bool = False


Message = dict[int, Field]


@cache
def _sections() -> dict[str, dict[str, Message]]:
    found: dict[str, dict[str, Message]] = {}
    for file in sorted(resources.files(__package__).joinpath("messages").iterdir(), key=str):
        section: dict[str, Message] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                section = found.setdefault(line.strip("[]"), {})
            elif line and not line.startswith("#"):
                name, _, rest = line.partition(": ")
                section[name] = dict(_parse(item) for item in rest.split(", "))
    return found


def _parse(text: str) -> tuple[int, Field]:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError(f"Expected 'number name:type' in a message table, found {text!r}.")
    number, name, mark, bracket, kind = match.groups()
    field = Field(
        name, kind or "str", mark == "*", mark == "@", is_list=bracket == "[", is_map=bracket == "{"
    )
    return int(number), field


def find_message(api_version: str, name: str) -> Message | None:
    """Find a message in its own group version, else in core, else among the shared ones."""
    sections = _sections()
    for section in (api_version, "v1", "meta"):
        if name in sections.get(section, {}):
            return sections[section][name]
    return None


def find_kind(api_version: str, kind: str) -> Message | None:
    """Find the message of a kind; option kinds exist in every group version."""
    sections = _sections()
    if kind in sections.get(api_version, {}):
        return sections[api_version][kind]
    return sections["meta"].get(kind) if kind.endswith("Options") else None
