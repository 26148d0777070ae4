"""Validation, judged by the causes a real server gave for refusing objects."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from labsandbox.apiserver import validation
from labsandbox.apiserver.registry import Catalog, ResourceDef
from labsandbox.apiserver.schema import DecodeError
from tests.golden.recording import Exchange
from tests.sandbox.apiserver.recorded import exchanges, schema_of

pytestmark = pytest.mark.fast
CATALOG = Catalog()
POINTER = re.compile(r"0xc[0-9a-f]+")
# Other stages say this: allocation, preparation, options, reviews, policies; or the body is cut.
LATER = {
    "clusterIP taken",
    "nodePort taken",
    "nodePort out of range",
    "clusterIP out of range",
    "job restartPolicy Always",
    "job no restartPolicy",
    "bad clusterIP",
    "dry-run invalid value",
    "fieldValidation invalid",
    "two values together over 1MiB",
    "too large value (>1MiB)",
    "job own selector refused",
    "policy denies",
    "annotations too long",
    "namespace mismatch",
    "no involvedObject namespace in namespaced event",
}


def _resource(obj: dict[str, Any]) -> ResourceDef | None:
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    kind = obj.get("kind")
    for row in CATALOG:
        if (row.group, row.version, row.kind) == (group, version, kind):
            return row
    return None


def _told(row: Exchange) -> list[tuple[str, str, str]]:
    return _reasons((row.answer.get("details") or {}).get("causes", []))


def _reasons(causes: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (cause.get("reason", ""), cause.get("field", ""), POINTER.sub("0x<ptr>", cause["message"]))
        for cause in causes
    ]


def _refused(area: str) -> list[Exchange]:
    return [
        row
        for row in exchanges(area)
        if row.method == "POST" and row.status == 422 and isinstance(row.body, dict)
    ]


@pytest.mark.parametrize("area", ["02", "03", "06", "07", "08", "11", "14", "16"])
def test_objects_are_refused_for_the_recorded_reasons(area: str) -> None:
    wrong = []
    seen = 0
    for row in _refused(area):
        obj = copy.deepcopy(row.body)
        schema, resource = schema_of(obj), _resource(obj)
        if schema is None or resource is None or row.name in LATER:
            continue
        if "generateName" in obj.get("metadata", {}) or obj["kind"].endswith("Review"):
            continue
        try:
            obj = schema.default(schema.decode(obj)[0])
        except DecodeError:
            continue
        parts = row.path.split("/")
        if resource.namespaced and "namespaces" in parts:
            obj["metadata"].setdefault("namespace", parts[parts.index("namespaces") + 1])
        causes = [found.cause() for found in validation.validate_create(resource, obj)]
        ours = _reasons(causes)
        seen += 1
        if ours != _told(row):
            wrong.append((row.name, _told(row), ours))
    assert not wrong, [name for name, _, _ in wrong]
    assert seen or area in ("02", "14")
