"""One version of one object, and one change from a version to the next."""

from __future__ import annotations

from typing import Any

import orjson

Json = dict[str, Any]

CREATED, MODIFIED, DELETED = 0, 1, 2


def encode(obj: Json) -> bytes:
    """Serialise an object without its kind and apiVersion: the address says them."""
    return orjson.dumps({key: obj[key] for key in obj if key not in ("kind", "apiVersion")})


class Record:
    """A stored version; `body` is its JSON without kind and apiVersion."""

    __slots__ = ("_labels", "body", "name", "namespace", "revision")

    def __init__(
        self,
        namespace: str,
        name: str,
        revision: int,
        body: bytes,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.revision = revision
        self.body = body
        self._labels = labels

    @property
    def labels(self) -> dict[str, str]:
        if self._labels is None:
            self._labels = self.load().get("metadata", {}).get("labels") or {}
        return self._labels

    def load(self) -> Json:
        """Decode a fresh copy that the caller may change."""
        obj: Json = orjson.loads(self.body)
        return obj

    @property
    def key(self) -> tuple[str, str]:
        return (self.namespace, self.name)


class Change:
    """What happened to an object at a revision, and how it looked before."""

    __slots__ = ("after", "before", "bucket", "kind", "revision", "wire")

    def __init__(self, bucket: str, kind: int, after: Record, before: Record | None) -> None:
        self.bucket = bucket
        self.kind = kind
        self.revision = after.revision
        self.after = after
        self.before = before
        self.wire: dict[Any, bytes] = {}
        """Serialised events by representation: written once, sent to every watcher."""

    def body_before(self) -> bytes:
        """The previous version carrying this revision: what leaves a watcher's selection."""
        assert self.before is not None
        obj = self.before.load()
        obj["metadata"]["resourceVersion"] = str(self.revision)
        return orjson.dumps(obj)
