"""The scale subresource of custom kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labsandbox.apiserver.crd.paths import read_path, write_path
from labsandbox.apiserver.validation.errors import FieldError, invalid
from labsandbox.apiserver.validation.goprint import plain

Json = dict[str, Any]
GO_TYPES = {str: "string", bool: "bool", float: "float64", int: "int64"}


@dataclass(frozen=True)
class Scale:
    """Where replicas and the selector are."""

    spec_path: str
    status_path: str
    selector_path: str = ""

    @classmethod
    def read(cls, row: Json) -> Scale:
        return cls(
            row.get("specReplicasPath", ""),
            row.get("statusReplicasPath", ""),
            row.get("labelSelectorPath") or "",
        )

    def of(self, obj: Json) -> Json:
        """The autoscaling/v1 Scale of an object."""
        metadata = obj.get("metadata") or {}
        names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        replicas = read_path(obj, self.spec_path)
        status: Json = {"replicas": read_path(obj, self.status_path) or 0}
        selector = read_path(obj, self.selector_path) if self.selector_path else None
        if selector:
            status["selector"] = selector
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {name: metadata[name] for name in names if name in metadata},
            "spec": {"replicas": replicas} if replicas else {},
            "status": status,
        }

    def has_replicas(self, obj: Json) -> bool:
        """Does the object say how many it wants?"""
        return read_path(obj, self.spec_path) is not None

    def set(self, obj: Json, replicas: int) -> None:
        """Set the number of replicas in the spec, in place."""
        write_path(obj, self.spec_path, replicas)

    def check(self, obj: Json, only_status: bool = False) -> list[FieldError]:
        """Are replicas numbers, and the selector a string?"""
        found: list[FieldError] = []
        paths = (self.status_path,) if only_status else (self.spec_path, self.status_path)
        for path in paths:
            found += _integer(obj, path)
        if self.selector_path:
            found += _string(obj, self.selector_path)
        return found


def _walk(obj: Json, path: str, wanted: str) -> tuple[Any, str]:
    """The value at `path`, or what Go's accessor says."""
    value: Any = obj
    parts = path.removeprefix(".").split(".")
    for part in parts:
        if value is None:
            return None, ""
        if not isinstance(value, dict):
            says = f"{plain(value)} is of the type {_go(value)}, expected map[string]interface{{}}"
            return None, f".{'.'.join(parts)} accessor error: {says}"
        if part not in value:
            return None, ""
        value = value[part]
    kinds = {"int64": int, "string": str}
    if value is None or (isinstance(value, kinds[wanted]) and not isinstance(value, bool)):
        if value is None:
            says = f"<nil> is of the type <nil>, expected {wanted}"
            return None, f".{'.'.join(parts)} accessor error: {says}"
        return value, ""
    says = f"{plain(value)} is of the type {_go(value)}, expected {wanted}"
    return None, f".{'.'.join(parts)} accessor error: {says}"


def _go(value: Any) -> str:
    if isinstance(value, list):
        return "[]interface {}"
    if isinstance(value, dict):
        return "map[string]interface {}"
    return GO_TYPES[type(value)]


def _integer(obj: Json, path: str) -> list[FieldError]:
    value, error = _walk(obj, path, "int64")
    if error:
        return [invalid(path, 0, error)]
    if value is not None and value < 0:
        return [invalid(path, value, "should be a non-negative integer")]
    if value is not None and value > 2**31 - 1:
        return [invalid(path, value, f"should be less than or equal to {2**31 - 1}")]
    return []


def _string(obj: Json, path: str) -> list[FieldError]:
    _, error = _walk(obj, path, "string")
    return [invalid(path, "", error)] if error else []
