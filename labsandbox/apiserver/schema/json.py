"""JSON as the API server reads it: duplicate keys are noticed, errors are worded as Go words them.

# differs: nesting deeper than 200 levels is refused (a real server allows 10,000); our encoder
stops at 250 and no manifest comes near it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from labsandbox.apiserver.schema.scanner import explain

MAX_DEPTH = 200
MAX_MESSAGES = 100


class JsonError(ValueError):
    """The text is not JSON; the message is Go's."""


class _Duplicate(Exception):
    pass


class _Constant(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicate
    return found


def _constant(name: str) -> Any:
    raise _Constant(name)


def _float(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise JsonError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return found


def _int(text: str) -> int | float:
    if len(text) < 19:
        return int(text)
    found = int(text) if len(text) <= 400 else math.inf
    if -(2**63) <= found < 2**63:
        return found
    try:
        return _float(str(found))
    except JsonError:
        shown = f"json: cannot unmarshal number {text[:40]} into Go value of type float64"
        raise JsonError(shown) from None


_strict = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_int
)
_lax = json.JSONDecoder(parse_constant=_constant, parse_float=_float, parse_int=_int)
_listing = json.JSONDecoder(object_pairs_hook=lambda pairs: tuple(pairs))


def loads(raw: bytes) -> tuple[Any, list[str]]:
    """Parse; the second value lists `duplicate field "…"` messages in the order of the text."""
    text = raw.decode("utf-8", "replace")
    if "\\u" in text:
        text = _without_surrogates(text)
    messages: list[str] = []
    try:
        try:
            found = _strict.decode(text)
        except _Duplicate:
            found = _lax.decode(text)
            _duplicates(_listing.decode(text), "", messages)
    except _Constant as error:
        raise JsonError(explain(raw)) from error
    except json.JSONDecodeError as error:
        raise JsonError(explain(raw)) from error
    except RecursionError as error:
        raise JsonError("exceeded max depth") from error
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and depth_exceeds(found, MAX_DEPTH):
        raise JsonError("exceeded max depth")
    return found, messages


def in_order(raw: bytes, messages: list[str]) -> list[str]:
    """Messages about unknown and repeated fields in the order the text gives reason for them."""
    try:
        listing = _listing.decode(raw.decode("utf-8", "replace"))
    except json.JSONDecodeError:
        return messages  # YAML: its reader has no order of its own
    places: dict[str, int] = {}
    _note_places(listing, "", places)
    return sorted(messages, key=lambda message: places.get(message, len(places)))


def _note_places(value: Any, path: str, places: dict[str, int]) -> None:
    if isinstance(value, tuple):
        seen: set[str] = set()
        for key, item in value:
            below = f"{path}.{key}" if path else key
            what = "duplicate" if key in seen else "unknown"
            seen.add(key)
            places.setdefault(f'{what} field "{below}"', len(places))
            _note_places(item, below, places)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _note_places(item, f"{path}[{index}]", places)


def depth_exceeds(value: Any, limit: int) -> bool:
    """Is `value` nested deeper than `limit`? Walks level by level, so it cannot overflow."""
    level = [value]
    for _ in range(limit + 1):
        following: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
        if not following:
            return False
        level = following
    return True


def _duplicates(value: Any, path: str, messages: list[str]) -> None:
    if isinstance(value, tuple):
        seen: set[str] = set()
        for key, item in value:
            below = f"{path}.{key}" if path else key
            if key in seen:
                message = f'duplicate field "{below}"'
                if message not in messages and len(messages) < MAX_MESSAGES:
                    messages.append(message)
            seen.add(key)
            _duplicates(item, below, messages)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _duplicates(item, f"{path}[{index}]", messages)


def _without_surrogates(text: str) -> str:
    r"""Lone \ud800-like escapes become U+FFFD, as in Go; whole pairs stay."""
    import re

    pair = re.compile(
        r"(\\\\)|\\u[dD][89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?"
        r"|\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    )
    return pair.sub(lambda m: m[0] if m[1] or m[2] else "\\ufffd", text)
