"""Warnings about pods, pod templates and the claims in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labsandbox.quantity import NANO, parse

Json = dict[str, Any]
LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": (
        "deprecated since v1.22; use Taints and Tolerations instead"
    ),
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
    "security.alpha.kubernetes.io/unsafe-sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
}
VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
SHOWN = {"storageos": "storageOS"}
SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
UNUSED = 'non-functional in v1.27+; use the "seccompProfile" field instead'
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
GROUPS = (
    ("initContainers", "initContainers"),
    ("containers", "containers"),
    ("ephemeralContainers", "ephemeralContainers"),
)
BYTES = ("memory", "ephemeral-storage")


def label_message(key: str) -> str:
    """Why a node label should not be used; "" for all others."""
    return LABELS.get(key, "")


def _fraction(text: str | None, field: str) -> Iterator[str]:
    if text is None:
        return
    amount = parse(text)
    if amount.nano % NANO:
        yield f'{field}: fractional byte value "{amount}" is invalid, must be an integer'


def claim_warnings(spec: Json, field: str) -> Iterator[str]:
    """Storage in fractions of a byte."""
    resources = spec.get("resources") or {}
    for group in ("requests", "limits"):
        amount = (resources.get(group) or {}).get("storage")
        yield from _fraction(amount, f"{field}.resources.{group}[storage]")


def pod_warnings(pod: Json, at: str) -> Iterator[str]:
    """`at` is the path of a template with its dot; "" for a pod itself."""
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    annotations: Json = metadata.get("annotations") or {}
    yield from _labels(spec, f"{at}spec")
    for key, message in ANNOTATIONS.items():
        if key in annotations:
            yield f"{at}metadata.annotations[{key}]: {message}"
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from _volume(volume, f"{at}spec.volumes[{index}]")
    yield from _doubles(spec, f"{at}spec")
    for name in BYTES:
        field = f"{at}spec.overhead[{name}]"
        yield from _fraction((spec.get("overhead") or {}).get(name), field)
    if SECCOMP in annotations and not (spec.get("securityContext") or {}).get("seccompProfile"):
        yield f"{at}metadata.annotations[{SECCOMP}]: {UNUSED}"
    for container, field in _containers(spec, f"{at}spec"):
        yield from _container(container, field, spec, annotations, at)
    yield from _ports(spec, f"{at}spec")
    yield from _priority(spec, f"{at}spec")


def _containers(spec: Json, at: str) -> Iterator[tuple[Json, str]]:
    for kind, shown in GROUPS:
        for index, container in enumerate(spec.get(kind) or ()):
            yield container, f"{at}.{shown}[{index}]"


def _labels(spec: Json, at: str) -> Iterator[str]:
    for key in spec.get("nodeSelector") or {}:
        if label_message(key):
            yield f"{at}.nodeSelector[{key}]: {label_message(key)}"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    hard, soft = (f"{kind}DuringSchedulingIgnoredDuringExecution" for kind in _STRENGTHS)
    terms = (affinity.get(hard) or {}).get("nodeSelectorTerms") or ()
    rows = [
        (term, f"{at}.affinity.nodeAffinity.{hard}.nodeSelectorTerms[{index}]")
        for index, term in enumerate(terms)
    ]
    rows += [
        (row.get("preference") or {}, f"{at}.affinity.nodeAffinity.{soft}[{index}].preference")
        for index, row in enumerate(affinity.get(soft) or ())
    ]
    for term, field in rows:
        for index, expression in enumerate(term.get("matchExpressions") or ()):
            key = expression.get("key", "")
            if label_message(key):
                yield f"{field}.matchExpressions[{index}].key: {key} is {label_message(key)}"
    for index, row in enumerate(spec.get("topologySpreadConstraints") or ()):
        key, field = row.get("topologyKey", ""), f"{at}.topologySpreadConstraints[{index}]"
        if label_message(key):
            yield f"{field}.topologyKey: {key} is {label_message(key)}"
        if row.get("labelSelector") is None:
            yield f"{field}.labelSelector: a null labelSelector results in matching no pod"


_STRENGTHS = ("required", "preferred")


def _volume(volume: Json, at: str) -> Iterator[str]:
    for kind, message in VOLUMES.items():
        if volume.get(kind) is not None:
            yield f"{at}.{SHOWN.get(kind, kind)}: {message}"
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template is not None:
        field = f"{at}.ephemeral.volumeClaimTemplate.spec"
        yield from claim_warnings(template.get("spec") or {}, field)


def _doubles(spec: Json, at: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, row in enumerate(spec.get("hostAliases") or ()):
        if row.get("ip", "") in seen:
            yield f'{at}.hostAliases[{index}].ip: duplicate ip "{row.get("ip", "")}"'
        seen.add(row.get("ip", ""))
    seen = set()
    secrets = spec.get("imagePullSecrets") or ()
    for index, row in enumerate(secrets):
        if row.get("name", "") in seen:
            yield f'{at}.imagePullSecrets[{index}].name: duplicate name "{row.get("name", "")}"'
        seen.add(row.get("name", ""))
    for index, row in enumerate(secrets):
        if not row.get("name"):
            yield f'{at}.imagePullSecrets[{index}].name: invalid empty name ""'


def _container(
    container: Json, field: str, spec: Json, annotations: Json, at: str
) -> Iterator[str]:
    name = container.get("name", "")
    security = container.get("securityContext") or {}
    key = SECCOMP_CONTAINER + name
    if key in annotations and not security.get("seccompProfile"):
        yield f"{at}metadata.annotations[{key}]: {UNUSED}"
    key = APPARMOR + name
    profiled = (spec.get("securityContext") or {}).get("appArmorProfile")
    if at and key in annotations and not profiled and not security.get("appArmorProfile"):
        yield (
            f"{at}metadata.annotations[{key}]: deprecated since v1.30; "
            'use the "appArmorProfile" field instead'
        )
    resources = container.get("resources") or {}
    for resource in BYTES:
        for group in ("limits", "requests"):
            amount = (resources.get(group) or {}).get(resource)
            yield from _fraction(amount, f"{field}.resources.{group}[{resource}]")
    seen: set[str] = set()
    for index, row in enumerate(container.get("env") or ()):
        variable = row.get("name", "")
        reference, value = f"$({variable})", row.get("value", "")
        hides = row.get("valueFrom") is not None or value == reference or reference not in value
        if variable in seen and hides:
            yield (
                f'{field}.env[{index}]: hides previous definition of "{variable}", '
                "which may be dropped when using apply"
            )
        seen.add(variable)


def _ports(spec: Json, at: str) -> Iterator[str]:
    seen: dict[tuple[int, str], list[tuple[str, Json]]] = {}
    for container, field in _containers(spec, at):
        for index, port in enumerate(container.get("ports") or ()):
            here = f"{field}.ports[{index}]"
            key = (port.get("containerPort", 0), port.get("protocol", ""))
            for there, other in seen.get(key, ()):
                ours, theirs = port.get("hostPort", 0), other.get("hostPort", 0)
                if ours == theirs and port.get("hostIP", "") == other.get("hostIP", ""):
                    yield f"{here}: duplicate port definition with {there}"
                elif ours == 0 or theirs == 0:
                    yield f"{here}: overlapping port definition with {there}"
                elif ours == theirs and "" in (port.get("hostIP", ""), other.get("hostIP", "")):
                    yield f"{here}: dangerously ambiguous port definition with {there}"
            seen.setdefault(key, []).append((here, port))


def _priority(spec: Json, at: str) -> Iterator[str]:
    seconds = spec.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds < 0:
        yield (
            f"{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and "
            "will be treated as 1"
        )
