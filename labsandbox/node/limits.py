"""How large a pod may be on this node: pure functions over its spec.

The API bounds an object by its size alone, and 1.5 MB hold ten thousand containers. A node works
through these lists, so each has a bound here; a pod beyond one stays pending with a sentence, and
nothing else on the node is touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labsandbox.node.environment import ConfigError

Object = dict[str, Any]

_OF_POD = {
    "containers": 64,
    "initContainers": 64,
    "volumes": 128,
    "tolerations": 256,
    "readinessGates": 64,
    "hostAliases": 256,
}
_OF_CONTAINER = {
    "ports": 256,
    "env": 4096,
    "envFrom": 64,
    "volumeMounts": 256,
    "command": 4096,
    "args": 4096,
}
_OF_VOLUME = {"items": 1024, "sources": 64}
_TERMS = 256
MOST_VOLUME_BYTES = 16 << 20


def problem(spec: Object) -> str | None:
    """Return what of a pod's spec is larger than a node works through; None when nothing is."""
    for where, count, most in _lists(spec):
        if count > most:
            return (
                f"expected at most {most} entries in {where} on this platform; found {count}. "
                "Divide the pod into several"
            )
    return None


def check(spec: Object) -> None:
    """Raise ConfigError where `problem` names one."""
    text = problem(spec)
    if text:
        raise ConfigError(text)


def check_files(files: dict[str, tuple[bytes, int]], volume: str) -> None:
    """Raise ConfigError when a volume's files are larger together than a node writes."""
    size = sum(len(data) for data, _ in files.values())
    if size > MOST_VOLUME_BYTES:
        raise ConfigError(
            f"expected at most {MOST_VOLUME_BYTES >> 20} MB of files in volume {volume}; "
            f"found {size >> 20} MB. Name fewer items"
        )


def _lists(spec: Object) -> Iterator[tuple[str, int, int]]:
    for key, most in _OF_POD.items():
        yield f"spec.{key}", len(spec.get(key) or []), most
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or []:
            for key, most in _OF_CONTAINER.items():
                where = f"spec.{kind}[{container.get('name')}].{key}"
                yield where, len(container.get(key) or []), most
    for volume in spec.get("volumes") or []:
        for source in (value for value in volume.values() if isinstance(value, dict)):
            yield from _of_source(source, f"spec.volumes[{volume.get('name')}]")
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or []
    yield "the pod's node affinity", len(terms), _TERMS
    for term in terms:
        for key in ("matchExpressions", "matchFields"):
            yield f"a term of the pod's node affinity ({key})", len(term.get(key) or []), _TERMS


def _of_source(source: Object, where: str) -> Iterator[tuple[str, int, int]]:
    for key, most in _OF_VOLUME.items():
        yield f"{where}.{key}", len(source.get(key) or []), most
    for part in source.get("sources") or []:
        for inner in (value for value in part.values() if isinstance(value, dict)):
            yield f"{where}.sources.items", len(inner.get("items") or []), _OF_VOLUME["items"]
