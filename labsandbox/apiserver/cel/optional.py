"""Optional values: what `oldSelf` is when a rule asks for `optionalOldSelf`."""

from __future__ import annotations

from typing import Any

from celpy import celtypes


class Optional:
    """A value that may be missing."""

    def __init__(self, value: Any, is_set: bool) -> None:
        self.content = value
        self.is_set = is_set


def has_value(found: Any) -> Any:
    return celtypes.BoolType(found.is_set)


def value(found: Any) -> Any:
    if not found.is_set:
        raise ValueError("optional.none() dereference")
    return found.content


def or_value(found: Any, other: Any) -> Any:
    return found.content if found.is_set else other
