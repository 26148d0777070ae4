"""Recorded pairs: what a controller saw and what it wanted done, as files of `data/`.

`python -m tests.sandbox.controllers.pairs` writes the outputs of all files anew; look at the
difference before you keep it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsandbox.client import Resource
from labsandbox.controllers import (
    claims,
    collector,
    cronjob,
    daemonset,
    deployment,
    endpoints,
    job,
    namespace,
    quota,
    replicaset,
    statefulset,
)

Object = dict[str, Any]

DATA = Path(__file__).parent / "data"
NOW = 1_795_200_000.0


def _resource(text: str) -> Resource:
    group, version, plural, kind = text.split("/")
    return Resource(group, version, plural, kind)


def _collect(seen: Object) -> list[Any]:
    dependents = [(_resource(kind), obj) for kind, obj in seen["dependents"]]
    owners = [(reference, state) for reference, state in seen["owners"]]
    return collector.collect(_resource(seen["resource"]), seen["item"], owners, dependents)


def _namespace(seen: Object) -> list[Any]:
    content = [(_resource(kind), held) for kind, held in seen["content"]]
    return namespace.reconcile(seen["namespace"], content, NOW)


DECISIONS: dict[str, Callable[[Object], list[Any]]] = {
    "statefulset": lambda s: statefulset.reconcile(
        s["statefulset"], s["pods"], s["claims"], s["revisions"], NOW
    ),
    "replicaset": lambda s: replicaset.reconcile(s["replicaset"], s["pods"], NOW),
    "deployment": lambda s: deployment.reconcile(s["deployment"], s["sets"], s["pods"], NOW),
    "daemonset": lambda s: daemonset.reconcile(
        s["daemonset"], s["pods"], s["nodes"], s["revisions"], NOW
    ),
    "job": lambda s: job.reconcile(s["job"], s["pods"], NOW),
    "cronjob": lambda s: cronjob.reconcile(s["cronjob"], s["jobs"], NOW),
    "endpoints": lambda s: endpoints.reconcile(
        s["service"], s["pods"], s["endpoints"], s["slices"], NOW
    ),
    "claims": lambda s: claims.reconcile(
        s["claim"], s["volumes"], s["classes"], s["pods"], Path("/state")
    ),
    "quota": lambda s: quota.reconcile(s["quota"], s["content"]),
    "collector": _collect,
    "namespace": _namespace,
}


def plain(value: Any) -> Any:
    """Return an action as JSON can hold it; of the object of an event only its name."""
    if isinstance(value, Resource):
        return f"{value.group}/{value.version}/{value.plural}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) not in (None, (), False)
        }
        if type(value).__name__ == "Event":
            found["obj"] = value.obj["metadata"]["name"]
        return {type(value).__name__: found}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def decide(pair: Object) -> Any:
    """Return what the controller of a pair wants done now."""
    return plain(DECISIONS[pair["controller"]](pair["seen"]))


def files() -> list[Path]:
    """Return all pairs."""
    return sorted(DATA.glob("*.json"))


def write() -> None:
    """Write all outputs anew."""
    for path in files():
        pair = json.loads(path.read_text())
        pair["actions"] = decide(pair)
        path.write_text(json.dumps(pair, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
