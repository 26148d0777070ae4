"""The names of what a kdcluster is made of.

The original lets the API server draw the random suffix of a StatefulSet's or headless service's
name. Here the suffix is computed from the cluster's uid, so an operator that was killed between
creating the object and writing down its name finds the object again instead of making a second.
"""

from __future__ import annotations

import hashlib

from labsandbox.kubedirector.model import Object

# What Kubernetes uses for generated names: no vowels, no digits that look like letters.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
LENGTH_LIMIT = 46


def mung(name: str) -> str:
    """Return a name in the form object names allow: lower case, dashes, 46 characters."""
    return name[:LENGTH_LIMIT].replace(".", "-").replace("_", "-").rstrip("-").lower()


def suffix(*parts: str) -> str:
    """Return the five characters that belong to these parts, always the same."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")
    letters = []
    for _ in range(_SUFFIX_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def headless_service(cluster: Object, scheme: str, attempt: int = 0) -> str:
    """Return the name of a cluster's headless service."""
    meta = cluster["metadata"]
    tail = suffix(meta["uid"], "headless", str(attempt))
    return f"{mung(meta['name'])}{tail}" if scheme == "CrNameRole" else f"kdhs-{tail}"


def stateful_set(cluster: Object, role: str, scheme: str, attempt: int = 0) -> str:
    """Return the name of a role's StatefulSet."""
    meta = cluster["metadata"]
    tail = suffix(meta["uid"], role, str(attempt))
    return f"{mung(meta['name'] + '-' + role)}-{tail}" if scheme == "CrNameRole" else f"kdss-{tail}"


def pod(stateful_set_name: str, ordinal: int) -> str:
    """Return the name of a member's pod."""
    return f"{stateful_set_name}-{ordinal}"


def member_service(pod_name: str, scheme: str) -> str:
    """Return the name of a member's service."""
    return pod_name if scheme == "CrNameRole" else f"s-{pod_name}"


def claim(pod_name: str) -> str:
    """Return the name of a member's volume claim."""
    return f"p-{pod_name}"


def domain(cluster_service: str, namespace: str, base: str) -> str:
    """Return the DNS domain of a cluster's members."""
    return f"{cluster_service}.{namespace}{base}"


def fqdn(pod_name: str, cluster_service: str, namespace: str, base: str) -> str:
    """Return the full internal name of a member."""
    return f"{pod_name}.{domain(cluster_service, namespace, base)}"
