"""What a write is warned of in a Warning header, though it succeeds.

Only rules of kinds that Kubernetes 1.32 warns about; `warnings_for` is called once an object is
valid, and before it is stored.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.podwarnings import claim_warnings, pod_warnings
from labsandbox.apiserver.validation.podwarnings import label_message as deprecated_label

Json = dict[str, Any]
DOTTED = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
    "behavior; a DNS label is recommended: [{}]"
)
MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
HINTS = "service.kubernetes.io/topology-aware-hints"
STORAGE = "volume.beta.kubernetes.io/storage-class"
RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
    "recommended approach is to use dynamic provisioning."
)
INDEXES = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
    "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)


def warnings_for(group_resource: str, new: Json, old: Json | None) -> list[str]:
    """The warnings of a create (`old` is None) or an update."""
    rule = _RULES.get(group_resource)
    return list(rule(new, old)) if rule is not None else []


def _spec(obj: Json | None) -> Json:
    found: Json = (obj or {}).get("spec") or {}
    return found


def _annotations(obj: Json) -> Json:
    found: Json = (obj.get("metadata") or {}).get("annotations") or {}
    return found


def _same_template(new: Json, old: Json | None) -> bool:
    """Templates are looked at only when the spec may have changed."""
    before = ((old or {}).get("metadata") or {}).get("generation")
    return old is not None and before == (new.get("metadata") or {}).get("generation")


def _dotted(new: Json, old: Json | None) -> Iterator[str]:
    if old is None:
        name = (new.get("metadata") or {}).get("name", "")
        problems = names.label(name)
        if problems:
            yield DOTTED.format(" ".join(problems))


def _template(new: Json, old: Json | None) -> Iterator[str]:
    if not _same_template(new, old):
        yield from pod_warnings(_spec(new).get("template") or {}, "spec.template.")


def _workload(new: Json, old: Json | None) -> Iterator[str]:
    yield from _dotted(new, old)
    yield from _template(new, old)


def _stateful_set(new: Json, old: Json | None) -> Iterator[str]:
    yield from _template(new, old)
    limit = _spec(new).get("revisionHistoryLimit")
    if limit is not None and limit < 0:
        yield (
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value "
            ">= 0 is recommended"
        )
    if not _same_template(new, old):
        for index, claim in enumerate(_spec(new).get("volumeClaimTemplates") or ()):
            path = f"spec.volumeClaimTemplates[{index}]"
            yield from claim_warnings(claim.get("spec") or {}, path)


def _job_spec(spec: Json) -> Iterator[str]:
    many = (spec.get("completions") or 0) > 10**5 and (spec.get("parallelism") or 0) > 10**4
    if spec.get("completionMode") == "Indexed" and many:
        yield INDEXES


def _job(new: Json, old: Json | None) -> Iterator[str]:
    yield from _dotted(new, old)
    if not _same_template(new, old):
        yield from _job_spec(_spec(new))
        yield from pod_warnings(_spec(new).get("template") or {}, "spec.template.")


def _cron_job(new: Json, old: Json | None) -> Iterator[str]:
    yield from _dotted(new, old)
    spec = _spec(new)
    if not _same_template(new, old):
        inner = (spec.get("jobTemplate") or {}).get("spec") or {}
        yield from _job_spec(inner)
        yield from pod_warnings(inner.get("template") or {}, "spec.jobTemplate.spec.template.")
    if "TZ" in spec.get("schedule", ""):
        yield (
            "CRON_TZ or TZ used in spec.schedule is not officially supported, see "
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )


def _pod(new: Json, old: Json | None) -> Iterator[str]:
    yield from pod_warnings(new, "")


def _pod_template(new: Json, old: Json | None) -> Iterator[str]:
    yield from pod_warnings(new.get("template") or {}, "template.")


def _service(new: Json, old: Json | None) -> Iterator[str]:
    spec = _spec(new)
    kind = spec.get("type", "ClusterIP")
    if HINTS in _annotations(new):
        yield (
            f"annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode "
            "instead"
        )
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    if spec.get("clusterIP") not in (None, "", "None"):
        for index, address in enumerate(spec.get("clusterIPs") or ()):
            yield from _address(address, f"spec.clusterIPs[{index}]")
    if headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if spec.get("externalIPs"):
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    for index, address in enumerate(spec.get("externalIPs") or ()):
        yield from _address(address, f"spec.externalIPs[{index}]")
    if spec.get("loadBalancerIP"):
        yield from _address(spec["loadBalancerIP"], "spec.loadBalancerIP")
    for index, block in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        yield from _block(block, f"spec.loadBalancerSourceRanges[{index}]")
    if kind == "ExternalName" and spec.get("externalIPs"):
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'


def _address(text: str, field: str) -> Iterator[str]:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        why = f'ParseAddr("{text}"): IPv4 field has octet with leading zero'
        yield (
            f"{field}: IP address was accepted, but will be invalid in a future Kubernetes "
            f"release: {why}"
        )
        return
    if found.version == 6 and str(found) != text:
        yield (
            f'{field}: IPv6 address "{text}" is not in RFC 5952 canonical format ("{found}"), '
            "which may cause controller apply-loops"
        )


def _block(text: str, field: str) -> Iterator[str]:
    try:
        found = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return
    address = text.strip().partition("/")[0]
    if found.version == 6 and str(ipaddress.ip_address(address)) != address:
        shown = f"{ipaddress.ip_address(address)}/{found.prefixlen}"
        yield (
            f'{field}: IPv6 prefix "{text}" is not in RFC 5952 canonical format ("{shown}"), '
            "which may cause controller apply-loops"
        )


def _ingress(new: Json, old: Json | None) -> Iterator[str]:
    name = "kubernetes.io/ingress.class"
    if old is None and name in _annotations(new):
        yield f"annotation \"{name}\" is deprecated, please use 'spec.ingressClassName' instead"


def _account(new: Json, old: Json | None) -> Iterator[str]:
    if MOUNTABLE in _annotations(new) and (old is None or MOUNTABLE not in _annotations(old)):
        yield (
            f"metadata.annotations[{MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces "
            "to isolate access to mounted secrets"
        )


def _claim(new: Json, old: Json | None) -> Iterator[str]:
    if STORAGE in _annotations(new):
        yield (
            f"metadata.annotations[{STORAGE}]: deprecated since v1.8; "
            'use "storageClassName" attribute instead'
        )
    yield from claim_warnings(_spec(new), "spec")


def _volume(new: Json, old: Json | None) -> Iterator[str]:
    spec = _spec(new)
    if STORAGE in _annotations(new):
        yield (
            f"metadata.annotations[{STORAGE}]: deprecated since v1.8; "
            'use "storageClassName" attribute instead'
        )
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield RECYCLE
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        for position, row in enumerate(term.get("matchExpressions") or ()):
            message = deprecated_label(row.get("key", ""))
            if message:
                path = f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]"
                yield f"{path}.matchExpressions[{position}].key: {row['key']} is {message}"


def _node(new: Json, old: Json | None) -> Iterator[str]:
    spec = _spec(new)
    if spec.get("externalID"):
        yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"
    if spec.get("configSource") is not None:
        yield "spec.configSource: the feature is no longer supported"


def _storage_class(new: Json, old: Json | None) -> Iterator[str]:
    for index, term in enumerate(new.get("allowedTopologies") or ()):
        for position, row in enumerate(term.get("matchLabelExpressions") or ()):
            message = deprecated_label(row.get("key", ""))
            if message:
                path = f"allowedTopologies[{index}].matchLabelExpressions[{position}].key"
                yield f"{path}: {message}"


def _runtime_class(new: Json, old: Json | None) -> Iterator[str]:
    for key in (new.get("scheduling") or {}).get("nodeSelector") or {}:
        message = deprecated_label(key)
        if message:
            yield f"scheduling.nodeSelector: {message}"


_RULES: dict[str, Callable[[Json, Json | None], Iterator[str]]] = {
    "cronjobs.batch": _cron_job,
    "daemonsets.apps": _template,
    "deployments.apps": _workload,
    "ingresses.networking.k8s.io": _ingress,
    "jobs.batch": _job,
    "nodes": _node,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "pods": _pod,
    "podtemplates": _pod_template,
    "replicasets.apps": _workload,
    "replicationcontrollers": _workload,
    "runtimeclasses.node.k8s.io": _runtime_class,
    "serviceaccounts": _account,
    "services": _service,
    "statefulsets.apps": _stateful_set,
    "storageclasses.storage.k8s.io": _storage_class,
}
