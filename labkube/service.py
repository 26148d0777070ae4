"""What the annotations of a kdcluster's service say: addresses at the gateway, and the token."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["addresses", "token_of"]

_GATEWAY = "hpecp-internal-gateway/"
_TOKEN = "kubedirector.hpe.com/kd-auth-token"


def addresses(annotations: Mapping[str, str]) -> dict[int, str]:
    """Return service port -> https address at the gateway.

    >>> addresses({"hpecp-internal-gateway/32700": "gateway.example:10001", "other": "x"})
    {32700: 'https://gateway.example:10001'}
    """
    return {
        int(key.removeprefix(_GATEWAY)): f"https://{value}"
        for key, value in annotations.items()
        if key.startswith(_GATEWAY)
    }


def token_of(annotations: Mapping[str, str]) -> str:
    """Return the token that callers show; empty when there is none."""
    return annotations.get(_TOKEN, "")
