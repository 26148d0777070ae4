"""Laws that hold for every patch and every apply, tried on made-up objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labsandbox.apiserver.patch import (
    apply_json_patch,
    apply_merge_patch,
    apply_strategic,
    fieldset,
    server_side_apply,
    settle,
    track_update,
)
from labsandbox.apiserver.patch.typed import field_set
from labsandbox.apiserver.status import StatusError
from tests.sandbox.apiserver.recorded import Json, schema_named

pytestmark = pytest.mark.fast
NOW, LATER = "2026-11-20T17:00:00Z", "2026-11-20T18:00:00Z"
CONFIG_MAP = schema_named("v1", "ConfigMap").node
POD = schema_named("v1", "Pod").node
KEYS = st.sampled_from(["a", "b", "c", "x/y", "t~e"])
NAMES = st.sampled_from(["web", "log", "db"])
JSON_VALUES = st.recursive(
    st.integers(-3, 3) | st.booleans() | st.sampled_from(["", "v", "w"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, JSON_VALUES, max_size=4)
DATA = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2"]), max_size=4)
PORTS = st.lists(st.sampled_from([80, 81, 82]), unique=True, max_size=3)


@st.composite
def pods(draw: st.DrawFn) -> Json:
    containers = [
        {
            "name": name,
            "image": draw(st.sampled_from(["i:1", "i:2"])),
            "ports": [{"containerPort": port, "protocol": "TCP"} for port in draw(PORTS)],
            "env": [{"name": key, "value": "v"} for key in draw(st.sets(NAMES))],
        }
        for name in draw(st.lists(NAMES, unique=True, min_size=1))
    ]
    labels = draw(DATA)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", **({"labels": labels} if labels else {})},
        "spec": {"containers": [{k: v for k, v in one.items() if v} for one in containers]},
    }


def config_map(data: dict[str, str]) -> Json:
    obj: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    return {**obj, "data": data} if data else obj


def _apply(live: Json | None, applied: Json, manager: str, node: Any, force: bool = False) -> Json:
    version = applied["apiVersion"]
    return server_side_apply(live, copy.deepcopy(applied), manager, force, node, version, NOW, "")


def _plain(obj: Json) -> Json:
    """The object without its owners and without what is written of every new object."""
    new = ("managedFields", "creationTimestamp")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in new}
    return {key: value for key, value in {**obj, "metadata": metadata}.items() if value != {}}


def _merge_patch(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            patch[key] = _merge_patch(old[key], value)
    return patch


@given(OBJECTS, OBJECTS)
def test_merge_patch_turns_one_object_into_another(old: Json, new: Json) -> None:
    before = copy.deepcopy(old)
    assert apply_merge_patch(old, _merge_patch(old, new)) == new
    assert old == before


@given(OBJECTS, KEYS, JSON_VALUES)
def test_json_patch_can_be_taken_back(obj: Json, key: str, value: Any) -> None:
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    added = apply_json_patch(obj, [{"op": "add", "path": path, "value": value},
                                   {"op": "test", "path": path, "value": value}])  # fmt: skip
    assert added == {**obj, key: value}
    removed = apply_json_patch(added, [{"op": "remove", "path": path}])
    assert removed == {name: kept for name, kept in obj.items() if name != key}


@given(OBJECTS)
def test_json_patch_that_fails_leaves_the_object_alone(obj: Json) -> None:
    before = copy.deepcopy(obj)
    with pytest.raises(StatusError):
        apply_json_patch(obj, [{"op": "add", "path": "/new", "value": 1},
                               {"op": "remove", "path": "/none/at/all"}])  # fmt: skip
    assert obj == before


@given(pods(), pods())
@settings(max_examples=60)
def test_strategic_merge_keeps_every_container_of_both(live: Json, patch: Json) -> None:
    merged = apply_strategic(live, copy.deepcopy(patch), POD)
    names = [one["name"] for one in merged["spec"]["containers"]]
    wanted = {one["name"] for obj in (live, patch) for one in obj["spec"]["containers"]}
    assert set(names) == wanted
    assert len(names) == len(wanted)
    for one in patch["spec"]["containers"]:
        now = next(row for row in merged["spec"]["containers"] if row["name"] == one["name"])
        assert now["image"] == one["image"]
    assert apply_strategic(merged, copy.deepcopy(patch), POD) == merged


@given(pods())
@settings(max_examples=60)
def test_field_sets_survive_being_written(pod: Json) -> None:
    owned = field_set(pod, POD)
    assert fieldset.write(fieldset.read(fieldset.write(owned))) == fieldset.write(owned)


@given(pods())
@settings(max_examples=60)
def test_applying_nothing_new_changes_nothing(pod: Json) -> None:
    created = _apply(None, pod, "one", POD)
    assert _plain(created) == pod
    again = server_side_apply(created, copy.deepcopy(pod), "one", False, POD, "v1", LATER, "")
    assert settle(created, again) == created


@given(DATA, DATA)
def test_what_a_manager_stops_applying_goes_away(
    first: dict[str, str], second: dict[str, str]
) -> None:
    created = _apply(None, config_map(first), "one", CONFIG_MAP)
    changed = _apply(created, config_map(second), "one", CONFIG_MAP)
    assert _plain(changed).get("data", {}) == second


@given(DATA, DATA)
def test_fields_of_two_managers_stay_or_conflict(
    first: dict[str, str], second: dict[str, str]
) -> None:
    created = _apply(None, config_map(first), "one", CONFIG_MAP)
    disputed = {key for key in first if key in second and first[key] != second[key]}
    if disputed:
        with pytest.raises(StatusError) as caught:
            _apply(created, config_map(second), "two", CONFIG_MAP)
        assert caught.value.code == 409
        assert all(f".data.{key}" in str(caught.value.message) for key in disputed)
    both = _apply(created, config_map(second), "two", CONFIG_MAP, force=True)
    assert both.get("data", {}) == {**first, **second}
    mine = _apply(both, config_map({}), "two", CONFIG_MAP)
    kept = {key: value for key, value in first.items() if key not in disputed}
    assert mine.get("data", {}) == kept


@given(DATA, DATA)
def test_an_update_without_change_keeps_the_owners(
    first: dict[str, str], second: dict[str, str]
) -> None:
    old = track_update(None, config_map(first), "one", "Update", "v1", NOW, CONFIG_MAP, "")
    same = track_update(old, copy.deepcopy(old), "two", "Update", "v1", LATER, CONFIG_MAP, "")
    assert same == old
    new = {**copy.deepcopy(old), **config_map(second), "metadata": old["metadata"]}
    if not second:
        new.pop("data", None)
    changed = track_update(old, new, "two", "Update", "v1", LATER, CONFIG_MAP, "")
    managers = {row["manager"] for row in changed["metadata"].get("managedFields", [])}
    assert ("two" in managers) == any(first.get(key) != value for key, value in second.items())
