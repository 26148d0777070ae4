"""What a tenant is in Kubernetes: a namespace, rights, a quota, a service account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labsandbox.client import ApiError, Client, Resource
from labsandbox.client import resources as res
from labsandbox.ezmeral.accounts import Tenant
from labsandbox.ezmeral.tokenreview import group_of

_MANAGER = "ezmeral"
_KUBEDIRECTOR = "kubedirector.hpe.com"
_READ = ["get", "list", "watch"]
_ALL = [*_READ, "create", "update", "patch", "delete", "deletecollection"]
_MEMBER_ROLE, _ADMIN_ROLE, _SITE_ROLE = "hpecp-member", "hpecp-tenant-admin", "hpecp-site-admin"

_POD_ACCOUNT = "ecp-tenant-member-sa"
# What an application in a pod may do: say what troubles it.
_POD_RULES = [{"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}]

_WORKLOADS = [
    {"apiGroups": ["apps"], "resources": ["*"], "verbs": _ALL},
    {"apiGroups": ["batch"], "resources": ["*"], "verbs": _ALL},
    {
        "apiGroups": [""],
        "resources": [
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "pods",
            "secrets",
            "services",
        ],
        "verbs": _ALL,
    },
    {"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["create", "get"]},
    {"apiGroups": [""], "resources": ["pods/log", "pods/status", "events"], "verbs": _READ},
    {
        "apiGroups": [""],
        "resources": ["serviceaccounts", "resourcequotas", "limitranges"],
        "verbs": _READ,
    },
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": _READ},
]
_MEMBER_RULES = [
    *_WORKLOADS,
    {"apiGroups": [_KUBEDIRECTOR], "resources": ["kubedirectorclusters"], "verbs": _ALL},
    {
        "apiGroups": [_KUBEDIRECTOR],
        "resources": ["kubedirectorapps", "kubedirectorclusters/status"],
        "verbs": _READ,
    },
]
_ADMIN_RULES = [
    *_WORKLOADS,
    {"apiGroups": [_KUBEDIRECTOR], "resources": ["*"], "verbs": _ALL},
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings"],
        "verbs": _READ,
    },
]


async def ensure_platform(client: Client) -> None:
    """Make the roles that all tenants share."""
    rules = {_MEMBER_ROLE: _MEMBER_RULES, _ADMIN_ROLE: _ADMIN_RULES}
    for name, granted in rules.items():
        await apply(client, res.CLUSTERROLES, name, None, {"rules": granted})
    await apply(
        client,
        res.CLUSTERROLEBINDINGS,
        _SITE_ROLE,
        None,
        _binding("cluster-admin", "hpecp:site-admins"),
    )


async def ensure_tenant(
    client: Client, tenant: Tenant, projects: Path, quota: dict[str, str] | None = None
) -> None:
    """Make everything a tenant needs; safe to repeat."""
    namespace = tenant.namespace
    labels = {"hpecp.hpe.com/tenant": namespace, "hpecp.hpe.com/tenant-id": str(tenant.id)}
    meta = {"metadata": {"labels": labels, "annotations": {"hpecp.hpe.com/name": tenant.name}}}
    await apply(client, res.NAMESPACES, namespace, None, meta)
    for role, name in ((3, _MEMBER_ROLE), (2, _ADMIN_ROLE)):
        await apply(
            client, res.ROLEBINDINGS, name, namespace, _binding(name, group_of(namespace, role))
        )
    await apply(client, res.SERVICEACCOUNTS, _POD_ACCOUNT, namespace, {})
    await apply(client, res.ROLES, _POD_ACCOUNT, namespace, {"rules": _POD_RULES})
    await apply(client, res.ROLEBINDINGS, _POD_ACCOUNT, namespace, _pod_binding(namespace))
    if quota:
        await apply(
            client, res.RESOURCEQUOTAS, "tenant-quota", namespace, {"spec": {"hard": quota}}
        )
    (projects / namespace).mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in ("data", "models", "code"):
        (projects / namespace / folder).mkdir(exist_ok=True, mode=0o700)


def _binding(role: str, group: str) -> dict[str, Any]:
    api = "rbac.authorization.k8s.io"
    return {
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": api, "kind": "Group", "name": group}],
    }


def _pod_binding(namespace: str) -> dict[str, Any]:
    return {
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": _POD_ACCOUNT,
        },
        "subjects": [{"kind": "ServiceAccount", "name": _POD_ACCOUNT, "namespace": namespace}],
    }


async def apply(
    client: Client, resource: Resource, name: str, namespace: str | None, content: dict[str, Any]
) -> None:
    """Create the object, or merge what we want into the one that is there."""
    body = {"metadata": {}, **content}
    body["metadata"] = {**body["metadata"], "name": name}
    try:
        await client.create(resource, body, namespace, manager=_MANAGER)
    except ApiError as error:
        if not error.is_already_there:
            raise
        await client.patch(resource, name, namespace, body, manager=_MANAGER)
