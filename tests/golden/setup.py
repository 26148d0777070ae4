"""What the recording client did between recorded exchanges, per area, as data.

Areas that are not named here are prepared by ``inference`` from what their answers reveal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True)
class Call:
    """One unrecorded request of the admin."""

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    query: str = ""


@dataclass(frozen=True)
class Compact:
    """Forget the history of the store."""


@dataclass(frozen=True)
class Restart:
    """Restart the server."""


@dataclass(frozen=True)
class Until:
    """Wait until an object has a field value (dotted path), or is gone (value None)."""

    path: str
    field: str = ""
    value: Any = None
    seconds: float = 120.0


@dataclass(frozen=True)
class Capture:
    """List a collection and let its version and continue token stand for recorded ones."""

    path: str
    version_of: str
    token_of: str = ""


@dataclass(frozen=True)
class Pause:
    """Give controllers time; a server without controllers needs none."""

    seconds: float


Step = Call | Compact | Restart | Until | Capture | Pause


@dataclass(frozen=True)
class Plan:
    """The unrecorded steps of an area: before exchanges, and during its watches."""

    start: tuple[Step, ...] = ()
    before: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    during: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    # Who sent a request that the recording wrongly says the admin sent.
    users: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    end: tuple[Step, ...] = ()


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    """A ConfigMap as the recording client wrote it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": data or {"a": "1"},
    }


