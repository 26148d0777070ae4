"""configmeta.json: what every member is told about itself, its cluster and its connections."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labsandbox import quantity
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import naming, secretkey
from labsandbox.kubedirector.model import (
    CONFIG_ERROR,
    CONFIGURED,
    CREATE_PENDING,
    CREATING,
    LABEL_CONFIGMAP_TYPE,
    LABEL_SECRET_TYPE,
    GlobalConfig,
    Object,
    roles_of,
)

# Members of these states are, or are about to be, part of the cluster.
PRESENT = (CREATE_PENDING, CREATING, CONFIGURED, CONFIG_ERROR)
_MIB = 1024 * 1024

Members = Mapping[str, Sequence[Object]]


@dataclass(frozen=True, slots=True)
class Connected:
    """The connected objects that exist, in the order of the spec."""

    clusters: list[tuple[Object, Object]] = field(default_factory=list)  # (kdcluster, kdapp)
    configmaps: list[Object] = field(default_factory=list)
    secrets: list[Object] = field(default_factory=list)


def present_members(status: Object) -> dict[str, list[Object]]:
    """Return the members of each role that count as part of the cluster."""
    return {
        role["id"]: [m for m in role.get("members") or [] if m["state"] in PRESENT]
        for role in status.get("roles") or []
    }


def build(
    cluster: Object, app: Object, status: Object, connected: Connected, settings: GlobalConfig
) -> Object:
    """Return the part of configmeta.json that is the same for all members."""
    return _describe(cluster, app, status, settings, []) | {
        "connections": {
            "clusters": {
                other["metadata"]["name"]: _describe(
                    other,
                    other_app,
                    other.get("status") or {},
                    settings,
                    ["connections", "clusters", other["metadata"]["name"]],
                )
                for other, other_app in connected.clusters
            },
            "configmaps": _by_type(connected.configmaps, LABEL_CONFIGMAP_TYPE, _plain),
            "secrets": _by_type(connected.secrets, LABEL_SECRET_TYPE, _encoded),
        }
    }


def for_member(
    common: Object, cluster: Object, app: Object, status: Object, settings: GlobalConfig, pod: str
) -> Object:
    """Return the configmeta.json of one member."""
    for role in status.get("roles") or []:
        for member in role.get("members") or []:
            if member["pod"] == pod:
                return common | {"node": _node(cluster, app, status, settings, role["id"], member)}
    raise LookupError(f"No member of {cluster['metadata']['name']} has a pod named {pod}.")


def _node(
    cluster: Object, app: Object, status: Object, settings: GlobalConfig, role: str, member: Object
) -> Object:
    domain = _domain(cluster, status, settings)
    fqdn = f"{member['pod']}.{domain}"
    node = {
        "role_id": role,
        "nodegroup_id": "1",
        "id": str(member["nodeID"]),
        "hostname": fqdn,
        "fqdn": fqdn,
        "domain": domain,
        "distro_id": app["spec"]["distroID"],
        "depends_on": {},
    }
    if member.get("blockDevicePaths"):
        node["block_device_paths"] = member["blockDevicePaths"]
    return node


def _describe(
    cluster: Object, app: Object, status: Object, settings: GlobalConfig, prefix: list[str]
) -> Object:
    """Describe one cluster; references start with `prefix` when it is a connected one."""
    members = present_members(status)
    spec = app["spec"]
    return {
        "version": str(spec["configSchemaVersion"]),
        "services": _services(app, members, prefix),
        "nodegroups": {
            "1": {
                "roles": {
                    role["id"]: _role(cluster, app, status, role, members, settings, prefix)
                    for role in roles_of(cluster)
                    if role["id"] in members
                },
                "distro_id": spec["distroID"],
                "catalog_entry_version": spec["version"],
                "config_metadata": spec["config"].get("configMeta") or {},
            }
        },
        "distros": {spec["distroID"]: {"1": _reference(prefix, "nodegroups", "1")}},
        "cluster": {
            "name": cluster["metadata"]["name"],
            "isolated": False,
            "id": cluster["metadata"]["uid"],
            "config_metadata": {"1": _reference(prefix, "nodegroups", "1", "config_metadata")},
        },
    }


def _services(app: Object, members: Members, prefix: list[str]) -> Object:
    found: Object = {}
    for service in apps.services(app):
        roles = {
            role["id"]: _reference(
                prefix, "nodegroups", "1", "roles", role["id"], "services", service["id"]
            )
            for role in apps.roles(app)
            if role["id"] in members and service["id"] in apps.service_ids(app, role["id"])
        }
        if roles:
            found[service["id"]] = {"1": roles}
    return found


def _role(
    cluster: Object,
    app: Object,
    status: Object,
    role: Object,
    members: Members,
    settings: GlobalConfig,
    prefix: list[str],
) -> Object:
    role_id = role["id"]
    domain = _domain(cluster, status, settings)
    present = members[role_id]
    fqdns = [f"{member['pod']}.{domain}" for member in present]
    node_ids = [str(member["nodeID"]) for member in present]
    limits = (role.get("resources") or {}).get("limits") or {}
    return {
        "services": {
            service_id: _service(app, role_id, service_id, present, domain, prefix)
            for service_id in apps.service_ids(app, role_id)
        },
        "node_ids": node_ids,
        "hostnames": fqdns,
        "fqdns": fqdns,
        "fqdn_mappings": dict(zip(fqdns, node_ids, strict=True)),
        "flavor": {
            "storage": "n/a",
            "name": "n/a",
            "memory": str(int(quantity.amount(limits.get("memory", 0))) // _MIB),
            "description": "n/a",
            "cores": str(math.ceil(quantity.amount(limits.get("cpu", 0)))),
        },
        "secret_keys": _secret_keys(role, settings),
    }


def _service(
    app: Object,
    role: str,
    service_id: str,
    members: Sequence[Object],
    domain: str,
    prefix: list[str],
) -> Object:
    service = apps.service(app, service_id) or {"id": service_id}
    endpoint = service.get("endpoint") or {}
    token = ""
    endpoints = []
    if endpoint.get("port"):
        scheme = endpoint.get("urlScheme") or ""
        endpoints = [f"{scheme}://{m['pod']}.{domain}:{endpoint['port']}" for m in members]
        if endpoint.get("hasAuthToken"):
            tokens = [m["authToken"] for m in members if m.get("authToken")]
            token = tokens[-1] if tokens else ""
    return {
        "qualifiers": [],
        "name": (service.get("label") or {}).get("name", ""),
        "id": service_id,
        "hostnames": _reference(prefix, "nodegroups", "1", "roles", role, "hostnames"),
        "global_id": f"1_{role}_{service_id}",
        "fqdns": _reference(prefix, "nodegroups", "1", "roles", role, "fqdns"),
        "exported_service": service.get("exported_service") or "",
        "endpoints": endpoints,
        "authToken": token,
    }


def _secret_keys(role: Object, settings: GlobalConfig) -> dict[str, str]:
    found = {}
    for key in role.get("secretKeys") or []:
        try:
            found[key["name"]] = secretkey.decrypt(key["encryptedValue"], settings.master_key)
        except (KeyError, secretkey.SecretKeyError):
            # As in the original, a key that cannot be read is left out, not a reason to stop.
            continue
    return found


def _domain(cluster: Object, status: Object, settings: GlobalConfig) -> str:
    service = status.get("clusterService") or ""
    return naming.domain(service, cluster["metadata"]["namespace"], settings.domain)


def _reference(prefix: list[str], *path: str) -> dict[str, list[str]]:
    return {"bdvlibrefkey": [*prefix, *path]}


def _by_type(objects: Sequence[Object], label: str, describe: Any) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for obj in objects:
        kind = (obj["metadata"].get("labels") or {}).get(label)
        if kind is not None:
            found.setdefault(kind, []).append(describe(obj))
    return found


def _plain(configmap: Object) -> Object:
    meta = configmap["metadata"]
    return {
        "metadata": {"name": meta["name"]},
        "data": configmap.get("data") or {},
        "labels": meta.get("labels") or {},
        "annotations": meta.get("annotations") or {},
    }


def _encoded(secret: Object) -> Object:
    """Describe a secret with every value in base64, its data being so already."""
    meta = secret["metadata"]

    def encode(values: Mapping[str, str]) -> dict[str, str]:
        return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}

    return {
        "metadata": encode({"name": meta["name"]}),
        "data": secret.get("data") or {},
        "labels": encode(meta.get("labels") or {}),
        "annotations": encode(meta.get("annotations") or {}),
    }
