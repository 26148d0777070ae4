"""Hand a body that was read on to the application behind."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

__all__ = ["again"]


def again(body: bytes, receive: Any) -> Any:
    """Return a receiver that yields a body that was read already, then what comes after it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def more() -> MutableMapping[str, Any]:
        if waiting:
            return waiting.pop()
        found: MutableMapping[str, Any] = await receive()
        return found

    return more
