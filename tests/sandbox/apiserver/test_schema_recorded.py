"""Decoding and defaulting, judged by what a real server answered."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from labsandbox.apiserver.patch import ignored_fields, track_update
from labsandbox.apiserver.schema import DecodeError
from tests.sandbox.apiserver.recorded import exchanges, schema_of

pytestmark = pytest.mark.fast
AREAS = ("02", "03", "04", "06", "07", "08", "10", "11", "14", "16")


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict) or "kind" not in value:
        return []
    return [value] if "metadata" in value and "items" not in value else []


@pytest.mark.parametrize("area", AREAS)
def test_decoding_keeps_every_answer_of_a_real_server(area: str) -> None:
    seen = 0
    for row in exchanges(area):
        for obj in _objects(row.answer):
            schema = schema_of(obj)
            if schema is None or obj["kind"].endswith("Review") or obj is row.body:
                continue
            if row.answer.get("spec") == {"finalizers": []}:  # the recorder emptied it afterwards
                continue
            seen += 1
            decoded, messages = schema.decode(copy.deepcopy(obj))
            assert (decoded, messages) == (obj, []), row.name
            assert schema.default(copy.deepcopy(decoded)) == obj, row.name
    assert seen


@pytest.mark.parametrize("area", [area for area in AREAS if area != "04"])  # 04 creates nothing
def test_created_objects_are_owned_as_a_real_server_says(area: str) -> None:
    seen = 0
    for row in exchanges(area):
        answer = row.answer
        if row.method != "POST" or row.status != 201 or not isinstance(row.body, dict):
            continue
        entries = (answer.get("metadata") or {}).get("managedFields")
        schema = schema_of(row.body)
        if not entries or schema is None:
            continue
        first = entries[0]
        new = schema.default(schema.decode(copy.deepcopy(row.body))[0])
        ignored = ignored_fields("", "status" in schema.node.fields)
        version = answer["apiVersion"]
        tracked = track_update(
            None, new, first["manager"], "Update", version, "", schema.node, "", ignored
        )
        ours = tracked["metadata"]["managedFields"]
        assert ours[0]["fieldsV1"] == first["fieldsV1"], row.name
        seen += 1
    assert seen


@pytest.mark.parametrize("area", ["03", "07"])
def test_wrong_types_are_refused_in_the_words_of_go(area: str) -> None:
    checked = 0
    for row in exchanges(area):
        if row.status != 400 or not isinstance(row.body, dict) or row.method != "POST":
            continue
        message = str(row.answer.get("message"))
        schema = schema_of(row.body)
        if schema is None or "cannot unmarshal" not in message:
            continue
        with pytest.raises(DecodeError) as caught:
            schema.decode(copy.deepcopy(row.body))
        assert message.endswith(str(caught.value)), row.name
        checked += 1
    assert checked
