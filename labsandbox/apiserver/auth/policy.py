"""The roles and bindings every cluster starts with, as a kube-apiserver defines them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import orjson

Json = dict[str, Any]
_GROUP = "rbac.authorization.k8s.io"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_CONTROLLER = "system:controller:"


def _aggregate(label: str) -> Json:
    key = f"rbac.authorization.k8s.io/aggregate-to-{label}"
    return {"clusterRoleSelectors": [{"matchLabels": {key: "true"}}]}


@cache
def roles() -> dict[str, list[Json]]:
    """The rules of every default role but the three that are put together from others."""
    text = resources.files(__package__).joinpath("roles.json").read_bytes()
    found: dict[str, list[Json]] = orjson.loads(text)
    return found


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


def _rule(verbs: str, group: str, resource: str, *names: str) -> Json:
    found: Json = {
        "verbs": verbs.split(),
        "apiGroups": ["", "events.k8s.io"] if resource == "events" else [group],
        "resources": [resource],
    }
    return {**found, "resourceNames": list(names)} if names else found


_READ = "get list watch"
_LEADING = [
    _rule("create get list update watch", "coordination.k8s.io", resource)
    for resource in ("leases", "leasecandidates")
]
_EVENTS = _rule("create patch update", "", "events")
_LOCAL: tuple[tuple[str, str, list[Json]], ...] = (
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        [
            _rule(_READ, "", "configmaps"),
            _rule("update", "", "configmaps", "cluster-info"),
            _EVENTS,
        ],
    ),
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        [_rule(_READ, "", "configmaps", "extension-apiserver-authentication")],
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager", _LEADING),
    ("kube-system", "system::leader-locking-kube-scheduler", _LEADING),
    ("kube-system", "system:controller:bootstrap-signer", [_rule(_READ, "", "secrets")]),
    (
        "kube-system",
        "system:controller:cloud-provider",
        [_rule("create get list watch", "", "configmaps")],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        [_rule("delete get list watch", "", "secrets"), _EVENTS],
    ),
)
"""Roles of single namespaces, each bound to the part of the system it is named after."""


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
    for name, found in roles().items():
        yield "clusterroles", {"metadata": _metadata(name), "rules": found}
    yield from _bindings()


def local_objects() -> Iterator[tuple[str, str, Json]]:
    """(plural, namespace, object) for every default role and binding inside a namespace."""
    for namespace, name, rules in _LOCAL:
        metadata = {**_metadata(name), "namespace": namespace}
        yield "roles", namespace, {"metadata": metadata, "rules": rules}
        binding, subjects = _local_subjects(name)
        yield (
            "rolebindings",
            namespace,
            {
                "metadata": {**_metadata(binding), "namespace": namespace},
                "subjects": subjects,
                "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": name},
            },
        )


def _local_subjects(role: str) -> tuple[str, list[Json]]:
    """The name of the binding of a role, and whom it binds."""
    manager, scheduler = (
        {"kind": "User", "apiGroup": _GROUP, "name": f"system:kube-{name}"}
        for name in ("controller-manager", "scheduler")
    )
    if role == "extension-apiserver-authentication-reader":
        return f"system::{role}", [manager, scheduler]
    if role.endswith("kube-controller-manager"):
        accounts = [_account("kube-controller-manager"), _account("leader-election-controller")]
        return role, [manager, *accounts]
    if role.endswith("kube-scheduler"):
        return role, [scheduler, _account("kube-scheduler")]
    return role, [_account(role.removeprefix(_CONTROLLER))]


def _account(name: str) -> Json:
    return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}


def _bindings() -> Iterator[tuple[str, Json]]:
    for name in roles():
        if name.startswith(_CONTROLLER) or name == "system:kube-dns":
            subject = _account(name.removeprefix(_CONTROLLER).removeprefix("system:"))
            ref = {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name}
            yield (
                "clusterrolebindings",
                {"metadata": _metadata(name), "subjects": [subject], "roleRef": ref},
            )
    for name, subjects in _BINDINGS.items():
        binding: Json = {"metadata": _metadata(name)}
        if subjects:
            binding["subjects"] = [
                {"kind": kind, "apiGroup": _GROUP, "name": subject} for kind, subject in subjects
            ]
        binding["roleRef"] = {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name}
        yield "clusterrolebindings", binding
