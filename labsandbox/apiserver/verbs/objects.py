"""Objects on their way between the store and a client: addresses, names, times, full bytes."""

from __future__ import annotations

import secrets
import time
from functools import lru_cache
from typing import Any

import orjson

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.registry.conversion import converted
from labsandbox.apiserver.store import Record

Json = dict[str, Any]
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NAME_BASE = 58


def now() -> str:
    """The time as metadata carries it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def random_suffix(length: int = 5) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def generate_name(base: str) -> str:
    """A name from metadata.generateName: cut to 58 characters, five random ones added."""
    return base[:_NAME_BASE] + random_suffix()


@lru_cache(maxsize=500)
def prefix(api_version: str, kind: str) -> bytes:
    """What turns a stored body into a full object."""
    return f'{{"kind":"{kind}","apiVersion":"{api_version}",'.encode()


def _is_stored_as_shown(resource: ResourceDef, record: Record) -> bool:
    custom = resource.custom
    if custom is None:
        return resource.storage is None
    is_current: bool = custom.is_current(resource.version, record.revision)
    return is_current


def full_bytes(resource: ResourceDef, record: Record) -> bytes:
    """The whole object as JSON, in the version of `resource`."""
    if _is_stored_as_shown(resource, record):
        return prefix(resource.api_version, resource.kind) + record.body[1:]
    return orjson.dumps(full_object(resource, record))


def item_bytes(resource: ResourceDef, record: Record) -> bytes:
    """The object as an item of a list: built-in kinds leave kind and apiVersion to the list."""
    if resource.custom is not None:
        return full_bytes(resource, record)
    if resource.storage is None:
        return record.body
    obj = full_object(resource, record)
    del obj["kind"], obj["apiVersion"]
    return orjson.dumps(obj)


def full_object(resource: ResourceDef, record: Record) -> Json:
    """The whole object, a fresh copy, in the version of `resource`."""
    obj = record.load()
    if _is_stored_as_shown(resource, record):
        return {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
    if resource.custom is None:
        return converted(resource, obj)
    found: Json = resource.custom.version(resource.version).read(obj)
    return {**found, "kind": resource.kind, "apiVersion": resource.api_version}


def registry_path(resource: ResourceDef, namespace: str, name: str) -> str:
    """The object's key as etcd-backed servers show it in a few messages."""
    where = f"/{namespace}" if namespace else ""
    return f"{resource.registry_key}{where}/{name}"
