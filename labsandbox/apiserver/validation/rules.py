"""Which checks belong to which kind: one row per kind, so that nothing is decided by an `if`.

A row follows the strategy of that kind in kube-apiserver: how names are checked, what a new object
must fulfil, and whether an update asks that again (`again`) before it compares with the old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labsandbox.apiserver.validation import (
    claims,
    cluster,
    configs,
    hooks,
    jobs,
    limits,
    network,
    rights,
    scaling,
    services,
    small,
    workloads,
)
from labsandbox.apiserver.validation.errors import FieldError
from labsandbox.apiserver.validation.meta import (
    NameCheck,
    label_1035_name,
    label_name,
    path_name,
    subdomain_name,
)

Json = dict[str, Any]
Check = Callable[[Json], list[FieldError]]
Comparison = Callable[[Json, Json], list[FieldError]]


@dataclass(frozen=True)
class Rule:
    """How a kind is validated.

    `again`: an update repeats "all" of the checks for a new object, only those of the "spec", or
    none. `update` compares new and old; `update_first`: it speaks before the repeated checks.
    """

    create: Check | None = None
    update: Comparison | None = None
    status: Comparison | None = None
    name: NameCheck = subdomain_name
    again: str = "spec"
    update_first: bool = False
    core: bool = True


def _status(check: Check) -> Comparison:
    return lambda new, old: check(new)


RULES: dict[tuple[str, str], Rule] = {
    ("", "ConfigMap"): Rule(
        configs.config_map, configs.config_map_update, again="all", update_first=True
    ),
    ("", "Secret"): Rule(configs.secret, configs.secret_update, again="all", update_first=True),
    ("", "ServiceAccount"): Rule(again="all"),
    ("", "Service"): Rule(
        services.service,
        services.service_update,
        _status(services.service_status),
        label_1035_name,
        "all",
        True,
    ),
    ("", "Endpoints"): Rule(services.endpoints, again="all"),
    ("", "Namespace"): Rule(cluster.namespace, None, cluster.namespace_status, label_name, "all"),
    ("", "Node"): Rule(cluster.node, cluster.node_update, cluster.node_status),
    ("", "PersistentVolumeClaim"): Rule(claims.claim, claims.claim_update, again="all"),
    ("", "PersistentVolume"): Rule(claims.volume, claims.volume_update, again="all"),
    ("", "ReplicationController"): Rule(
        workloads.replication_controller, None, _status(workloads.replicas_status)
    ),
    ("", "ResourceQuota"): Rule(limits.quota, limits.quota_update),
    ("", "LimitRange"): Rule(limits.limit_range, again="all"),
    ("", "PodTemplate"): Rule(small.pod_template, again="all"),
    ("node.k8s.io", "RuntimeClass"): Rule(small.runtime_class, small.frozen_handler),
    ("certificates.k8s.io", "CertificateSigningRequest"): Rule(small.signing_request),
    ("storage.k8s.io", "CSINode"): Rule(small.csi_node, again="all"),
    ("storage.k8s.io", "VolumeAttachment"): Rule(small.attachment),
    ("apps", "Deployment"): Rule(
        workloads.deployment, workloads.same_selector, _status(workloads.replicas_status)
    ),
    ("apps", "ReplicaSet"): Rule(
        workloads.replica_set, workloads.same_selector, _status(workloads.replicas_status)
    ),
    ("apps", "StatefulSet"): Rule(
        workloads.stateful_set,
        workloads.stateful_set_update,
        _status(workloads.replicas_status),
        label_name,
    ),
    ("apps", "DaemonSet"): Rule(workloads.daemon_set, workloads.same_selector),
    ("apps", "ControllerRevision"): Rule(cluster.revision, cluster.revision_update),
    ("batch", "Job"): Rule(jobs.job, jobs.job_update, jobs.job_status, again="none"),
    ("batch", "CronJob"): Rule(jobs.cron_job),
    ("rbac.authorization.k8s.io", "Role"): Rule(rights.role, name=path_name, again="all"),
    ("rbac.authorization.k8s.io", "ClusterRole"): Rule(
        rights.cluster_role, name=path_name, again="all"
    ),
    ("rbac.authorization.k8s.io", "RoleBinding"): Rule(
        rights.role_binding, rights.binding_update, name=path_name, again="all"
    ),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): Rule(
        rights.cluster_role_binding, rights.binding_update, name=path_name, again="all"
    ),
    ("storage.k8s.io", "StorageClass"): Rule(
        claims.storage_class, claims.storage_class_update, again="all"
    ),
    ("networking.k8s.io", "Ingress"): Rule(network.ingress),
    ("networking.k8s.io", "IngressClass"): Rule(
        network.ingress_class, network.ingress_class_update
    ),
    ("networking.k8s.io", "NetworkPolicy"): Rule(network.network_policy),
    ("discovery.k8s.io", "EndpointSlice"): Rule(
        network.endpoint_slice, network.endpoint_slice_update, again="all"
    ),
    ("coordination.k8s.io", "Lease"): Rule(cluster.lease),
    ("scheduling.k8s.io", "PriorityClass"): Rule(
        cluster.priority_class, cluster.priority_class_update, again="none"
    ),
    ("policy", "PodDisruptionBudget"): Rule(scaling.disruption_budget),
    ("autoscaling", "HorizontalPodAutoscaler"): Rule(scaling.autoscaler),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): Rule(
        hooks.validating_configuration, again="all"
    ),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): Rule(
        hooks.mutating_configuration, again="all"
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): Rule(
        hooks.admission_policy, again="all"
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): Rule(
        hooks.policy_binding, again="all"
    ),
}
