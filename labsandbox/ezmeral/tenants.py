"""What a tenant is in Kubernetes: a namespace, rights, a quota, a service account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labsandbox.client import Client, Resource, create_or_merge
from labsandbox.client import resources as res
from labsandbox.ezmeral.accounts import Tenant
from labsandbox.ezmeral.tokenreview import group_of

_MANAGER = "ezmeral"
# Defined in deploy/kubernetes/rights.
_MEMBER_ROLE, _ADMIN_ROLE = "hpecp-member", "hpecp-tenant-admin"
# What applications that start pods run as, and the role of each.
_ACCOUNTS = {"workbench": "labs-workbench", "airflow": "labs-airflow"}

_POD_ACCOUNT = "ecp-tenant-member-sa"
# What an application in a pod may do: report its trouble, and hold a lease (lab mlflow-09).
_POD_RULES = [
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["create", "get", "update"],
    },
]


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
    await apply(
        client,
        res.ROLEBINDINGS,
        _POD_ACCOUNT,
        namespace,
        _pod_binding("Role", _POD_ACCOUNT, _POD_ACCOUNT, namespace),
    )
    for account, role_name in _ACCOUNTS.items():
        await apply(client, res.SERVICEACCOUNTS, account, namespace, {})
        binding = _pod_binding("ClusterRole", role_name, account, namespace)
        await apply(client, res.ROLEBINDINGS, account, namespace, binding)
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


def _pod_binding(kind: str, role: str, account: str, namespace: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


async def apply(
    client: Client, resource: Resource, name: str, namespace: str | None, content: dict[str, Any]
) -> None:
    """Create the object, or merge what we want into the one that is there."""
    place = {"name": name, "namespace": namespace} if namespace else {"name": name}
    body = {**content, "metadata": {**content.get("metadata", {}), **place}}
    await create_or_merge(client, resource, body, manager=_MANAGER)
