"""The short hash of a pod template that names ReplicaSets and labels their pods.

The original hashes a dump of Go's structures, with the name and type of every field. For templates
made of the structures below the hash is the same, so a ReplicaSet has the name it has on a real
cluster (recorded: 5768c7f9cb, 7ff748f94c).
"""

from __future__ import annotations

from typing import Any

from labsandbox.controllers import objects

Object = dict[str, Any]

_TEMPLATE = "v1.PodTemplateSpec"
# Go's fields in their order: name, type.
_STRUCTURES = {
    _TEMPLATE: "ObjectMeta v1.ObjectMeta, Spec v1.PodSpec",
    "v1.ObjectMeta": (
        "Name string, GenerateName string, Namespace string, SelfLink string, UID types.UID, "
        "ResourceVersion string, Generation int64, CreationTimestamp v1.Time, "
        "DeletionTimestamp *v1.Time, DeletionGracePeriodSeconds *int64, Labels map[string]string, "
        "Annotations map[string]string, OwnerReferences []v1.OwnerReference, Finalizers []string, "
        "ManagedFields []v1.ManagedFieldsEntry"
    ),
    "v1.PodSpec": (
        "Volumes []v1.Volume, InitContainers []v1.Container, Containers []v1.Container, "
        "EphemeralContainers []v1.EphemeralContainer, RestartPolicy v1.RestartPolicy, "
        "TerminationGracePeriodSeconds *int64, ActiveDeadlineSeconds *int64, "
        "DNSPolicy v1.DNSPolicy, NodeSelector map[string]string, ServiceAccountName string, "
        "DeprecatedServiceAccount string, AutomountServiceAccountToken *bool, NodeName string, "
        "HostNetwork bool, HostPID bool, HostIPC bool, ShareProcessNamespace *bool, "
        "SecurityContext *v1.PodSecurityContext, ImagePullSecrets []v1.LocalObjectReference, "
        "Hostname string, Subdomain string, Affinity *v1.Affinity, SchedulerName string, "
        "Tolerations []v1.Toleration, HostAliases []v1.HostAlias, PriorityClassName string, "
        "Priority *int32, DNSConfig *v1.PodDNSConfig, ReadinessGates []v1.PodReadinessGate, "
        "RuntimeClassName *string, EnableServiceLinks *bool, "
        "PreemptionPolicy *v1.PreemptionPolicy, Overhead v1.ResourceList, "
        "TopologySpreadConstraints []v1.TopologySpreadConstraint, SetHostnameAsFQDN *bool, "
        "OS *v1.PodOS, HostUsers *bool, SchedulingGates []v1.PodSchedulingGate, "
        "ResourceClaims []v1.PodResourceClaim, Resources *v1.ResourceRequirements"
    ),
    "v1.Container": (
        "Name string, Image string, Command []string, Args []string, WorkingDir string, "
        "Ports []v1.ContainerPort, EnvFrom []v1.EnvFromSource, Env []v1.EnvVar, "
        "Resources v1.ResourceRequirements, ResizePolicy []v1.ContainerResizePolicy, "
        "RestartPolicy *v1.ContainerRestartPolicy, VolumeMounts []v1.VolumeMount, "
        "VolumeDevices []v1.VolumeDevice, LivenessProbe *v1.Probe, ReadinessProbe *v1.Probe, "
        "StartupProbe *v1.Probe, Lifecycle *v1.Lifecycle, TerminationMessagePath string, "
        "TerminationMessagePolicy v1.TerminationMessagePolicy, ImagePullPolicy v1.PullPolicy, "
        "SecurityContext *v1.SecurityContext, Stdin bool, StdinOnce bool, TTY bool"
    ),
    "v1.ContainerPort": (
        "Name string, HostPort int32, ContainerPort int32, Protocol v1.Protocol, HostIP string"
    ),
    "v1.EnvVar": "Name string, Value string, ValueFrom *v1.EnvVarSource",
    "v1.VolumeMount": (
        "Name string, ReadOnly bool, RecursiveReadOnly *v1.RecursiveReadOnlyMode, "
        "MountPath string, SubPath string, MountPropagation *v1.MountPropagationMode, "
        "SubPathExpr string"
    ),
    "v1.ResourceRequirements": (
        "Limits v1.ResourceList, Requests v1.ResourceList, Claims []v1.ResourceClaim"
    ),
    "v1.PodSecurityContext": (
        "SELinuxOptions *v1.SELinuxOptions, WindowsOptions *v1.WindowsSecurityContextOptions, "
        "RunAsUser *int64, RunAsGroup *int64, RunAsNonRoot *bool, SupplementalGroups []int64, "
        "SupplementalGroupsPolicy *v1.SupplementalGroupsPolicy, FSGroup *int64, "
        "Sysctls []v1.Sysctl, FSGroupChangePolicy *v1.PodFSGroupChangePolicy, "
        "SeccompProfile *v1.SeccompProfile, AppArmorProfile *v1.AppArmorProfile, "
        "SELinuxChangePolicy *v1.PodSELinuxChangePolicy"
    ),
}
_TEXTS = {
    "string", "types.UID", "v1.RestartPolicy", "v1.DNSPolicy", "v1.PreemptionPolicy", "v1.Protocol",
    "v1.TerminationMessagePolicy", "v1.PullPolicy", "v1.ContainerRestartPolicy",
    "v1.RecursiveReadOnlyMode", "v1.MountPropagationMode", "v1.SupplementalGroupsPolicy",
    "v1.PodFSGroupChangePolicy", "v1.PodSELinuxChangePolicy",
}  # fmt: skip
_JSON_NAMES = {"ObjectMeta": "metadata", "DeprecatedServiceAccount": "serviceAccount"}
_NO_TIME = "{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}"


