"""Custom kinds and their definitions, judged by what a real server said of them."""

from __future__ import annotations

import copy
import re

import pytest

from labsandbox.apiserver.crd import CustomKind
from labsandbox.apiserver.crd.definition import validate_definition, validate_definition_update
from labsandbox.apiserver.schema import DecodeError
from labsandbox.apiserver.status import invalid
from labsandbox.apiserver.validation.errors import FieldError
from tests.golden.recording import Exchange
from tests.sandbox.apiserver.recorded import Json, exchange, exchanges, schema_named

pytestmark = pytest.mark.fast
API = "apiextensions.k8s.io"
DEFINITION = "CustomResourceDefinition"
POINTER = re.compile(r"0xc[0-9a-f]+")


def _posted(kind: str) -> list[Exchange]:
    return [
        row
        for row in exchanges("11")
        if row.method == "POST" and isinstance(row.body, dict) and row.body.get("kind") == kind
    ]


def _widgets() -> Json:
    found = next(row for row in exchanges("11") if row.path.endswith("/widgets.ex.test.io"))
    answer = found.answer
    assert answer["kind"] == DEFINITION
    return copy.deepcopy(answer)


def _said(definition: Json, causes: list[FieldError]) -> str:
    message = invalid(API, DEFINITION, definition["metadata"]["name"], causes).message
    return POINTER.sub("0x<ptr>", message)


def test_definitions_are_refused_for_the_recorded_reasons() -> None:
    schema = schema_named(f"{API}/v1", DEFINITION)
    refused = accepted = 0
    for row in _posted(DEFINITION):
        obj = schema.default(schema.decode(copy.deepcopy(row.body))[0])
        causes = validate_definition(obj)
        if row.status == 422:
            refused += 1
            assert _said(obj, causes) == POINTER.sub("0x<ptr>", row.answer["message"]), row.name
        else:
            accepted += row.status == 201
            assert not causes, row.name
    assert refused > 1
    assert accepted


def test_a_stored_version_cannot_be_taken_away() -> None:
    old = _widgets()
    new = copy.deepcopy(old)
    del new["spec"]["versions"][0]
    causes = validate_definition_update(new, old)
    told = exchange("11", "CRD update: remove stored version").answer["message"]
    assert _said(new, causes) == POINTER.sub("0x<ptr>", told)


def test_custom_objects_are_refused_for_the_recorded_reasons() -> None:
    version = CustomKind(_widgets()).version("v1")
    refused = accepted = 0
    for row in _posted("Widget"):
        if row.body.get("apiVersion") != "ex.test.io/v1" or "dryRun" in row.query:
            continue
        if row.status not in (201, 422) or "generateName" in row.body["metadata"]:
            continue
        try:
            obj, _ = version.decode(copy.deepcopy(row.body))
        except DecodeError:
            continue
        version.default(obj)
        obj["metadata"].setdefault("namespace", "g11")
        obj["metadata"].setdefault("name", "")
        ours = [(cause["field"], cause["message"]) for cause in
                (found.cause() for found in version.validate_create(obj))]  # fmt: skip
        causes = (row.answer.get("details") or {}).get("causes", []) if row.status == 422 else []
        assert ours == [(cause["field"], cause["message"]) for cause in causes], row.name
        refused += bool(causes)
        accepted += row.status == 201
    assert refused > 1
    assert accepted > 1


def test_created_custom_objects_are_pruned_and_defaulted_as_recorded() -> None:
    version = CustomKind(_widgets()).version("v1")
    seen = 0
    for row in _posted("Widget"):
        if row.body.get("apiVersion") != "ex.test.io/v1" or row.status != 201:
            continue
        seen += 1
        obj, _ = version.decode(copy.deepcopy(row.body))
        version.default(obj)
        for part in set(obj) | set(row.answer):
            if part not in ("metadata", "status"):
                assert obj.get(part) == row.answer.get(part), row.name
    assert seen > 5
