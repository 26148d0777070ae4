"""Request bodies as bytes, with the filler that was too long to record made again."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

FILLER = re.compile(r"<(\d+) bytes filler: (.*)\.\.\.>", re.DOTALL)


def encode_body(body: Any) -> bytes | None:
    """Return the bytes of a recorded request body."""
    if body is None:
        return None
    if isinstance(body, dict) and set(body) == {"__base64__"}:
        return base64.b64decode(body["__base64__"])
    if isinstance(body, dict) and "__len__" in body:
        head = str(body["head"])
        return (head + head[-1] * (int(body["__len__"]) - len(head))).encode()
    if isinstance(body, str):
        return body.encode("utf-8", "surrogateescape")
    return json.dumps(refill(body)).encode()


def refill(value: Any) -> Any:
    """Replace every filler mark by text of its length."""
    if isinstance(value, dict):
        return {key: refill(item) for key, item in value.items()}
    if isinstance(value, list):
        return [refill(item) for item in value]
    if isinstance(value, str) and (match := FILLER.fullmatch(value)):
        length, head = int(match.group(1)), match.group(2)
        return (head * (length // max(1, len(head)) + 1))[:length]
    return value
