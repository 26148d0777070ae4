"""Fills in what the server fills in. The published OpenAPI carries no defaults, so they are here.

`PLAIN` is data: definition -> {field: value}. What depends on other fields is a function in
`defaults_rules`. Both run for every struct of an object, the outer before the inner.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.defaults_rules import RULES
from labsandbox.apiserver.schema.node import Node

API = "io.k8s.api."
RBAC_GROUP = "rbac.authorization.k8s.io"
AGGREGATOR = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1."
APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
ISCSI = {"iscsiInterface": "default"}
RBD = {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}
SCALE_IO = {"storageMode": "ThinProvisioned", "fsType": "xfs"}
WEBHOOK = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}
MATCH = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
MODE = {"defaultMode": 0o644}

PLAIN: dict[str, dict[str, Any]] = {
    API + "admissionregistration.v1.MatchResources": MATCH,
    API + "admissionregistration.v1.MutatingWebhook": {**WEBHOOK, "reinvocationPolicy": "Never"},
    API + "admissionregistration.v1.NamedRuleWithOperations": {"scope": "*"},
    API + "admissionregistration.v1.RuleWithOperations": {"scope": "*"},
    API + "admissionregistration.v1.ServiceReference": {"port": 443},
    API + "admissionregistration.v1.ValidatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    API + "admissionregistration.v1.ValidatingWebhook": WEBHOOK,
    API + "apps.v1.DaemonSetSpec": {"revisionHistoryLimit": 10},
    API + "apps.v1.DeploymentSpec": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    },
    API + "apps.v1.ReplicaSetSpec": {"replicas": 1},
    API + "apps.v1.StatefulSetSpec": {
        "podManagementPolicy": "OrderedReady",
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "persistentVolumeClaimRetentionPolicy": {},
    },
    API + "apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy": {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    },
    API + "authentication.v1.TokenRequestSpec": {"expirationSeconds": 3600},
    API + "autoscaling.v1.HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    API + "batch.v1.CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    API + "batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    API + "core.v1.AzureDiskVolumeSource": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "kind": "Shared",
        "readOnly": False,
    },
    API + "core.v1.ConfigMapVolumeSource": MODE,
    API + "core.v1.Container": CONTAINER,
    API + "core.v1.ContainerPort": {"protocol": "TCP"},
    API + "core.v1.DownwardAPIVolumeSource": MODE,
    API + "core.v1.EndpointPort": {"protocol": "TCP"},
    API + "core.v1.EphemeralContainer": CONTAINER,
    API + "core.v1.GRPCAction": {"service": ""},
    API + "core.v1.HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    API + "core.v1.HostPathVolumeSource": {"type": ""},
    API + "core.v1.ISCSIPersistentVolumeSource": ISCSI,
    API + "core.v1.ISCSIVolumeSource": ISCSI,
    API + "core.v1.NamespaceStatus": {"phase": "Active"},
    API + "core.v1.ObjectFieldSelector": {"apiVersion": "v1"},
    API + "core.v1.PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    API + "core.v1.PersistentVolumeClaimStatus": {"phase": "Pending"},
    API + "core.v1.PersistentVolumeSpec": {
        "persistentVolumeReclaimPolicy": "Retain",
        "volumeMode": "Filesystem",
    },
    API + "core.v1.PersistentVolumeStatus": {"phase": "Pending"},
    API + "core.v1.PodSpec": {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    },
    API + "core.v1.PodStatus": {"phase": "Pending"},
    API + "core.v1.Probe": {
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    },
    API + "core.v1.ProjectedVolumeSource": MODE,
    API + "core.v1.RBDPersistentVolumeSource": RBD,
    API + "core.v1.RBDVolumeSource": RBD,
    API + "core.v1.ReplicationControllerSpec": {"replicas": 1},
    API + "core.v1.ScaleIOPersistentVolumeSource": SCALE_IO,
    API + "core.v1.ScaleIOVolumeSource": SCALE_IO,
    API + "core.v1.Secret": {"type": "Opaque"},
    API + "core.v1.SecretVolumeSource": MODE,
    API + "core.v1.ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    API + "core.v1.ServicePort": {"protocol": "TCP"},
    API + "core.v1.ServiceSpec": {"sessionAffinity": "None", "type": "ClusterIP"},
    API + "discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
    API + "networking.v1.IngressClassParametersReference": {"scope": "Cluster"},
    API + "networking.v1.NetworkPolicyPort": {"protocol": "TCP"},
    API + "rbac.v1.RoleRef": {"apiGroup": RBAC_GROUP},
    API + "scheduling.v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    API + "storage.v1.CSIDriverSpec": {
        "attachRequired": True,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "podInfoOnMount": False,
        "requiresRepublish": False,
        "seLinuxMount": False,
        "storageCapacity": False,
        "volumeLifecycleModes": ["Persistent"],
    },
    API + "storage.v1.StorageClass": {
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    },
    AGGREGATOR + "ServiceReference": {"port": 443},
    APIEXTENSIONS + "CustomResourceDefinitionSpec": {"conversion": {"strategy": "None"}},
    APIEXTENSIONS + "ServiceReference": {"port": 443},
}


def apply_defaults(obj: dict[str, Any], node: Node) -> None:
    """Fill in the defaults of `obj` and of everything in it, in place."""
    plain = PLAIN.get(node.definition)
    fields = node.fields
    if plain is not None:
        for name, value in plain.items():
            missing = obj.get(name) is None if fields[name].pointer else not obj.get(name)
            if missing:
                obj[name] = copy.deepcopy(value) if isinstance(value, dict | list) else value
    rule = RULES.get(node.definition)
    if rule is not None:
        rule(obj)
    for name in _interesting(node):
        value = obj.get(name)
        if value or (value is not None and fields[name].node.kind == types.STRUCT):
            _below(value, fields[name].node)


def _below(value: Any, node: Node) -> None:
    if node.kind == types.STRUCT:
        apply_defaults(value, node)
    elif node.element is not None:
        for item in value if isinstance(value, list) else value.values():
            _below(item, node.element)


@cache
def _interesting(node: Node) -> tuple[str, ...]:
    """The fields below which something may have to be filled in."""
    return tuple(name for name, field in node.fields.items() if _reaches(field.node, ()))


def _reaches(node: Node, above: tuple[str, ...]) -> bool:
    if node.kind in (types.LIST, types.MAP):
        return node.element is not None and _reaches(node.element, above)
    if node.kind != types.STRUCT or node.definition in above:
        return False
    if node.definition in PLAIN or node.definition in RULES:
        return True
    if node.definition.endswith((".JSONSchemaProps", ".ObjectMeta")):
        return False
    below = (*above, node.definition)
    return any(_reaches(field.node, below) for field in node.fields.values())
