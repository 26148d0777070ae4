"""The roles and bindings every cluster starts with, as a kube-apiserver defines them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
_GROUP = "rbac.authorization.k8s.io"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
ALL = ("*",)


def _rule(verbs: tuple[str, ...], groups: str, resources: str, names: str = "") -> Json:
    out: Json = {
        "verbs": list(verbs),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
    }
    if names:
        out["resourceNames"] = names.split()
    return out


def _paths(verbs: tuple[str, ...], urls: str) -> Json:
    return {"verbs": list(verbs), "nonResourceURLs": urls.split()}


def _aggregate(label: str) -> Json:
    key = f"rbac.authorization.k8s.io/aggregate-to-{label}"
    return {"clusterRoleSelectors": [{"matchLabels": {key: "true"}}]}


def _with_rollback(resources: str) -> str:
    return resources.replace("deployments/scale", "deployments/rollback deployments/scale")


_VIEWED_CORE = (
    "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
    "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status"
)
_VIEWED_STATUS = (
    "bindings events limitranges namespaces/status pods/log pods/status "
    "replicationcontrollers/status resourcequotas resourcequotas/status"
)
_APPS = (
    "daemonsets deployments deployments/scale replicasets replicasets/scale "
    "statefulsets statefulsets/scale"
)
_APPS_STATUS = (
    "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
    "deployments/status replicasets replicasets/scale replicasets/status statefulsets "
    "statefulsets/scale statefulsets/status"
)
_EXTENSIONS = (
    "daemonsets deployments deployments/scale ingresses networkpolicies replicasets "
    "replicasets/scale replicationcontrollers/scale"
)
_VIEW = [
    _rule(READ, "core", _VIEWED_CORE),
    _rule(READ, "core", _VIEWED_STATUS),
    _rule(READ, "core", "namespaces"),
    _rule(READ, "discovery.k8s.io", "endpointslices"),
    _rule(READ, "apps", _APPS_STATUS),
    _rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    _rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    _rule(
        READ,
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses "
        "ingresses/status networkpolicies replicasets replicasets/scale replicasets/status "
        "replicationcontrollers/scale",
    ),
    _rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    _rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
]
_EDIT = [
    _rule(READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    _rule(("impersonate",), "core", "serviceaccounts"),
    _rule(WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    _rule(("create",), "core", "pods/eviction"),
    _rule(
        WRITE,
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers "
        "replicationcontrollers/scale secrets serviceaccounts services services/proxy",
    ),
    _rule(("create",), "core", "serviceaccounts/token"),
    _rule(
        WRITE, "apps", _APPS.replace("deployments/scale", "deployments/rollback deployments/scale")
    ),
    _rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(WRITE, "batch", "cronjobs jobs"),
    _rule(WRITE, "extensions", _with_rollback(_EXTENSIONS)),
    _rule(WRITE, "policy", "poddisruptionbudgets"),
    _rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    _rule((*WRITE, *READ), "coordination.k8s.io", "leases"),
]
_ADMIN = [
    _rule(("create",), "authorization.k8s.io", "localsubjectaccessreviews"),
    _rule((*WRITE, *READ), _GROUP, "rolebindings roles"),
]
_EVENTS = _rule(("create", "patch", "update"), "core events.k8s.io", "events")
_REVIEWS = [
    _rule(("create",), "authentication.k8s.io", "tokenreviews"),
    _rule(("create",), "authorization.k8s.io", "subjectaccessreviews"),
]
_LOCK = ("get", "update", "patch")

ROLES: dict[str, list[Json]] = {
    "cluster-admin": [_rule(ALL, "*", "*"), _paths(ALL, "*")],
    "system:discovery": [
        _paths(
            ("get",),
            "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version "
            "/version/",
        )
    ],
    "system:public-info-viewer": [_paths(("get",), "/healthz /livez /readyz /version /version/")],
    "system:monitoring": [
        _paths(
            ("get",),
            "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*",
        )
    ],
    "system:basic-user": [
        _rule(
            ("create",),
            "authorization.k8s.io",
            "selfsubjectaccessreviews selfsubjectrulesreviews",
        ),
        _rule(("create",), "authentication.k8s.io", "selfsubjectreviews"),
    ],
    "system:aggregate-to-view": _VIEW,
    "system:aggregate-to-edit": _EDIT,
    "system:aggregate-to-admin": _ADMIN,
    "system:auth-delegator": _REVIEWS,
    "system:node": [
        *_REVIEWS,
        _rule(READ, "core", "services"),
        _rule(("create", *READ), "core", "nodes"),
        _rule(("patch", "update"), "core", "nodes/status"),
        _rule(("patch", "update"), "core", "nodes"),
        _rule(("create", "patch", "update"), "core", "events"),
        _rule(READ, "core", "pods"),
        _rule(("create", "delete"), "core", "pods"),
        _rule(("patch", "update"), "core", "pods/status"),
        _rule(("create",), "core", "pods/eviction"),
        _rule(READ, "core", "configmaps secrets"),
        _rule(("get",), "core", "persistentvolumeclaims persistentvolumes"),
        _rule(("get",), "core", "endpoints"),
        _rule(("create", *READ), "certificates.k8s.io", "certificatesigningrequests"),
        _rule(("create", "delete", "get", "patch", "update"), "coordination.k8s.io", "leases"),
        _rule(("get",), "storage.k8s.io", "volumeattachments"),
        _rule(("create",), "core", "serviceaccounts/token"),
        _rule(("get", "patch", "update"), "core", "persistentvolumeclaims/status"),
        _rule(READ, "storage.k8s.io", "csidrivers"),
        _rule(("create", "delete", "get", "patch", "update"), "storage.k8s.io", "csinodes"),
        _rule(READ, "node.k8s.io", "runtimeclasses"),
    ],
    "system:node-proxier": [
        _rule(("list", "watch"), "core", "endpoints services"),
        _rule(("get", "list", "watch"), "core", "nodes"),
        _EVENTS,
        _rule(("list", "watch"), "discovery.k8s.io", "endpointslices"),
    ],
    "system:node-problem-detector": [
        _rule(("get",), "core", "nodes"),
        _rule(("patch",), "core", "nodes/status"),
        _EVENTS,
    ],
    "system:node-bootstrapper": [
        _rule(("create", *READ), "certificates.k8s.io", "certificatesigningrequests")
    ],
    "system:kubelet-api-admin": [
        _rule(READ, "core", "nodes"),
        _rule(("proxy",), "core", "nodes"),
        _rule(ALL, "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
    ],
    "system:kube-scheduler": [
        _EVENTS,
        _rule(("create",), "coordination.k8s.io", "leases"),
        _rule(("get", "update"), "coordination.k8s.io", "leases", "kube-scheduler"),
        _rule(READ, "core", "nodes"),
        _rule(("delete", *READ), "core", "pods"),
        _rule(("create",), "core", "bindings pods/binding"),
        _rule(("patch", "update"), "core", "pods/status"),
        _rule(READ, "core", "replicationcontrollers services"),
        _rule(READ, "apps extensions", "replicasets"),
        _rule(READ, "apps", "statefulsets"),
        _rule(READ, "policy", "poddisruptionbudgets"),
        _rule(READ, "core", "persistentvolumeclaims persistentvolumes"),
        *_REVIEWS,
        _rule(READ, "storage.k8s.io", "csinodes"),
        _rule(READ, "core", "namespaces"),
        _rule(READ, "storage.k8s.io", "csidrivers"),
        _rule(READ, "storage.k8s.io", "csistoragecapacities"),
    ],
    "system:volume-scheduler": [
        _rule(("get", "list", "patch", "update", "watch"), "core", "persistentvolumes"),
        _rule(READ, "storage.k8s.io", "storageclasses"),
        _rule(("get", "list", "patch", "update", "watch"), "core", "persistentvolumeclaims"),
    ],
    "system:kube-controller-manager": [
        _EVENTS,
        _rule(("create",), "coordination.k8s.io", "leases"),
        _rule(("get", "update"), "coordination.k8s.io", "leases", "kube-controller-manager"),
        _rule(("create",), "core", "secrets serviceaccounts"),
        _rule(("delete",), "core", "secrets"),
        _rule(("get",), "core", "configmaps namespaces secrets serviceaccounts"),
        _rule(("update",), "core", "secrets serviceaccounts"),
        *_REVIEWS,
        _rule(("list", "watch"), "*", "*"),
        _rule(("create",), "core", "serviceaccounts/token"),
    ],
    "system:kube-dns": [_rule(("list", "watch"), "core", "endpoints services")],
    "system:kube-aggregator": [_rule(READ, "core", "endpoints services")],
    "system:persistent-volume-provisioner": [
        _rule(("create", "delete", *READ), "core", "persistentvolumes"),
        _rule(("get", "list", "update", "watch"), "core", "persistentvolumeclaims"),
        _rule(READ, "storage.k8s.io", "storageclasses"),
        _rule(("watch",), "core", "events"),
        _EVENTS,
    ],
    "system:service-account-issuer-discovery": [
        _paths(("get",), "/.well-known/openid-configuration /openid/v1/jwks /openid/v1/jwks/")
    ],
}
_AGGREGATED = {"admin": "admin", "edit": "edit", "view": "view"}
_EXTRA_LABELS = {
    "edit": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"},
    "view": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"},
    "system:aggregate-to-admin": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"},
    "system:aggregate-to-edit": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"},
    "system:aggregate-to-view": {"rbac.authorization.k8s.io/aggregate-to-view": "true"},
}
_AUTHENTICATED = ("Group", "system:authenticated")
_UNAUTHENTICATED = ("Group", "system:unauthenticated")
_BINDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "cluster-admin": (("Group", "system:masters"),),
    "system:basic-user": (_AUTHENTICATED,),
    "system:discovery": (_AUTHENTICATED,),
    "system:public-info-viewer": (_AUTHENTICATED, _UNAUTHENTICATED),
    "system:monitoring": (("Group", "system:monitoring"),),
    "system:node": (),
    "system:node-proxier": (("User", "system:kube-proxy"),),
    "system:kube-scheduler": (("User", "system:kube-scheduler"),),
    "system:volume-scheduler": (("User", "system:kube-scheduler"),),
    "system:kube-controller-manager": (("User", "system:kube-controller-manager"),),
    "system:service-account-issuer-discovery": (("Group", "system:serviceaccounts"),),
}


def _metadata(name: str) -> Json:
    labels = {**_LABELS, **_EXTRA_LABELS.get(name, {})}
    return {"name": name, "labels": labels, "annotations": dict(_ANNOTATIONS)}


def default_objects() -> Iterator[tuple[str, Json]]:
    """(plural, object) for every default role and binding."""
    for name, label in _AGGREGATED.items():
        rules: list[Json] | None = None if name == "admin" else []
        rule = _aggregate(label)
        yield (
            "clusterroles",
            {"metadata": _metadata(name), "rules": rules, "aggregationRule": rule},
        )
    for name, found in ROLES.items():
        yield "clusterroles", {"metadata": _metadata(name), "rules": found}
    for name, subjects in _BINDINGS.items():
        binding: Json = {"metadata": _metadata(name)}
        if subjects:
            binding["subjects"] = [
                {"kind": kind, "apiGroup": _GROUP, "name": subject} for kind, subject in subjects
            ]
        binding["roleRef"] = {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name}
        yield "clusterrolebindings", binding