def namespace(name: str) -> Call:
    """Create a namespace."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    return Call("POST", "/api/v1/namespaces", body)


def account(name: str) -> Call:
    """Create the default service account, which no controller makes in these recordings."""
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    return Call("POST", f"/api/v1/namespaces/{name}/serviceaccounts", body)


def prepared(*names: str) -> tuple[Step, ...]:
    """Namespaces with their default service account."""
    return tuple(step for name in names for step in (namespace(name), account(name)))


def maps(name: str) -> str:
    """The ConfigMap collection of a namespace."""
    return f"/api/v1/namespaces/{name}/configmaps"


def _deployment() -> dict[str, Any]:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    one = {"name": "one", "image": "i1", "env": env, "ports": [{"containerPort": 80}]}
    pod = {
        "containers": [one, {"name": "two", "image": "i2"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
        },
    }


def _widget(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "ex.test.io/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": 1},
    }


RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/team-a"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HOOKS = "/apis/admissionregistration.k8s.io/v1"
POLICY_BINDING = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "polb"},
    "spec": {
        "policyName": "pol",
        "validationActions": ["Deny"],
        "matchResources": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "g16"}}
        },
    },
}
ALICE_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "alice-admin"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "boss"},
    "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}],
}
ALICE_ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "boss"},
    "rules": [
        {
            "apiGroups": [""],
            "resources": [
                *("configmaps", "secrets", "pods", "pods/log", "pods/exec"),
                *("services", "serviceaccounts", "namespaces"),
            ],
            "verbs": ["*"],
        },
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles", "rolebindings"],
            "verbs": ["get", "list", "watch", "create", "update", "delete"],
        },
    ],
}
G13 = maps("g13")

PLANS: dict[str, Plan] = {
    "02-namespaces": Plan(before={"finalize subresource": (Call("DELETE", maps("ns-a") + "/c1"),)}),
    "03-configmaps": Plan(
        start=prepared("g1", "g2"),
        before={
            "deletecollection with selector": tuple(
                Call("POST", maps("g2"), config_map(f"dc{i}", labels={"dc": "y" if i < 2 else "n"}))
                for i in range(3)
            )
        },
    ),
    "04-patch-and-apply": Plan(
        start=(
            *prepared("g4"),
            Call(
                "POST",
                maps("g4"),
                config_map("p", {"a": "1", "b": "2", "c": "3"}, labels={"x": "1"}),
            ),
        ),
        before={
            "strategic: merge list by name": (
                Call("POST", "/apis/apps/v1/namespaces/g4/deployments", _deployment()),
            )
        },
    ),
    "06-services": Plan(
        start=prepared("g6"),
        before={
            # The recorded cluster did not have the Service of its own API server.
            "proxy subresource to service without endpoints": (
                Call("DELETE", "/api/v1/namespaces/default/services/kubernetes"),
            )
        },
    ),
    "07-pods": Plan(
        start=(namespace("g7"),), before={"create minimal (defaulting)": (account("g7"),)}
    ),
    "08-workloads": Plan(start=prepared("g8")),
    "10-events": Plan(start=prepared("g10")),
    "11-crds": Plan(
        start=prepared("g11"),
        before={
            "get CRD": (Until(f"{CRDS}/widgets.ex.test.io", "status.conditions.1.status", "True"),),
            "CRD delete": (
                Call("POST", "/apis/ex.test.io/v1/namespaces/g11/widgets", _widget("last")),
            ),
            "CRD gone": (Until(f"{CRDS}/widgets.ex.test.io"),),
            "cluster CR create": (
                Until(f"{CRDS}/planets.ex.test.io", "status.conditions.1.status", "True"),
            ),
        },
        end=(Call("DELETE", f"{CRDS}/planets.ex.test.io"), Until(f"{CRDS}/planets.ex.test.io")),
    ),
    "12-lists-paging-resourceversion": Plan(
        start=(
            *prepared("g12"),
            *(
                Call("POST", maps("g12"), config_map(f"i{i:02d}", labels={"odd": str(i % 2)}))
                for i in range(23)
            ),
        ),
        before={
            "page 2 again after an insert: same snapshot": (
                Call("POST", maps("g12"), config_map("i005")),
            ),
            "continue after compaction (410)": (Compact(),),
        },
    ),
    "13-watch": Plan(
        start=(
            *prepared("g13"),
            Call("POST", G13, config_map("w0", labels={"l": "1"})),
            Call("POST", G13, config_map("w1")),
        ),
        before={
            "deletecollection events": tuple(
                Call("POST", G13, config_map(f"dc{i}", labels={"dc": "1"})) for i in range(3)
            ),
            "delete with finalizer: MODIFIED then DELETED": (
                Call("POST", G13, config_map("fin", finalizers=["x.io/f"])),
            ),
        },
        during={
            "no resourceVersion: current state as ADDED, then live": (
                Call("POST", G13, config_map("w2")),
                Call("PATCH", G13 + "/w2", {"data": {"b": "2"}}, MERGE),
                Call("DELETE", G13 + "/w2"),
            ),
            "from the list resourceVersion: only later events": (
                Call("POST", G13, config_map("w3")),
                Call("DELETE", G13 + "/w3"),
            ),
            "label selector: MODIFIED out of the selection becomes DELETED, into it ADDED": (
                Call("PATCH", G13 + "/w0", {"metadata": {"labels": {"l": "2"}}}, MERGE),
                Call("PATCH", G13 + "/w1", {"metadata": {"labels": {"l": "1"}}}, MERGE),
                Call("PATCH", G13 + "/w1", {"data": {"x": "1"}}, MERGE),
                Call("DELETE", G13 + "/w1"),
            ),
            "bookmarks after an event": (Call("PATCH", G13 + "/w0", {"data": {"bm": "1"}}, MERGE),),
            "no-op update sends no event": (
                Call("PATCH", G13 + "/w0", {"metadata": {"labels": {"l": "2"}}}, MERGE),
            ),
            "deletecollection events": (Call("DELETE", G13, query="labelSelector=dc%3D1"),),
            "delete with finalizer: MODIFIED then DELETED": (
                Call("DELETE", G13 + "/fin"),
                Call("PATCH", G13 + "/fin", {"metadata": {"finalizers": None}}, MERGE),
            ),
            "Table events": (
                Call("POST", G13, config_map("t1")),
                Call("PATCH", G13 + "/t1", {"data": {"b": "2"}}, MERGE),
                Call("DELETE", G13 + "/t1"),
            ),
        },
    ),
    "14-authn-authz-rbac": Plan(
        start=(
            *prepared("team-a", "team-b"),
            Call("POST", RBAC + "/rolebindings", ALICE_BINDING),
            Call("POST", RBAC + "/roles", ALICE_ROLE),
        ),
        headers={
            "basic auth is not supported": {"Authorization": "Basic YTpi"},
            "malformed authorization": {"Authorization": "Bearer"},
        },
    ),
    "16-admission": Plan(
        start=prepared("g16"),
        needs="webhook",
        before={
            "delete through validating webhook": (
                Call("DELETE", HOOKS + "/mutatingwebhookconfigurations/m"),
            ),
            "webhook unreachable, failurePolicy Fail": (
                Call(
                    "PATCH",
                    HOOKS + "/validatingwebhookconfigurations/v",
                    [
                        {
                            "op": "replace",
                            "path": "/webhooks/0/clientConfig/url",
                            "value": "https://127.0.0.1:19444/validate",
                        }
                    ],
                    JSON_PATCH,
                ),
            ),
            "webhook unreachable, failurePolicy Ignore": (
                Call(
                    "PATCH",
                    HOOKS + "/validatingwebhookconfigurations/v",
                    [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}],
                    JSON_PATCH,
                ),
            ),
            "quota create": (Call("DELETE", HOOKS + "/validatingwebhookconfigurations/v"),),
            "limitrange create": (Call("DELETE", "/api/v1/namespaces/g16/resourcequotas/q"),),
            "PodSecurity enforce label": (Call("DELETE", "/api/v1/namespaces/g16/limitranges/l"),),
            "policy denies": (
                Call("POST", HOOKS + "/validatingadmissionpolicybindings", POLICY_BINDING),
            ),
            "priorityclass": (
                Call("DELETE", HOOKS + "/validatingadmissionpolicybindings/polb"),
                Call("DELETE", HOOKS + "/validatingadmissionpolicies/pol"),
            ),
        },
    ),
    "18-http-semantics": Plan(
        start=(
            *prepared("g18"),
            *(
                Call("POST", maps("g18"), config_map(f"b{i}", {"k": "0123456789" * 9000}))
                for i in range(3)
            ),
        )
    ),
    "19-gone-410": Plan(
        start=(
            *prepared("g19"),
            *(Call("POST", maps("g19"), config_map(f"r{i}")) for i in range(3)),
            Capture(maps("g19"), "watch from an old resourceVersion", "continue from before"),
            *(Call("PATCH", f"{maps('g19')}/r{i}", {"data": {"z": "1"}}, MERGE) for i in range(3)),
            Compact(),
            Restart(),
        )
    ),
}
