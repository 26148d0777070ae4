"""The StatefulSets and services a kdcluster is turned into."""

from __future__ import annotations

from labsandbox import quantity
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import naming, volume
from labsandbox.kubedirector.model import (
    ANNOTATION_PRETTY_NAME,
    ANNOTATION_TOKEN,
    APP_CONTAINER,
    LABEL_APP,
    LABEL_CATALOG,
    LABEL_CLUSTER,
    LABEL_HEADLESS,
    LABEL_POD_NAME,
    LABEL_ROLE,
    GlobalConfig,
    Object,
    owner_reference,
)

_HEADLESS_PORT = 8888
_GPU_PREFIX = "nvidia.com/"


def make_labels(cluster: Object, role: str | None = None) -> dict[str, str]:
    """Return the labels of an object of the cluster, or of one of its roles."""
    found = {
        LABEL_CLUSTER: cluster["metadata"]["name"],
        LABEL_APP: cluster["spec"]["app"],
        LABEL_CATALOG: cluster["spec"].get("appCatalog") or "local",
    }
    return found if role is None else found | {LABEL_ROLE: role}


def make_annotations(app: Object) -> dict[str, str]:
    """Return the annotations of every object made for a cluster of this app."""
    return {ANNOTATION_PRETTY_NAME: app["spec"]["label"]["name"]}


def headless_service(cluster: Object, app: Object, name: str) -> Object:
    """Return the service that gives the members their DNS names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(cluster, name, make_labels(cluster), make_annotations(app)),
        "spec": {
            "clusterIP": "None",
            "selector": {LABEL_HEADLESS: cluster["metadata"]["name"]},
            "publishNotReadyAddresses": True,
            "ports": [{"name": "port", "port": _HEADLESS_PORT, "protocol": "TCP"}],
        },
    }


def member_service(
    cluster: Object, app: Object, role: Object, pod: str, settings: GlobalConfig, token: str | None
) -> Object | None:
    """Return the service of one member, or None when its role has no ports."""
    ports = apps.ports(app, role["id"])
    if not ports:
        return None
    spec = cluster["spec"]
    notes = (
        make_annotations(app)
        | (role.get("serviceAnnotations") or {})
        | settings.service_annotations
        | ({ANNOTATION_TOKEN: token} if token else {})
    )
    marks = (
        make_labels(cluster, role["id"])
        | (role.get("serviceLabels") or {})
        | settings.service_labels
    )
    name = naming.member_service(pod, spec.get("namingScheme") or settings.naming_scheme)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(cluster, name, marks, notes),
        "spec": {
            "selector": {LABEL_POD_NAME: pod},
            "type": service_type(cluster, settings),
            "publishNotReadyAddresses": True,
            "ports": [
                {"name": p.service_port_name, "port": p.number, "protocol": "TCP"} for p in ports
            ],
        },
    }


def service_type(cluster: Object, settings: GlobalConfig) -> str:
    """Return the type of the cluster's member services."""
    return str(cluster["spec"].get("serviceType") or settings.service_type)


def stateful_set(
    cluster: Object, app: Object, role: Object, name: str, headless: str, settings: GlobalConfig
) -> Object:
    """Return the StatefulSet of a role, with no replicas yet."""
    role_id = role["id"]
    marks = make_labels(cluster, role_id) | {LABEL_HEADLESS: cluster["metadata"]["name"]}
    pod_labels = marks | (role.get("podLabels") or {}) | settings.pod_labels
    notes = make_annotations(app)
    pod_notes = notes | (role.get("podAnnotations") or {}) | settings.pod_annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _meta(cluster, name, marks, notes),
        "spec": {
            "podManagementPolicy": "Parallel",
            "replicas": 0,
            "serviceName": headless,
            "selector": {"matchLabels": pod_labels},
            "template": {
                "metadata": {"labels": pod_labels, "annotations": pod_notes},
                "spec": _pod_spec(cluster, app, role, headless, settings),
            },
            "volumeClaimTemplates": volume.claim_templates(role, pod_labels),
        },
    }


def _pod_spec(
    cluster: Object, app: Object, role: Object, headless: str, settings: GlobalConfig
) -> Object:
    role_id = role["id"]
    app_role = apps.role(app, role_id) or {}
    image = app_role.get("imageRepoTag") or app["spec"].get("defaultImageRepoTag")
    mounts = volume.make(app, role, settings)
    container = {
        "name": APP_CONTAINER,
        "image": image,
        "resources": role.get("resources") or {},
        "ports": [{"containerPort": p.number, "name": p.id} for p in apps.ports(app, role_id)],
        "volumeMounts": mounts.mounts,
        "volumeDevices": volume.devices(role),
        "env": _environment(role),
        **_terminal(app_role),
        **_security(app),
    }
    domain = naming.domain(headless, cluster["metadata"]["namespace"], settings.domain)
    spec: Object = {
        "automountServiceAccountToken": bool(role.get("serviceAccountName")),
        "containers": [container],
        "volumes": mounts.volumes,
        # differs: members find each other by short name through the pod's DNS settings; the
        # original rewrites /etc/resolv.conf in a postStart hook.
        "dnsConfig": {"searches": [domain]},
    }
    if role.get("serviceAccountName"):
        spec["serviceAccountName"] = role["serviceAccountName"]
    if role.get("affinity"):
        spec["affinity"] = role["affinity"]
    if role.get("storage"):
        spec["initContainers"] = [volume.init_container(app, role, str(image))]
    return spec


def _environment(role: Object) -> list[Object]:
    given = list(role.get("env") or [])
    requests = (role.get("resources") or {}).get("requests") or {}
    wants_gpu = any(
        name.startswith(_GPU_PREFIX) and quantity.amount(amount) > 0
        for name, amount in requests.items()
    )
    return given if wants_gpu else [*given, {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]


def _terminal(app_role: Object) -> Object:
    wanted = app_role.get("containerSpec") or {}
    return {key: True for key in ("stdin", "tty") if wanted.get(key)}


def _security(app: Object) -> Object:
    capabilities = app["spec"].get("capabilities") or []
    return {"securityContext": {"capabilities": {"add": capabilities}}} if capabilities else {}


def _meta(
    cluster: Object, name: str, marks: dict[str, str], notes: dict[str, str]
) -> dict[str, object]:
    return {
        "name": name,
        "namespace": cluster["metadata"]["namespace"],
        "labels": marks,
        "annotations": notes,
        "ownerReferences": [owner_reference(cluster)],
    }
