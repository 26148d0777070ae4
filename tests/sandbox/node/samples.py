"""Small pods for the node's tests."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def make_pod(name: str = "p", *containers: Object, **spec: Any) -> Object:
    """Return a pod as the API gives it."""
    given = list(containers) or [{"name": "c", "image": "busybox"}]
    for container in given:
        container.setdefault("image", "busybox")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "t", "uid": f"uid-{name}", "labels": {"app": name}},
        "spec": {"containers": given, "restartPolicy": "Always", **spec},
    }


def make_map(name: str, **data: str) -> Object:
    """Return a ConfigMap."""
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "t"}, "data": data}
