"""The difference of two pod specs, in the manner of Go's cmp.Diff.

# differs: only the changed leaves and their way are shown, without the counts of identical fields
and Go's alignment, which are not stable between two runs of a real server either.
"""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation.goprint import go_syntax

Json = dict[str, Any]


def spec_diff(before: Json, after: Json) -> str:
    """Lines with - and +, inside `core.PodSpec{…}`."""
    return "  core.PodSpec{\n" + "".join(_lines(before, after, 1)) + "  }\n"


def _name(key: str) -> str:
    return key[:1].upper() + key[1:]


def _lines(before: Any, after: Any, depth: int) -> list[str]:
    tab = "\t" * depth
    found: list[str] = []
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found.append(f"  {tab}{_name(key)}: {{\n")
            found += _lines(old, new, depth + 1)
            found.append(f"  {tab}}},\n")
        elif _rows(old) and _rows(new) and len(old) == len(new):
            found.append(f"  {tab}{_name(key)}: {{\n")
            for one, other in zip(old, new, strict=True):
                if one != other:
                    found.append(f"  {tab}\t{{\n")
                    found += _lines(one, other, depth + 2)
                    found.append(f"  {tab}\t}},\n")
            found.append(f"  {tab}}},\n")
        else:
            found.append(f"- {tab}{_name(key)}: {go_syntax(old)},\n")
            found.append(f"+ {tab}{_name(key)}: {go_syntax(new)},\n")
    return found


def _rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)
