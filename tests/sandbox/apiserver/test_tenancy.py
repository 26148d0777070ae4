"""Two tenants on one server: neither sees anything of the other, by any verb or error text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.apiserver.client import MERGE, Caller, config_map, make_namespace
from tests.sandbox.conftest import ApiServer

pytestmark = pytest.mark.sandbox
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SECRET = "only-tenant-b-knows"


def token_of(call: Caller, namespace: str, account: str) -> str:
    base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    call("POST", base, {"metadata": {"name": account}})
    status, body = call("POST", f"{base}/{account}/token", {"spec": {}})
    assert status == 201, body
    token: str = body["status"]["token"]
    return token


@pytest.fixture(scope="module")
def tenant(fresh_apiserver: ApiServer) -> Iterator[Caller]:
    """A member of tenant-a, who may do in it what the default role `edit` and `admin` allow."""
    admin = Caller(fresh_apiserver)
    for name in ("tenant-a", "tenant-b"):
        make_namespace(admin, name)
        binding = {
            "metadata": {"name": "members"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "member", "namespace": name}],
        }
        assert admin("POST", f"{RBAC}/namespaces/{name}/rolebindings", binding)[0] == 201
    secret = {"metadata": {"name": SECRET, "labels": {"own": "yes"}}, "stringData": {"k": "v"}}
    assert admin("POST", "/api/v1/namespaces/tenant-b/secrets", secret)[0] == 201
    make_namespace(admin, "tenant-b")
    admin("POST", "/api/v1/namespaces/tenant-b/configmaps", config_map(SECRET))
    caller = Caller(fresh_apiserver, token_of(admin, "tenant-a", "member"))
    yield caller
    caller.close()
    admin.close()


def test_tenant_works_in_its_own_namespace(tenant: Caller) -> None:
    path = "/api/v1/namespaces/tenant-a/configmaps"
    assert tenant("POST", path, config_map("mine"))[0] == 201
    assert tenant("GET", path)[0] == 200
    assert tenant("DELETE", f"{path}/mine")[0] == 200


B = "/api/v1/namespaces/tenant-b"
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/api/v1/configmaps", None),
    ("GET", "/api/v1/secrets?labelSelector=own%3Dyes", None),
    ("GET", f"/api/v1/secrets?fieldSelector=metadata.name%3D{SECRET}", None),
    ("GET", "/api/v1/secrets?watch=1&timeoutSeconds=1", None),
    ("GET", "/api/v1/watch/secrets?timeoutSeconds=1", None),
    ("GET", "/api/v1/namespaces", None),
    ("GET", B, None),
    ("GET", f"{B}/secrets", None),
    ("GET", f"{B}/secrets?watch=1&timeoutSeconds=1", None),
    ("GET", f"{B}/secrets?limit=1", None),
    ("GET", f"{B}/secrets/{SECRET}", None),
    ("GET", f"{B}/configmaps/{SECRET}", None),
    ("GET", f"{B}/configmaps/not-there", None),
    ("POST", f"{B}/configmaps", config_map(SECRET)),
    ("POST", f"{B}/configmaps?dryRun=All", config_map(SECRET)),
    ("PUT", f"{B}/configmaps/{SECRET}", config_map(SECRET)),
    ("DELETE", f"{B}/configmaps/{SECRET}", None),
    ("DELETE", f"{B}/configmaps", None),
    ("GET", f"{B}/pods/p/log", None),
    ("POST", f"{B}/pods/p/exec?command=id&stdout=1", None),
    ("GET", f"{B}/services/s/proxy/", None),
    ("POST", f"{B}/serviceaccounts/member/token", {"spec": {}}),
    ("GET", f"{B}/serviceaccounts/member", None),
    ("POST", f"{RBAC}/namespaces/tenant-b/rolebindings", {}),
    ("POST", f"{RBAC}/clusterrolebindings", {}),
    ("GET", "/api/v1/nodes", None),
    ("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", None),
    ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {"user": "x"}}),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "x"}}),
    ("GET", "/metrics", None),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{r[0]} {r[1]}")
def test_tenant_is_forbidden_elsewhere(tenant: Caller, request_: tuple[str, str, Any]) -> None:
    method, path, body = request_
    status, answer = tenant(method, path, body)
    assert status == 403, answer
    assert answer["reason"] == "Forbidden"
    named = SECRET in path
    if not named:
        assert SECRET not in json.dumps(answer)


def test_missing_and_present_objects_are_refused_alike(tenant: Caller) -> None:
    _, present = tenant("GET", f"{B}/configmaps/{SECRET}")
    _, missing = tenant("GET", f"{B}/configmaps/x")
    _, nowhere = tenant("GET", "/api/v1/namespaces/tenant-c/configmaps/x")
    told = [
        answer["message"].replace(SECRET, "x").replace("tenant-c", "tenant-b")
        for answer in (present, missing, nowhere)
    ]
    assert told[0] == told[1] == told[2]


def test_tenant_cannot_grant_what_it_does_not_have(tenant: Caller) -> None:
    path = f"{RBAC}/namespaces/tenant-a/roles"
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["*"]}]
    status, answer = tenant("POST", path, {"metadata": {"name": "more"}, "rules": rules})
    assert status == 403
    assert "attempting to grant RBAC permissions not currently held" in answer["message"]
    reference = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    }
    binding = {"metadata": {"name": "all"}, "roleRef": reference, "subjects": []}
    status, _ = tenant("POST", f"{RBAC}/namespaces/tenant-a/rolebindings", binding)
    assert status == 403


def test_tenant_cannot_move_its_object_elsewhere(tenant: Caller) -> None:
    path = "/api/v1/namespaces/tenant-a/configmaps"
    tenant("POST", path, config_map("stay"))
    patch = {"metadata": {"namespace": "tenant-b"}}
    assert tenant("PATCH", f"{path}/stay", patch, MERGE)[0] == 400
    foreign = config_map("stay")
    foreign["metadata"]["namespace"] = "tenant-b"
    assert tenant("POST", path, foreign)[0] == 400


def test_token_ends_with_its_service_account(fresh_apiserver: ApiServer) -> None:
    admin = Caller(fresh_apiserver)
    make_namespace(admin, "short-lived")
    token = token_of(admin, "short-lived", "robot")
    robot = Caller(fresh_apiserver, token)
    assert robot("GET", "/version")[0] == 200
    admin("DELETE", "/api/v1/namespaces/short-lived/serviceaccounts/robot")
    assert robot("GET", "/version")[0] == 401


def test_forged_and_anonymous_requests_get_no_further(fresh_apiserver: ApiServer) -> None:
    admin = Caller(fresh_apiserver)
    make_namespace(admin, "forged")
    token = token_of(admin, "forged", "robot")
    head, claims, signature = token.split(".")
    broken = f"{head}.{claims}.{signature[:-6]}AAAAAA"
    assert Caller(fresh_apiserver, broken)("GET", "/api")[0] == 401
    unsigned = f"{head}.{claims}."
    assert Caller(fresh_apiserver, unsigned)("GET", "/api")[0] == 401
    nobody = Caller(fresh_apiserver, anonymous=True)
    assert nobody("GET", "/version")[0] == 200
    assert nobody("GET", "/api")[0] == 403
    assert nobody("GET", "/api/v1/namespaces")[0] == 403