class _Unknown(Exception):
    """A template has a structure that is not in the tables."""


def of(template: Object, collisions: int | None) -> str:
    """Return the hash of a template; another one for each collision there has been."""
    try:
        data = _dump(_TEMPLATE, template).encode()
    except _Unknown:
        # differs: a template with resources, volumes, probes or security settings has another hash
        # than on a real cluster, so its ReplicaSet has another name.
        data = objects.canonical(template)
    if collisions is not None:
        data += collisions.to_bytes(8, "little")
    return objects.encode(objects.fnv1a(data))


def _dump(kind: str, value: Any, has_type: bool = True) -> str:
    head = f"({kind})" if has_type else ""
    if kind.startswith("*"):
        return f"{head}<nil>" if value is None else head + _dump(kind[1:], value, False)
    if kind.startswith("[]"):
        parts = [_dump(kind[2:], inner, False) for inner in value or []]
        return f"{head}[{' '.join(parts)}]" if value is not None else f"{head}<nil>"
    if kind.startswith("map["):
        parts = [f"{key}:{value[key]}" for key in sorted(value or {})]
        return f"{head}map[{' '.join(parts)}]" if value is not None else f"{head}<nil>"
    if kind == "v1.Time" and value is None:
        return head + _NO_TIME
    if kind == "v1.ResourceList" and value is None:
        return f"{head}<nil>"
    if kind == "bool":
        return head + ("true" if value else "false")
    if kind in ("int32", "int64"):
        return f"{head}{value or 0}"
    if kind in _TEXTS:
        return f"{head}{value or ''}"
    return head + _dump_structure(kind, value or {})


def _dump_structure(kind: str, value: Object) -> str:
    if kind not in _STRUCTURES:
        raise _Unknown(kind)
    left = set(value)
    parts = []
    for field in _STRUCTURES[kind].split(", "):
        name, _, type_ = field.partition(" ")
        key = _JSON_NAMES.get(name) or _json_name(name)
        left.discard(key)
        parts.append(f"{name}:{_dump(type_, value.get(key))}")
    if left:
        raise _Unknown(f"{kind}: {left}")
    return "{" + " ".join(parts) + "}"


def _json_name(name: str) -> str:
    for start in ("TTY", "OS", "UID", "DNS", "SELinux"):
        if name.startswith(start):
            lowered = "seLinux" if start == "SELinux" else start.lower()
            return lowered + name[len(start) :]
    return name[0].lower() + name[1:]
