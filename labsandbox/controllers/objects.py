"""Questions about objects that several controllers ask."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

# The alphabet of generated names: no vowels, so no words.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def when(moment: float) -> str:
    """Return a moment as the API writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str | None) -> float:
    """Return the moment an API timestamp stands for; 0 for none."""
    return datetime.fromisoformat(text).timestamp() if text else 0


def suffix(length: int = 5) -> str:
    """Return a random end for a generated name."""
    return "".join(random.choices(ALPHABET, k=length))


def encode(number: int) -> str:
    """Write a hash as Kubernetes does in names."""
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in str(number))


def fnv1(data: bytes) -> int:
    """Return the FNV-1 hash of 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = (value * 0x01000193) & 0xFFFFFFFF ^ byte
    return value


def fnv1a(data: bytes) -> int:
    """Return the FNV-1a hash of 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def canonical(value: Any) -> bytes:
    """Return JSON as Go's encoder writes a map: sorted, with <, > and & escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode()


def owner_of(obj: Object) -> Object | None:
    """Return the reference to the controller that manages an object."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def owned_by(obj: Object, owner: Object) -> bool:
    """Say whether this owner manages the object."""
    reference = owner_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def reference_to(owner: Object, api_version: str, kind: str) -> Object:
    """Return the reference a managed object carries."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_deleted(obj: Object) -> bool:
    """Say whether an object is on its way out."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def condition(obj: Object, kind: str) -> Object | None:
    """Return a condition of an object's status."""
    for entry in (obj.get("status") or {}).get("conditions") or []:
        if entry["type"] == kind:
            found: Object = entry
            return found
    return None


def is_ready(pod: Object) -> bool:
    """Say whether a pod is ready."""
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


def is_available(pod: Object, seconds: float, now: float) -> bool:
    """Say whether a pod has been ready for long enough."""
    found = condition(pod, "Ready")
    if found is None or found["status"] != "True":
        return False
    return seconds == 0 or now - moment(found.get("lastTransitionTime")) >= seconds


def phase(pod: Object) -> str:
    """Return a pod's phase."""
    return (pod.get("status") or {}).get("phase") or "Pending"


def is_active(pod: Object) -> bool:
    """Say whether a pod runs or will run."""
    return phase(pod) not in ("Succeeded", "Failed") and not is_deleted(pod)


def matches(selector: Object | None, labels: Object | None) -> bool:
    """Say whether a label selector (matchLabels, matchExpressions) chooses these labels."""
    if selector is None:
        return False
    labels = labels or {}
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_matches(e, labels) for e in selector.get("matchExpressions") or [])


def _matches(expression: Object, labels: Object) -> bool:
    key, values = expression["key"], expression.get("values") or []
    operator = expression["operator"]
    if operator == "In":
        return bool(labels.get(key) in values)
    if operator == "NotIn":
        return bool(labels.get(key) not in values)
    return bool((key in labels) == (operator == "Exists"))


def by_name(objects: Iterable[Object]) -> list[Object]:
    """Return objects in the order of their names."""
    return sorted(objects, key=lambda obj: str(obj["metadata"]["name"]))
