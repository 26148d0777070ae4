"""What the controllers write is what a real controller-manager wrote (area 20)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from labsandbox.client.resources import CONFIGMAPS, PVCS
from labsandbox.controllers import (
    accounts,
    endpoints,
    namespace,
    podhash,
    quota,
    statefulset,
)
from labsandbox.controllers.actions import Again, Create, Replace

pytestmark = pytest.mark.fast

RECORDING = Path(__file__).parents[2] / "golden" / "recordings" / "20-controllers.json"
NOW = 1_795_200_000.0


@cache
def recorded(name: str) -> Any:
    for exchange in json.loads(RECORDING.read_text())["exchanges"]:
        if exchange["name"] == name:
            return exchange["response"]["body"]
    raise AssertionError(f"no exchange {name!r} in {RECORDING.name}")


@pytest.mark.parametrize("name", ["statefulset", "statefulset after update"])
def test_statefulset_revision_has_the_recorded_name(name: str) -> None:
    sts = recorded(name)
    data = statefulset.revision_data(sts["spec"]["template"])
    assert statefulset.revision_name(sts, data) == sts["status"]["updateRevision"]


def test_controllerrevision_has_the_recorded_content() -> None:
    sts, wanted = recorded("statefulset"), recorded("controllerrevisions")["items"][0]
    made = statefulset.reconcile({**sts, "status": {}}, [], [], [], NOW)[0]
    assert isinstance(made, Create)
    assert made.obj["data"] == wanted["data"]
    assert made.obj["revision"] == wanted["revision"]
    assert made.obj["metadata"]["labels"] == wanted["metadata"]["labels"]
    assert made.obj["metadata"]["ownerReferences"] == wanted["metadata"]["ownerReferences"]


def test_namespace_conditions_have_the_recorded_texts() -> None:
    events = recorded("namespace deletion blocked by a finalizer")
    before, after = events[1]["object"], events[2]["object"]
    deleted = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    claim = {"metadata": {**deleted, "finalizers": ["kubernetes.io/pvc-protection"]}}
    held = {"metadata": {**deleted, "finalizers": ["x.io/hold"]}}
    written = namespace.reconcile(before, [(CONFIGMAPS, [held]), (PVCS, [claim])], NOW)[0]
    assert isinstance(written, Replace)
    times = {"lastTransitionTime": None}
    found = [c | times for c in written.obj["status"]["conditions"]]
    assert found == [c | times for c in after["status"]["conditions"]]


def test_quota_status_is_the_recorded_one() -> None:
    maps = recorded("configmaps of a new namespace")["items"]
    written = quota.reconcile(recorded("quota"), {"configmaps": maps})[0]
    assert isinstance(written, Replace)
    assert written.obj["status"] == recorded("quota status computed")["status"]


def test_quota_count_below_a_fresh_charge_waits() -> None:
    """The object that was charged may not have been seen yet: it must not be charged off again."""
    maps = recorded("configmaps of a new namespace")["items"]
    charged = {"hard": {"configmaps": "2"}, "used": {"configmaps": "2"}}
    one = {**recorded("quota"), "status": charged}
    assert quota.reconcile(one, {"configmaps": maps}, quiet=0.1) == [Again(0.4)]
    written = quota.reconcile(one, {"configmaps": maps}, quiet=0.5)[0]
    assert isinstance(written, Replace)
    assert written.obj["status"]["used"] == {"configmaps": "1"}
    assert quota.reconcile(one, {"configmaps": [*maps, *maps]}, quiet=0.1) == []


def test_ca_configmap_is_the_recorded_one() -> None:
    wanted = recorded("configmaps of a new namespace")["items"][0]
    space = {"metadata": {"name": "c20"}}
    made = accounts.reconcile_ca(space, False, None, wanted["data"]["ca.crt"])[0]
    assert isinstance(made, Create)
    assert made.obj["data"] == wanted["data"]
    assert made.obj["metadata"]["annotations"] == wanted["metadata"]["annotations"]


def test_endpoints_are_the_recorded_ones() -> None:
    wanted = recorded("endpoints")
    addresses = {
        entry["targetRef"]["name"]: entry["ip"] for entry in wanted["subsets"][0]["addresses"]
    }
    pods = [
        {**pod, "status": {**pod["status"], "podIP": addresses[pod["metadata"]["name"]]}}
        for pod in recorded("pods")["items"]
    ]
    made = endpoints.reconcile(recorded("service"), pods, None, [], NOW)
    assert isinstance(made[0], Create)
    assert made[0].obj["subsets"] == wanted["subsets"]
    slice_ = recorded("endpointslices")["items"][0]
    assert isinstance(made[1], Create)
    assert made[1].obj["ports"] == slice_["ports"]
    assert made[1].obj["metadata"]["labels"] == slice_["metadata"]["labels"]
    keyed = {e["targetRef"]["name"]: e for e in slice_["endpoints"]}
    assert {e["targetRef"]["name"]: e for e in made[1].obj["endpoints"]} == keyed


@pytest.mark.parametrize(
    ("name", "image"), [("w-5768c7f9cb", "i:1"), ("w-7ff748f94c", "i:2")], ids=["first", "second"]
)
def test_replicaset_has_the_recorded_name(name: str, image: str) -> None:
    template = json.loads(json.dumps(recorded("deployment")["spec"]["template"]))
    template["spec"]["containers"][0]["image"] = image
    assert f"w-{podhash.of(template, None)}" == name


def test_template_beyond_the_tables_has_a_hash_too() -> None:
    template = json.loads(json.dumps(recorded("deployment")["spec"]["template"]))
    template["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
    first = podhash.of(template, None)
    assert first != podhash.of(template, 1)
    template["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}
    assert podhash.of(template, None) != first
