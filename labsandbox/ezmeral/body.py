"""Read the JSON of a request, and refuse what is none with a reason."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from labsandbox.ezmeral.errors import BadRequest

_LONGEST_TEXT = 4096


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a body; BadRequest says what else it is."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise BadRequest(f"Expected a JSON object, found {type(body).__name__}.")
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            "The body holds half of a surrogate pair, which is no character.",
            "Write characters as UTF-8, or both halves as \\ud83d\\ude00.",
        ) from error
    return body


def read_text(body: dict[str, Any], key: str) -> str:
    """Return a text of the body; BadRequest when there is none."""
    value = body.get(key)
    if not isinstance(value, str) or not value:
        found = "nothing" if key not in body else type(value).__name__ if value else "an empty one"
        raise BadRequest(f"Expected a text {key!r}, found {found}.")
    if len(value) > _LONGEST_TEXT:
        raise BadRequest(
            f"Expected a text {key!r} of at most {_LONGEST_TEXT} characters, found {len(value)}."
        )
    return value
