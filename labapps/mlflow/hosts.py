"""Which names a client may call this server by: its pod, its service, the gateway, localhost.

A web page that lets its own name point at this address (DNS rebinding) arrives with another name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from labapps.member.configmeta import Configmeta
from labapps.member.login import find

__all__ = ["hostname", "names"]

LOCAL = ("localhost", "127.0.0.1", "::1")
GATEWAY = "GATEWAY_HOSTS"
"""Names of a gateway that is another machine than the platform's login, separated by commas."""


def hostname(authority: str) -> str:
    """Return the host of a Host header or of an origin, without its port.

    >>> hostname("[::1]:5000"), hostname("Taxi.example:443"), hostname("a@b")
    ('::1', 'taxi.example', '')
    """
    try:
        parts = urlsplit(authority if "://" in authority else f"//{authority}")
        return "" if "@" in parts.netloc else parts.hostname or ""
    except ValueError:
        return ""


def names(meta: Configmeta, env: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the allowed names."""
    found = {*LOCAL, meta.host.lower()}
    parts = meta.host.lower().split(".")
    if len(parts) > 3:  # <pod>.<headless service>.<namespace>.svc.<domain>
        pod, headless, namespace, *domain = parts
        for service in (pod, f"s-{pod}", headless):
            short = f"{service}.{namespace}"
            found |= {service, short, f"{short}.{domain[0]}", ".".join([short, *domain])}
    login = find(meta)
    found.add(hostname(login.url) if login is not None else "")
    found |= {name.strip().lower() for name in env.get(GATEWAY, "").split(",")}
    return frozenset(found - {""})
