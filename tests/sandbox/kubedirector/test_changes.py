"""What of a kdcluster may be changed by whom, and when."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest

from labsandbox.kubedirector import secretkey
from labsandbox.kubedirector.admission.guard import VIOLATION, Codes

from .judging import KEY, changed, early, judge, stored
from .simulation import make_cluster, make_role

pytestmark = pytest.mark.fast

Object = dict[str, Any]


def test_unchanged_spec_is_admitted_at_once() -> None:
    old = stored()
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"anything": "goes"}
    verdict = early("UPDATE", new, old)
    assert verdict is not None
    assert verdict.errors == []


def test_changed_spec_is_judged_in_full() -> None:
    old = stored()
    assert early("UPDATE", changed(old, serviceType="ClusterIP"), old) is None


def test_status_written_by_a_user_is_refused() -> None:
    old = stored()
    new = copy.deepcopy(old)
    new["status"]["state"] = "creating"
    for subresource in ("", "status"):
        verdict = early("UPDATE", new, old, subresource=subresource)
        assert verdict is not None
        assert verdict.errors == [VIOLATION]


def test_announced_code_opens_until_the_write_has_returned() -> None:
    codes = Codes()
    old = stored()
    new = copy.deepcopy(old)
    new["status"] |= {"state": "updating", "generationUID": "g1"}
    codes.expect("5f1d", "g1")
    for errors in ([], [], [VIOLATION]):  # an API server may ask twice about one write
        if errors:
            codes.spend("5f1d")
        verdict = early("UPDATE", new, old, codes, "status")
        assert verdict is not None
        assert verdict.errors == errors
    codes.forget("5f1d")
    verdict = early("UPDATE", new, old, codes, "status")
    assert verdict is not None
    assert verdict.errors == [VIOLATION]


def test_write_from_an_old_version_is_left_to_the_conflict() -> None:
    old = stored()
    new = copy.deepcopy(old)
    new["metadata"]["resourceVersion"] = "0"
    new["status"]["state"] = "creating"
    verdict = early("UPDATE", new, old)
    assert verdict is not None
    assert verdict.errors == []


def test_accepted_change_marks_the_spec_as_modified() -> None:
    old = stored()
    verdict = judge(changed(old, serviceType="ClusterIP"), old)
    assert verdict.errors == []
    state = {"op": "replace", "path": "/status/state", "value": "spec modified"}
    assert state in verdict.patches


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            {"state": "spec modified"},
            "Change to spec not allowed before previous spec change has been processed.",
        ),
        (
            {"observedGeneration": 0},
            "Change to spec not allowed before previous spec change has been processed.",
        ),
        (
            {
                "roles": [
                    {
                        "id": "RESTServer",
                        "members": [{"stateDetail": {"pendingNotifyCmds": [{"arguments": []}]}}],
                    }
                ]
            },
            "Change to spec not allowed because some members have not processed notifications of "
            "previous change.",
        ),
    ],
)
def test_second_change_waits_for_the_first(status: Object, message: str) -> None:
    old = stored(**status)
    assert judge(changed(old, serviceType="ClusterIP"), old).errors == [message]


def test_change_before_the_operator_saw_the_cluster_is_refused() -> None:
    old = make_cluster()
    assert judge(changed(old, serviceType="ClusterIP"), old).errors == [
        "Change to spec not allowed before previous spec change has been processed."
    ]


def test_app_is_read_only_and_that_is_all_that_is_said() -> None:
    old = stored()
    new = changed(old, app="other", appCatalog="system", roles=[make_role("wrong")])
    assert judge(new, old).errors == [
        "The app property is read-only.",
        "The appCatalog property is read-only.",
    ]


def test_role_with_members_keeps_its_properties() -> None:
    old = stored(roles=[{"id": "RESTServer", "members": []}])
    role = make_role("RESTServer", env=[{"name": "a", "value": "b"}])
    refused = (
        "Role(RESTServer) properties other than the members count cannot be modified while role "
        "members exist."
    )
    assert judge(changed(old, roles=[make_role("LoadBalancer"), role]), old).errors == [refused]
    # The count may change, the same amount may be written in another way, a new role is free.
    same = make_role("RESTServer", 3, resources={"limits": {"cpu": "0.5", "memory": "2048Mi"}})
    balancer = make_role("LoadBalancer", env=[{"name": "a", "value": "b"}])
    assert judge(changed(old, roles=[balancer, same]), old).errors == []


def test_role_that_goes_away_cannot_come_back_too_early() -> None:
    old = stored(roles=[{"id": "RESTServer", "members": []}])
    old["spec"]["roles"] = [make_role("LoadBalancer")]
    new = changed(old, roles=[make_role("LoadBalancer"), make_role("RESTServer")])
    assert "Role(RESTServer) properties" in judge(new, old).errors[0]


def test_secret_key_with_the_same_value_is_no_change() -> None:
    encrypted = secretkey.encrypt("v", KEY)
    old = stored(roles=[{"id": "RESTServer", "members": []}])
    old["spec"]["roles"][1]["secretKeys"] = [{"name": "k", "encryptedValue": encrypted}]
    again = make_role("RESTServer", secretKeys=[{"name": "k", "value": "v"}])
    kept = make_role("RESTServer", secretKeys=[{"name": "k", "encryptedValue": encrypted}])
    other = make_role("RESTServer", secretKeys=[{"name": "k", "value": "w"}])
    for role, count in ((again, 0), (kept, 0), (other, 1)):
        roles = [make_role("LoadBalancer"), role]
        assert len(judge(changed(old, roles=roles), old).errors) == count


def test_restored_cluster_is_admitted_and_labelled() -> None:
    for labels in ({}, {"a": "b"}):
        cluster = make_cluster()
        cluster["spec"]["app"] = "not-there-yet"
        cluster["metadata"] |= {
            "labels": labels,
            "annotations": {"kubedirector.hpe.com/status-backup-exists": "true"},
        }
        verdict = early("CREATE", cluster)
        assert verdict is not None
        assert verdict.errors == []
        made = jsonpatch.apply_patch(cluster, verdict.patches)
        assert made["metadata"]["labels"] == labels | {"kubedirector.hpe.com/restoring": ""}


def test_restoring_cluster_is_frozen() -> None:
    old = stored()
    old["metadata"]["labels"] = {"kubedirector.hpe.com/restoring": ""}
    refused = early("DELETE", {}, old)
    assert refused is not None
    assert "delete not allowed while kubedirector.hpe.com/restoring label" in refused.errors[0]
    refused = early("UPDATE", changed(old, serviceType="ClusterIP"), old)
    assert refused is not None
    assert "spec changes not allowed while" in refused.errors[0]
    released = copy.deepcopy(old)
    released["metadata"]["labels"] = {}
    assert early("UPDATE", released, old) is None
    old["metadata"]["labels"]["kubedirector.hpe.com/allow-delete-while-restoring"] = ""
    allowed = early("DELETE", {}, old)
    assert allowed is not None
    assert allowed.errors == []
