"""Rules of single writes: owners, evictions, tokens, scale, deletion, warnings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.apiserver.client import MERGE, Caller, Json
from tests.sandbox.conftest import ApiServer

pytestmark = pytest.mark.sandbox
SPACE = "/api/v1/namespaces/semantics"
APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u-1"}


def named(kind: str, name: str, version: str = "v1", **more: Any) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


@pytest.fixture(scope="module")
def call(fresh_apiserver: ApiServer) -> Iterator[Caller]:
    found = Caller(fresh_apiserver)
    assert found("POST", "/api/v1/namespaces", named("Namespace", "semantics"))[0] == 201
    account = named("ServiceAccount", "default")
    assert found("POST", f"{SPACE}/serviceaccounts", account)[0] == 201
    yield found
    found.close()


def test_repeated_owners_are_dropped_with_a_warning(call: Caller) -> None:
    obj = named("ConfigMap", "owned")
    obj["metadata"]["ownerReferences"] = [OWNER, OWNER, {**OWNER, "uid": "u-2"}]
    body = json.dumps(obj).encode()
    kind = {"Content-Type": "application/json"}
    status, headers, raw = call.raw("POST", f"{SPACE}/configmaps", body, kind)
    assert status == 201
    assert "duplicate UID(s) observed: u-1" in headers["warning"]
    assert json.loads(raw)["metadata"]["ownerReferences"] == [OWNER, {**OWNER, "uid": "u-2"}]


def test_name_of_an_object_under_deletion_is_taken(call: Caller) -> None:
    obj = named("ConfigMap", "leaving")
    obj["metadata"]["finalizers"] = ["x.io/y"]
    assert call("POST", f"{SPACE}/configmaps", obj)[0] == 201
    assert call("DELETE", f"{SPACE}/configmaps/leaving")[0] == 200
    status, answer = call("POST", f"{SPACE}/configmaps", obj)
    assert status == 409
    assert answer["message"].startswith("object is being deleted: configmaps")
    found = call("GET", f"{SPACE}/configmaps/leaving")[1]
    del found["metadata"]["finalizers"]
    assert call("PUT", f"{SPACE}/configmaps/leaving", found)[0] == 200
    assert call("GET", f"{SPACE}/configmaps/leaving")[0] == 404


def test_deletion_cannot_be_written(call: Caller) -> None:
    call("POST", f"{SPACE}/configmaps", named("ConfigMap", "alive"))
    patch = {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}
    status, answer = call("PATCH", f"{SPACE}/configmaps/alive", patch, MERGE)
    assert status == 422
    assert "metadata.deletionTimestamp" in answer["message"]


def ready_pod(call: Caller, name: str, labels: Json) -> None:
    pod = named("Pod", name, spec={"containers": [{"name": "c", "image": "busybox"}]})
    pod["metadata"]["labels"] = labels
    assert call("POST", f"{SPACE}/pods", pod)[0] == 201
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert call("PATCH", f"{SPACE}/pods/{name}/status", {"status": status}, MERGE)[0] == 200


def evict(call: Caller, name: str) -> tuple[int, Json, dict[str, str]]:
    body = json.dumps(named("Eviction", name, "policy/v1")).encode()
    kind = {"Content-Type": "application/json"}
    status, headers, raw = call.raw("POST", f"{SPACE}/pods/{name}/eviction", body, kind)
    return status, json.loads(raw), headers


def test_eviction_asks_the_budget_and_counts_it_down(call: Caller) -> None:
    budgets = "/apis/policy/v1/namespaces/semantics/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}
    assert (
        call("POST", budgets, named("PodDisruptionBudget", "b", "policy/v1", spec=spec))[0] == 201
    )
    ready_pod(call, "guarded", {"app": "guarded"})
    status, answer, headers = evict(call, "guarded")
    assert (status, answer["reason"], headers["retry-after"]) == (429, "TooManyRequests", "10")
    assert "still being processed" in answer["details"]["causes"][0]["message"]
    counted = {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1}
    call("PATCH", f"{budgets}/b/status", {"status": counted}, MERGE)
    status, answer, _ = evict(call, "guarded")
    assert status == 429
    assert answer["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
        }
    ]
    call("PATCH", f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}}, MERGE)
    assert evict(call, "guarded")[0] == 201
    left = call("GET", f"{budgets}/b")[1]["status"]
    assert left["disruptionsAllowed"] == 0
    assert list(left["disruptedPods"]) == ["guarded"]


def test_token_is_not_bound_to_what_is_missing(call: Caller) -> None:
    path = f"{SPACE}/serviceaccounts/default/token"
    for kind, expected in (("Pod", 404), ("Secret", 404), ("Node", 404), ("ConfigMap", 400)):
        reference = {"apiVersion": "v1", "kind": kind, "name": "nobody"}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": ["a"], "boundObjectRef": reference},
        }
        status, answer = call("POST", path, body)
        assert status == expected, answer


def test_class_of_a_claim_may_be_set_once(call: Caller) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    path = f"{SPACE}/persistentvolumeclaims"
    claim = named("PersistentVolumeClaim", "classless", spec=spec)
    assert call("POST", path, claim)[0] == 201
    first = {"spec": {"storageClassName": "fast"}}
    assert call("PATCH", f"{path}/classless", first, MERGE)[0] == 200
    second = {"spec": {"storageClassName": "slow"}}
    status, answer = call("PATCH", f"{path}/classless", second, MERGE)
    assert status == 422
    assert '- \tStorageClassName: &"fast"' in answer["message"]
    assert '+ \tStorageClassName: &"slow"' in answer["message"]


def test_source_of_a_claim_is_told_in_both_fields(call: Caller) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    path = f"{SPACE}/persistentvolumeclaims"
    source = {"kind": "PersistentVolumeClaim", "name": "other"}
    claim = named("PersistentVolumeClaim", "copied", spec={**spec, "dataSource": source})
    made = call("POST", path, claim)[1]["spec"]
    assert made["dataSourceRef"] == made["dataSource"] == {"apiGroup": None, **source}
    foreign = {"apiGroup": "x.io", "kind": "Backup", "name": "b"}
    claim = named("PersistentVolumeClaim", "foreign", spec={**spec, "dataSource": foreign})
    assert "dataSource" not in call("POST", path, claim)[1]["spec"]


def test_apply_of_a_scale_conflicts_with_the_owner_of_replicas(call: Caller) -> None:
    labels = {"app": "s"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    path = "/apis/apps/v1/namespaces/semantics/deployments"
    assert call("POST", path, named("Deployment", "s", "apps/v1", spec=spec))[0] == 201
    scale = named("Scale", "s", "autoscaling/v1", spec={"replicas": 5})
    status, answer = call("PATCH", f"{path}/s/scale?fieldManager=me", scale, APPLY)
    assert status == 409
    assert "using autoscaling/v1: .spec.replicas" in answer["message"]
    forced = f"{path}/s/scale?fieldManager=me&force=true"
    assert call("PATCH", forced, scale, APPLY)[1]["spec"] == {"replicas": 5}
    owners = call("GET", f"{path}/s")[1]["metadata"]["managedFields"]
    mine = [row for row in owners if row["manager"] == "me"]
    assert [row["fieldsV1"] for row in mine] == [{"f:spec": {"f:replicas": {}}}]


def test_deleted_replication_controller_orphans_its_pods(call: Caller) -> None:
    template = {
        "metadata": {"labels": {"app": "rc"}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    path = f"{SPACE}/replicationcontrollers"
    controller = named("ReplicationController", "rc.dotted", spec={"template": template})
    body = json.dumps(controller).encode()
    status, headers, _ = call.raw("POST", path, body, {"Content-Type": "application/json"})
    assert status == 201
    assert "a DNS label is recommended" in headers["warning"]
    answer = call("DELETE", f"{path}/rc.dotted")[1]
    assert answer["metadata"]["finalizers"] == ["orphan"]


def test_signing_request_names_who_asks(call: Caller) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    request = (
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0t"
        "LS0tCg=="
    )
    spec = {
        "request": request,
        "signerName": "x.io/y",
        "usages": ["client auth"],
        "username": "somebody else",
    }
    status, made = call(
        "POST", path, named("CertificateSigningRequest", "r", "certificates.k8s.io/v1", spec=spec)
    )
    if status == 422:
        pytest.fail(made["message"])
    assert made["spec"]["username"] not in ("", "somebody else")
    assert "system:authenticated" in made["spec"]["groups"]


def test_directives_about_absent_maps_are_dropped(call: Caller) -> None:
    call("POST", f"{SPACE}/configmaps", named("ConfigMap", "plain"))
    patch = {"metadata": {"labels": {"$patch": "replace", "n": "1"}}}
    status, answer = call("PATCH", f"{SPACE}/configmaps/plain", patch, STRATEGIC)
    assert (status, answer["metadata"].get("labels")) == (200, None)


def test_answers_end_with_a_newline_and_are_indented_for_curl(call: Caller) -> None:
    for path in (f"{SPACE}/configmaps", f"{SPACE}/configmaps/nobody", SPACE):
        assert call.raw("GET", path)[2].endswith(b"}\n"), path
        shown = call.raw("GET", path, headers={"User-Agent": "curl/8"})[2]
        assert shown.startswith(b'{\n  "kind"'), path


def test_autoscaler_of_version_1_aims_at_80_percent(call: Caller) -> None:
    path = "/apis/autoscaling/v1/namespaces/semantics/horizontalpodautoscalers"
    spec = {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}
    made = call("POST", path, named("HorizontalPodAutoscaler", "h", "autoscaling/v1", spec=spec))[1]
    assert made["spec"]["targetCPUUtilizationPercentage"] == 80


def test_huge_integers_are_judged_not_stumbled_over(call: Caller) -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"n": {"type": "integer"}, "x": {"type": "number"}},
            }
        },
    }
    definition = named(
        "CustomResourceDefinition",
        "bigs.big.io",
        "apiextensions.k8s.io/v1",
        spec={
            "group": "big.io",
            "scope": "Cluster",
            "names": {"plural": "bigs", "kind": "Big"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    )
    call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    path = "/apis/big.io/v1/bigs"
    for _ in range(200):
        if call.raw("GET", path)[0] == 200:
            break
    status, answer = call("POST", path, named("Big", "b", "big.io/v1", spec={"n": 10**20}))
    assert (status, answer["reason"]) == (422, "Invalid")
    assert call("POST", path, named("Big", "c", "big.io/v1", spec={"x": 10**20}))[0] == 201


def rows(call: Caller, path: str) -> dict[str, list[Any]]:
    form = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    found = json.loads(call.raw("GET", path, headers=form)[2])["rows"]
    return {row["cells"][0]: row["cells"][1:] for row in found}


def test_tables_of_the_server_itself(call: Caller) -> None:
    services = rows(call, "/apis/apiregistration.k8s.io/v1/apiservices")
    assert services["v1.apps"][:2] == ["Local", "True"]
    schemas = rows(call, "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas")
    assert schemas["catch-all"][:3] == ["catch-all", 10000, "ByUser"]
    assert {row[0] for row in schemas.values()} <= set(
        rows(call, "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations")
    )


def test_controllers_find_their_default_roles(call: Caller) -> None:
    group = "/apis/rbac.authorization.k8s.io/v1"
    roles = {row["metadata"]["name"] for row in call("GET", f"{group}/clusterroles")[1]["items"]}
    bound = call("GET", f"{group}/clusterrolebindings")[1]["items"]
    assert "system:controller:replication-controller" in roles
    assert {row["roleRef"]["name"] for row in bound} <= roles
    local = call("GET", f"{group}/namespaces/kube-system/rolebindings")[1]["items"]
    names = call("GET", f"{group}/namespaces/kube-system/roles")[1]["items"]
    assert {row["roleRef"]["name"] for row in local} == {row["metadata"]["name"] for row in names}


def test_open_kinds_name_no_properties_in_openapi_2(call: Caller) -> None:
    schema = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"spec": {"type": "object"}},
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    spec = {
        "group": "open.io",
        "scope": "Cluster",
        "names": {"plural": "opens", "kind": "Open"},
        "versions": [version],
    }
    kind, api = "CustomResourceDefinition", "apiextensions.k8s.io/v1"
    definition = named(kind, "opens.open.io", api, spec=spec)
    assert call("POST", f"/apis/{api}/customresourcedefinitions", definition)[0] == 201
    for _ in range(200):
        if call.raw("GET", "/apis/open.io/v1/opens")[0] == 200:
            break
    old = call("GET", "/openapi/v2")[1]["definitions"]["io.open.v1.Open"]
    assert "properties" not in old
    new = call("GET", "/openapi/v3/apis/open.io/v1")[1]["components"]["schemas"]
    assert set(new["io.open.v1.Open"]["properties"]) == {"apiVersion", "kind", "metadata", "spec"}


@pytest.mark.parametrize("key", ["", "f", "k:x", "i:one", "k:[]"])
def test_unreadable_managed_fields_do_not_harm(call: Caller, key: str) -> None:
    obj = named("ConfigMap", "unreadable", data={"a": "1"})
    obj["metadata"]["managedFields"] = [
        {
            "manager": "m",
            "operation": "Update",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {key: {}},
        }
    ]
    assert call("POST", f"{SPACE}/configmaps", obj)[0] == 201
    status, found = call("DELETE", f"{SPACE}/configmaps/unreadable")
    assert status == 200, found


def test_numbers_beyond_64_bits_are_refused_in_keys(call: Caller) -> None:
    spec = {"template": {"spec": {"containers": [{"name": 10**20}]}}}
    path = "/apis/apps/v1/namespaces/semantics/deployments/big?fieldManager=m"
    status, answer = call("PATCH", path, named("Deployment", "big", "apps/v1", spec=spec), APPLY)
    assert status == 500
    assert "expected string" in answer["message"]


def test_empty_list_is_none_to_a_built_in_kind(call: Caller) -> None:
    path = "/apis/discovery.k8s.io/v1/namespaces/semantics/endpointslices"
    slices = named("EndpointSlice", "empty", "discovery.k8s.io/v1", addressType="IPv4")
    made = call("POST", path, slices | {"endpoints": []})[1]
    assert made["endpoints"] is None
    status, again = call("PUT", f"{path}/empty", made | {"endpoints": []})
    assert status == 200
    assert again["metadata"]["generation"] == made["metadata"]["generation"]
