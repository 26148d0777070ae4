"""One line a message on standard error, where `kubectl logs` finds it."""

from __future__ import annotations

import logging
import sys

__all__ = ["set_up"]


def set_up(level: int = logging.INFO) -> None:
    """Send the program's messages to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True
