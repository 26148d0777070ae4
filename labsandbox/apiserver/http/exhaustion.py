"""What the server does when there is no memory for what it was asked.

Whoever met the MemoryError asks here; when nothing is left for others either, the process ends and
whoever started it starts it again. What was acknowledged is on the disk.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

from labsandbox import bounds, loop
from labsandbox.apiserver.status import StatusError

_LOG = logging.getLogger(__name__)
_LAST_WORDS = 0.5  # seconds in which answers still leave


def refusal(what: str) -> StatusError:
    """Return the answer to a request that there is no memory for, and end when none is left."""
    gc.collect()
    _LOG.error("%s needs more memory than is left", what)
    if bounds.is_reached():
        _LOG.critical("%s; this process ends, to begin anew", bounds.REACHED)
        asyncio.get_running_loop().call_later(_LAST_WORDS, loop.end)
    message = "The API server has no memory left for this request; send less at once, or later."
    return StatusError(503, "ServiceUnavailable", message)


def watch(running: asyncio.AbstractEventLoop) -> None:
    """Look at the bound when memory runs out outside a request: in TLS, in a callback."""

    def handle(turning: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), MemoryError):
            refusal(str(context.get("message", "a connection")))
        else:
            turning.default_exception_handler(context)

    running.set_exception_handler(handle)
