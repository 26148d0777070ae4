"""Which checks belong to which kind: one row per kind, so that nothing is decided by an `if`.

A row follows the strategy of that kind in kube-apiserver: how names are checked, what a new object
must fulfil, and whether an update asks that again (`again`) before it compares with the old.
"""

from __future__ import annotations

from labsandbox.apiserver.validation import (
    claims,
    cluster,
    configs,
    counters,
    hooks,
    jobs,
    limits,
    network,
    nodes,
    rare,
    rights,
    scaling,
    services,
    small,
    workloads,
)
from labsandbox.apiserver.validation.meta import (
    label_1035_name,
    label_name,
    path_name,
)
from labsandbox.apiserver.validation.rule import (
    COMPARED,
    MERGED,
    REPEATED,
    REPEATED_COMPARED,
    THEN_COMPARED,
    THEN_META,
    TWICE,
    TWICE_COMPARED,
    Check,
    Comparison,
    Rule,
)


def _status(check: Check) -> Comparison:
    return lambda new, old: check(new)


_RBAC = "rbac.authorization.k8s.io"
_HOOKS = "admissionregistration.k8s.io"
RULES: dict[tuple[str, str], Rule] = {
    ("", "ConfigMap"): Rule(configs.config_map, configs.config_map_update, order=MERGED),
    ("", "Secret"): Rule(configs.secret, configs.secret_update, order=MERGED),
    ("", "ServiceAccount"): Rule(order=("meta", "create")),
    ("", "Service"): Rule(
        services.service,
        services.service_update,
        _status(services.service_status),
        label_1035_name,
        MERGED,
    ),
    ("", "Endpoints"): Rule(services.endpoints, order=("meta", "create")),
    ("", "Namespace"): Rule(
        cluster.namespace, None, cluster.namespace_status, label_name, THEN_META
    ),
    ("", "Node"): Rule(nodes.node, nodes.node_update, nodes.node_update, order=THEN_COMPARED),
    ("", "PersistentVolumeClaim"): Rule(
        claims.claim,
        claims.claim_update,
        claims.claim_status,
        order=("create", "meta", "create", "compare"),
    ),
    ("", "PersistentVolume"): Rule(
        claims.volume, claims.volume_update, order=("create", "create", "compare")
    ),
    ("", "ReplicationController"): Rule(
        workloads.replication_controller,
        None,
        _status(counters.replicas_status),
        order=REPEATED,
    ),
    ("", "ResourceQuota"): Rule(
        limits.quota, limits.quota_update, _status(limits.quota_status), order=COMPARED
    ),
    ("", "LimitRange"): Rule(limits.limit_range, order=("create",)),
    ("", "PodTemplate"): Rule(small.pod_template),
    ("certificates.k8s.io", "CertificateSigningRequest"): Rule(
        small.signing_request, order=THEN_META
    ),
    ("apps", "Deployment"): Rule(
        workloads.deployment,
        workloads.same_selector,
        counters.deployment_status,
        order=COMPARED,
    ),
    ("apps", "ReplicaSet"): Rule(
        workloads.replica_set,
        workloads.same_selector,
        _status(counters.replicas_status),
        order=REPEATED_COMPARED,
    ),
    ("apps", "StatefulSet"): Rule(
        workloads.stateful_set,
        workloads.stateful_set_update,
        counters.stateful_set_status,
        label_name,
        COMPARED,
    ),
    ("apps", "DaemonSet"): Rule(
        workloads.daemon_set,
        workloads.same_selector,
        counters.daemon_set_status,
        order=REPEATED_COMPARED,
    ),
    ("apps", "ControllerRevision"): Rule(
        cluster.revision, cluster.revision_update, order=("meta", "create", "compare")
    ),
    ("batch", "Job"): Rule(jobs.job, jobs.job_update, jobs.job_status, order=THEN_COMPARED),
    ("batch", "CronJob"): Rule(jobs.cron_job, status_meta=False),
    (_RBAC, "Role"): Rule(rights.role, name=path_name, order=TWICE),
    (_RBAC, "ClusterRole"): Rule(rights.cluster_role, name=path_name, order=TWICE),
    (_RBAC, "RoleBinding"): Rule(
        rights.role_binding, rights.binding_update, name=path_name, order=TWICE_COMPARED
    ),
    (_RBAC, "ClusterRoleBinding"): Rule(
        rights.cluster_role_binding, rights.binding_update, name=path_name, order=TWICE_COMPARED
    ),
    ("storage.k8s.io", "StorageClass"): Rule(
        claims.storage_class, claims.storage_class_update, order=THEN_COMPARED
    ),
    ("networking.k8s.io", "Ingress"): Rule(
        network.ingress, None, _status(network.ingress_status), order=("meta", "create")
    ),
    ("networking.k8s.io", "NetworkPolicy"): Rule(network.network_policy, order=REPEATED),
    ("discovery.k8s.io", "EndpointSlice"): Rule(
        network.endpoint_slice, network.endpoint_slice_update, order=("create", "compare")
    ),
    ("coordination.k8s.io", "Lease"): Rule(cluster.lease),
    ("scheduling.k8s.io", "PriorityClass"): Rule(
        cluster.priority_class, cluster.priority_class_update, order=("meta", "compare")
    ),
    ("policy", "PodDisruptionBudget"): Rule(
        scaling.disruption_budget,
        None,
        _status(scaling.disruption_status),
        order=("spec",),
        meta=False,
        status_meta=False,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): Rule(
        scaling.autoscaler, None, _status(scaling.autoscaler_status)
    ),
    (_HOOKS, "ValidatingWebhookConfiguration"): Rule(
        hooks.validating_configuration, order=("create",)
    ),
    (_HOOKS, "MutatingWebhookConfiguration"): Rule(hooks.mutating_configuration, order=("create",)),
    (_HOOKS, "ValidatingAdmissionPolicy"): Rule(hooks.admission_policy, order=("create",)),
    **rare.RULES,
}
