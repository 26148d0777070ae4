"""Continue tokens: where a paged list stopped, and at which revision it was begun."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson

from labsandbox.apiserver.status import bad_request

_VERSION = "meta.k8s.io/v1"
INCONSISTENT = -1


@dataclass(frozen=True)
class Position:
    revision: int
    start: str
    """The key the next page begins at, relative to the list's own scope."""


def encode_position(position: Position) -> str:
    text = orjson.dumps({"v": _VERSION, "rv": position.revision, "start": "/" + position.start})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def decode_position(token: str) -> Position:
    """Read a token, or raise the server's 400."""
    try:
        data = _decode(token)
    except ValueError as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from None
    try:
        found = orjson.loads(data)
        version, revision, start = found["v"], found.get("rv", 0), found.get("start", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise bad_request(
            f"invalid continue token: continue key is not valid: {_explain(data)}"
        ) from None
    if version != _VERSION:
        raise bad_request(
            "invalid continue token: continue key is not valid: server does not recognize this "
            f'encoded version "{version}"'
        )
    if not isinstance(revision, int) or revision == 0:
        raise bad_request(
            "invalid continue token: continue key is not valid: incorrect encoded start "
            "resourceVersion (version meta.k8s.io/v1)"
        )
    if not isinstance(start, str) or not start.strip("/"):
        raise bad_request(
            "invalid continue token: continue key is not valid: encoded start key empty "
            "(version meta.k8s.io/v1)"
        )
    if ".." in start.split("/"):
        raise bad_request(f"invalid continue token: continue key is not valid: {start!r}")
    return Position(revision, start.removeprefix("/"))


def _decode(token: str) -> bytes:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at, char in enumerate(token):
        if char not in alphabet:
            raise ValueError(f"illegal base64 data at input byte {at}")
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error:
        raise ValueError(f"illegal base64 data at input byte {len(token)}") from None


def _explain(data: bytes) -> str:
    from labsandbox.apiserver.schema.scanner import explain

    return explain(data)
