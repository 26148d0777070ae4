"""No object, however odd, makes decoding, defaulting or validation fail by accident."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest

from labsandbox.apiserver import validation
from labsandbox.apiserver.registry import Catalog, ResourceDef
from labsandbox.apiserver.schema import DecodeError, KindSchema, kind_schema
from labsandbox.apiserver.status import invalid
from tests.sandbox.apiserver.samples import made_up

pytestmark = pytest.mark.fast
ROWS = [row for row in Catalog() if kind_schema(row.group, row.version, row.kind) is not None]
GROUPS = sorted({row.group for row in ROWS})
ROUNDS = 8


def _of(group: str) -> list[tuple[ResourceDef, KindSchema]]:
    found = []
    for row in ROWS:
        schema = kind_schema(row.group, row.version, row.kind)
        if row.group == group and schema is not None:
            found.append((row, schema))
    return found


def _usable(schema: KindSchema, obj: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return schema.default(schema.decode(obj)[0])
    except DecodeError:
        return None


@pytest.mark.parametrize("group", GROUPS)
def test_odd_objects_are_judged_not_stumbled_over(group: str) -> None:
    random = Random(group)
    for resource, schema in _of(group):
        judged = 0
        for _ in range(ROUNDS):
            old = _usable(schema, made_up(random, resource, schema.node))
            new = _usable(schema, made_up(random, resource, schema.node))
            if old is None or new is None:
                continue
            judged += 1
            causes = validation.validate_create(resource, new)
            assert all(cause.cause()["message"] for cause in causes), resource.kind
            shown = invalid(resource.group, resource.kind, "a", causes).message
            assert all(str(cause) in shown for cause in causes), resource.kind
            assert validation.validate_create(resource, new) == causes, resource.kind
            validation.validate_update(resource, new, old)
            if "status" in resource.subresources:
                validation.validate_update(resource, new, old, "status")
        assert judged, f"no made-up {resource.kind} could be decoded"


@pytest.mark.parametrize("group", GROUPS)
def test_defaulting_twice_changes_nothing_more(group: str) -> None:
    random = Random(group)
    for resource, schema in _of(group):
        defaulted = 0
        for _ in range(ROUNDS):
            obj = _usable(schema, made_up(random, resource, schema.node))
            if obj is not None:
                defaulted += 1
                assert schema.default(copy.deepcopy(obj)) == obj, resource.kind
        assert defaulted, f"no made-up {resource.kind} could be decoded"


@pytest.mark.parametrize("group", GROUPS)
def test_values_of_wrong_types_are_refused_by_decoding(group: str) -> None:
    random = Random(group)
    wrong: tuple[Any, ...] = ([], {}, 1, True, "x", 1.5, [1], {"a": []}, None)
    refused = 0
    for resource, schema in _of(group):
        for _ in range(ROUNDS * 2):
            obj = made_up(random, resource, schema.node)
            spot: Any = obj
            while isinstance(spot, dict) and spot and random.random() < 0.8:
                name = random.choice(sorted(spot))
                if isinstance(spot[name], dict) and spot[name]:
                    spot = spot[name]
                    continue
                spot[name] = random.choice(wrong)
                break
            found = _usable(schema, obj)
            refused += found is None
            if found is not None:
                validation.validate_create(resource, found)
    assert refused, "no wrong type was noticed"
