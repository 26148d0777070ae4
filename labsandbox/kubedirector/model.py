"""The words of the KubeDirector API that several modules share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

GROUP = "kubedirector.hpe.com"
API_VERSION = f"{GROUP}/v1beta1"

LABEL_CLUSTER = f"{GROUP}/kdcluster"
LABEL_APP = f"{GROUP}/kdapp"
LABEL_CATALOG = f"{GROUP}/appCatalog"
LABEL_ROLE = f"{GROUP}/role"
LABEL_HEADLESS = f"{GROUP}/headless"
LABEL_CONFIGMAP_TYPE = f"{GROUP}/cmType"
LABEL_SECRET_TYPE = f"{GROUP}/secretType"
LABEL_RESTORING = f"{GROUP}/restoring"
LABEL_ALLOW_DELETE = f"{GROUP}/allow-delete-while-restoring"
LABEL_POD_NAME = "statefulset.kubernetes.io/pod-name"

ANNOTATION_PRETTY_NAME = f"{GROUP}/kdapp-prettyName"
ANNOTATION_TOKEN = f"{GROUP}/kd-auth-token"
ANNOTATION_CONNECTIONS = f"{GROUP}/connUpdateCounter"
ANNOTATION_HASH = f"{GROUP}/hashChangeCounter"
ANNOTATION_BACKUP = f"{GROUP}/status-backup-exists"

FINALIZER = f"{GROUP}/cleanup"

# Cluster states.
CREATING, UPDATING, CONFIGURED, SPEC_MODIFIED = (
    "creating",
    "updating",
    "configured",
    "spec modified",
)

# Member states; "creating" and "configured" are spelled as for clusters.
CREATE_PENDING, CONFIG_ERROR = "create pending", "config error"
DELETE_PENDING, DELETING = "delete pending", "deleting"

# Container states.
RUNNING, WAITING, INITIALIZING = "running", "waiting", "initializing"
UNRESPONSIVE, TERMINATED, ABSENT, UNKNOWN = "unresponsive", "terminated", "absent", "unknown"

NO_SERVICE = "n/a"
APP_CONTAINER = "app"
GLOBAL_CONFIG = "kd-global-config"
MAX_MEMBERS = 1000
DEFAULT_LOG_SIZE = 256


@dataclass(frozen=True, slots=True)
class GlobalConfig:
    """What kd-global-config says, with the defaults filled in."""

    storage_class: str = ""
    service_type: str = "LoadBalancer"
    native_systemd: bool = False
    secret_prefix: str = ""
    domain: str = ".svc.cluster.local"
    naming_scheme: str = "UID"
    master_key: str = ""
    pod_labels: dict[str, str] = field(default_factory=dict)
    pod_annotations: dict[str, str] = field(default_factory=dict)
    service_labels: dict[str, str] = field(default_factory=dict)
    service_annotations: dict[str, str] = field(default_factory=dict)
    backup_status: bool = False
    restore_without_connections: bool = False
    force_shared_memory: bool | None = None


def read_settings(config: Object | None) -> GlobalConfig:
    """Return the settings a KubeDirectorConfig object stands for."""
    spec = (config or {}).get("spec") or {}
    default = GlobalConfig()
    return GlobalConfig(
        storage_class=spec.get("defaultStorageClassName") or "",
        service_type=spec.get("defaultServiceType") or default.service_type,
        native_systemd=bool(spec.get("nativeSystemdSupport")),
        secret_prefix=spec.get("requiredSecretPrefix") or "",
        domain=spec.get("clusterSvcDomainBase") or default.domain,
        naming_scheme=spec.get("defaultNamingScheme") or default.naming_scheme,
        master_key=spec.get("masterEncryptionKey") or "",
        pod_labels=spec.get("podLabels") or {},
        pod_annotations=spec.get("podAnnotations") or {},
        service_labels=spec.get("serviceLabels") or {},
        service_annotations=spec.get("serviceAnnotations") or {},
        backup_status=bool(spec.get("backupClusterStatus")),
        restore_without_connections=bool(spec.get("allowRestoreWithoutConnections")),
        force_shared_memory=spec.get("forceSharedMemorySizeSupport"),
    )


def labels_of(obj: Object) -> dict[str, str]:
    """Return the labels of an object; empty when it has none."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """Return the annotations of an object; empty when it has none."""
    return obj["metadata"].get("annotations") or {}


def roles_of(cluster: Object) -> list[Object]:
    """Return the roles a kdcluster asks for."""
    return list(cluster.get("spec", {}).get("roles") or [])


def connections_of(cluster: Object, kind: str) -> list[str]:
    """Return the connected names of one kind: clusters, configmaps or secrets."""
    return list((cluster["spec"].get("connections") or {}).get(kind) or [])


def owner_reference(cluster: Object) -> Object:
    """Return the reference that makes a kdcluster the owner of an object."""
    return {
        "apiVersion": API_VERSION,
        "kind": "KubeDirectorCluster",
        "name": cluster["metadata"]["name"],
        "uid": cluster["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def is_owned(obj: Object, cluster: Object) -> bool:
    """Say whether the kdcluster is the controlling owner of the object."""
    uid = cluster["metadata"]["uid"]
    references = obj["metadata"].get("ownerReferences") or []
    return any(r.get("uid") == uid and r.get("controller") for r in references)


def counter(annotations: dict[str, str], key: str) -> int:
    """Return a counter kept in an annotation; 0 when absent or damaged."""
    try:
        return int(annotations.get(key, "0"))
    except ValueError:
        return 0
