"""The keeper's key: what the node's agent shows to be let in, kept where no pod can read it."""

from __future__ import annotations

import json
import os
from _operator import _compare_digest  # hmac's own; hmac itself would load OpenSSL

from labsandbox import files

_NAME = "keeper.key"


def make(folder: str) -> str:
    """Return the key of a node's folder; made at first start, kept ever after."""
    path = os.path.join(folder, _NAME)
    if not os.path.exists(path):
        files.replace(path, os.urandom(32).hex(), 0o600)
    with open(path) as file:
        return file.read()


def hello(folder: str) -> bytes:
    """Return the first packet of a connection."""
    with open(os.path.join(folder, _NAME)) as file:
        return json.dumps({"op": "hello", "key": file.read()}).encode()


def is_shown(packet: bytes, key: str) -> bool:
    """Tell whether a first packet carries the key."""
    try:
        shown = json.loads(packet)["key"]
    except (ValueError, TypeError, KeyError):
        return False
    return isinstance(shown, str) and shown.isascii() and _compare_digest(shown, key)
