"""What the REST API shows of its objects: HAL documents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from labsandbox.ezmeral.accounts import ROLES, Session, Tenant, User
from labsandbox.network import POD_NETWORK

Document = dict[str, Any]

GLOBAL_VERSION = "5.3"


def session(found: Session) -> Document:
    """Show a session; `expiry` is local-free UTC text without leading zeros, as published."""
    end = time.gmtime(found.expiry)
    clock = f"{end.tm_hour}:{end.tm_min:02}:{end.tm_sec:02}"
    document: Document = {
        "_links": {"self": {"href": found.path}, "all_sessions": {"href": "/api/v2/session"}},
        "user": found.user.href,
        "user_name": found.user.name,
        "expiry": f"{end.tm_year}-{end.tm_mon}-{end.tm_mday} {clock}",
        "expiry_time": int(found.expiry),
        "is_site_admin_view": found.user.is_site_admin and found.tenant is None,
        "is_cluster_superuser": False,
    }
    if found.tenant:
        document |= {"tenant": found.tenant.href, "tenant_name": found.tenant.name}
    if found.role:
        document |= {"role": f"/api/v1/role/{found.role}", "role_name": ROLES[found.role]}
    return document


def tenant(found: Tenant, groups: Sequence[tuple[str, int]] = ()) -> Document:
    """Show a tenant."""
    return {
        "_links": {"self": {"href": found.href}, "k8scluster": {"href": "/api/v2/k8scluster/1"}},
        "label": {"name": found.name, "description": found.description},
        "tenant_type": "k8s",
        "status": "ready",
        "tenant_enclosed_properties": {"namespace": found.namespace},
        "features": {"ml_project": True, "kubernetes_access": True},
        "quota": {},
        "inusequota": {},
        "external_user_groups": [
            {"group": dn, "role": f"/api/v1/role/{number}"} for dn, number in groups
        ],
        "member_key_available": "all_admins",
    }


def user(found: User) -> Document:
    """Show a user."""
    return {
        "_links": {"self": {"href": found.href}, "all_users": {"href": "/api/v1/user"}},
        "label": {"name": found.name, "description": ""},
        "is_service_account": False,
        "is_siteadmin": found.is_site_admin,
        "is_external": False,
        "is_group_added_user": False,
    }


def member(found: User, role: int) -> Document:
    """Show a user with the role held in a tenant."""
    return user(found) | {"_embedded": {"role": f"/api/v1/role/{role}"}}


def role(number: int) -> Document:
    """Show a role."""
    return {
        "_links": {"self": {"href": f"/api/v1/role/{number}"}},
        "label": {"name": ROLES[number], "description": ""},
    }


def kubernetes_cluster(server: str, version: str) -> Document:
    """Show the one Kubernetes cluster there is."""
    return {
        "_links": {"self": {"href": "/api/v2/k8scluster/1"}},
        "label": {"name": "sandbox", "description": "The laptop cluster"},
        "k8s_version": version,
        "status": "ready",
        "status_message": "",
        "api_endpoint_access": server.removeprefix("https://"),
        "cert_data": None,
        "admin_kube_config": None,
        "addons": [],
        "addons_info": [],
        "k8shosts_config": [],
        "pod_network_range": POD_NETWORK,
        "service_network_range": "10.96.0.0/16",
        "pod_dns_domain": "cluster.local",
        "created_by_user_id": "/api/v1/user/1",
        "created_by_user_name": "admin",
        "created_time": 0,
        "has_unclaimed_k8shosts": False,
    }


def collection(path: str, plural: str, items: list[Document]) -> Document:
    """Show a list of things."""
    return {"_links": {"self": {"href": path}}, "_embedded": {plural: items}}
