"""Events as bytes, in the representation a watcher asked for."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from labsandbox.apiserver.http.media import Accepted
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.schema.decode import zero
from labsandbox.apiserver.store import Change, Record
from labsandbox.apiserver.verbs.objects import full_bytes, full_object
from labsandbox.apiserver.verbs.read import transform
from labsandbox.apiserver.watch.hub import Render, frame

Json = dict[str, Any]


def event(kind: str, body: bytes) -> bytes:
    """One framed event from the JSON of its object."""
    return frame(b'{"type":"%b","object":%b}\n' % (kind.encode(), body))


def before_record(change: Change) -> Record:
    """The state before the change, with the change's revision."""
    record = change.after
    return Record(record.namespace, record.name, change.revision, change.body_before())


def plain_renderer(resource: ResourceDef) -> Render:
    """Full objects; the bytes are shared by every watcher of the same version."""
    form = (resource.api_version, resource.kind)

    def render(change: Change, kind: str, before: bool) -> bytes:
        key = (form, kind, before)
        found = change.wire.get(key)
        if found is None:
            record = before_record(change) if before else change.after
            found = change.wire[key] = event(kind, full_bytes(resource, record))
        return found

    return render


class FormRenderer:
    """Tables and PartialObjectMetadata; only a watch's first Table carries the columns."""

    def __init__(self, request: Request, resource: ResourceDef, accepted: Accepted) -> None:
        self._request = request
        self._resource = resource
        self._accepted = accepted
        self._columns = True

    def __call__(self, change: Change, kind: str, before: bool) -> bytes:
        record = before_record(change) if before else change.after
        return self.record(record, kind)

    def record(self, record: Record, kind: str) -> bytes:
        obj = full_object(self._resource, record)
        return event(kind, orjson.dumps(self.value(obj)))

    def value(self, obj: Json) -> Json:
        accepted = self._accepted
        if accepted.form != "Table":
            form = Accepted(accepted.media, "PartialObjectMetadata", accepted.version)
            return transform(self._request, self._resource, [obj], form, {}, single=True)
        table = transform(
            self._request, self._resource, [obj], accepted, obj["metadata"],
            single=True, columns=self._columns,
        )  # fmt: skip
        self._columns = False
        return table


_COUNTED = {"ReplicaSet", "ReplicationController", "Deployment", "StatefulSet"}
"""Kinds whose replicas are a plain number inside the server: never absent, not even here."""


def bookmark(
    resource: ResourceDef, revision: int, annotations: dict[str, str] | None = None
) -> Json:
    """The object of a BOOKMARK event: an empty one of its kind, with a version."""
    metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    head: Json = {"kind": resource.kind, "apiVersion": resource.api_version}
    if resource.custom is not None:
        del metadata["creationTimestamp"]
        return {**head, "metadata": metadata}
    node = shape_of(resource).node
    empty: Json = zero(node) if node is not None and node.definition else {}
    if resource.kind in _COUNTED:
        empty["spec"] = {"replicas": 0, **(empty.get("spec") or {})}
    return {**empty, **head, "metadata": metadata}


def initial_end(resource: ResourceDef) -> dict[str, str]:
    """Annotations of the bookmark that ends the initial events."""
    blueprint: Json = {"kind": resource.kind_of_list, "apiVersion": resource.api_version}
    if resource.custom is not None:
        blueprint = {
            "apiVersion": resource.api_version,
            "items": [],
            "kind": resource.kind_of_list,
        }
    else:
        blueprint |= {"metadata": {}, "items": None}
    text = orjson.dumps(blueprint) + b"\n"
    return {
        "k8s.io/initial-events-end": "true",
        "kubernetes.io/initial-events-list-blueprint": base64.b64encode(text).decode(),
    }
