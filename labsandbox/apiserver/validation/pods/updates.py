"""What may change in a pod."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox.apiserver.validation import names, scheduling
from labsandbox.apiserver.validation.errors import FieldError, forbidden, invalid, required
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.meta import (
    check_all,
    validate_meta,
    validate_meta_update,
)
from labsandbox.apiserver.validation.pods.containers import image_spaces
from labsandbox.apiserver.validation.pods.spec import only_for_pods, validate_pod_spec

Json = dict[str, Any]
UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)
SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def _subdomain(text: str, is_prefix: bool) -> list[str]:
    return names.subdomain(names.without_dash(text) if is_prefix else text)


def metadata_and_spec(pod: Json) -> list[FieldError]:
    """What every pod must fulfil."""
    found = validate_meta(pod.get("metadata") or {}, True, _subdomain)
    found += validate_pod_spec(pod.get("spec") or {}, "spec", is_pod=True)
    return found + only_for_pods(pod)


def validate_pod_create(pod: Json) -> list[FieldError]:
    found = metadata_and_spec(pod)
    spec = pod.get("spec") or {}
    if spec.get("ephemeralContainers"):
        found.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        detail = "cannot be set until all schedulingGates have been cleared"
        found.append(forbidden("spec.nodeName", detail))
    return found


def validate_pod_update(new: Json, old: Json) -> list[FieldError]:
    """An update of the pod itself."""
    found = validate_meta_update(new["metadata"], old["metadata"])
    found += metadata_and_spec(new)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        ours, theirs = after.get(kind) or [], before.get(kind) or []
        if len(ours) != len(theirs):
            detail = "pod updates may not add or remove containers"
            return [*found, forbidden(f"spec.{kind}", detail)]
        for index, ctr in enumerate(ours):
            path = f"spec.{kind}[{index}]"
            if not ctr.get("image"):
                found.append(required(f"{path}.image"))
            found += image_spaces(ctr, path)
    deadline = _deadline(after, before)
    found += deadline
    if deadline and "nil" not in deadline[0].detail:
        return found
    found += _only_added_tolerations(after, before)
    found += _only_deleted_gates(after, before)
    if after == before:
        return found
    if _qos(new) != (old.get("status") or {}).get("qosClass", _qos(old)):
        status = (new.get("status") or {}).get("qosClass", "")
        found.append(invalid("metadata", status, "Pod QoS is immutable"))
    munged = _munge(after, before)
    if munged != before:
        allowed = ",".join(UPDATABLE)
        detail = f"pod updates may not change fields other than {allowed}\n{_diff(before, munged)}"
        found.append(forbidden("spec", detail))
    return found


def _qos(pod: Json) -> str:
    from labsandbox.apiserver.validation.quality import quality_of_service

    return quality_of_service(pod.get("spec") or {})


def _diff(before: Json, after: Json) -> str:
    from labsandbox.apiserver.validation.godiff import spec_diff

    return spec_diff(before, after)


def _deadline(after: Json, before: Json) -> list[FieldError]:
    new, old = after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if new is not None:
        if not 0 <= new <= 2**31 - 1:
            return [invalid(path, new, names.in_range(0, 2**31 - 1))]
        if old is not None and old < new:
            return [invalid(path, new, "must be less than or equal to previous value")]
    elif old is not None:
        detail = "must not update from a positive integer to nil value"
        return [invalid(path, None, detail)]
    return []


def _only_added_tolerations(after: Json, before: Json) -> list[FieldError]:
    rows = after.get("tolerations") or []
    bare = [{k: v for k, v in row.items() if k != "tolerationSeconds"} for row in rows]
    for row in before.get("tolerations") or ():
        if {k: v for k, v in row.items() if k != "tolerationSeconds"} not in bare:
            detail = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden("spec.tolerations", detail)]
    return scheduling.tolerations(rows, "spec.tolerations")


def _only_deleted_gates(after: Json, before: Json) -> list[FieldError]:
    known = {gate.get("name") for gate in before.get("schedulingGates") or ()}
    return [
        forbidden(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
        )
        for index, gate in enumerate(after.get("schedulingGates") or ())
        if gate.get("name") not in known
    ]


def _munge(after: Json, before: Json) -> Json:
    """The new spec with everything that may change put back."""
    found = copy.deepcopy(after)
    for kind in ("containers", "initContainers"):
        for ctr, old in zip(found.get(kind) or (), before.get(kind) or (), strict=False):
            if "image" in old:
                ctr["image"] = old["image"]
            else:
                ctr.pop("image", None)
    kept = ["activeDeadlineSeconds", "schedulingGates", "tolerations"]
    old_grace = before.get("terminationGracePeriodSeconds")
    new_grace = found.get("terminationGracePeriodSeconds")
    if old_grace is not None and old_grace < 0 and new_grace == 1:
        kept.append("terminationGracePeriodSeconds")
    if before.get("schedulingGates"):
        kept.append("nodeSelector")
    for name in kept:
        if name in before:
            found[name] = before[name]
        else:
            found.pop(name, None)
    return found


def validate_pod_status_update(new: Json, old: Json) -> list[FieldError]:
    found = validate_meta_update(new["metadata"], old["metadata"])
    status, before = new.get("status") or {}, old.get("status") or {}
    for index, row in enumerate(status.get("conditions") or ()):
        kind = row.get("type", "")
        if kind not in SYSTEM_CONDITIONS:
            path = f"metadata.conditions[{index}].Type"
            found += check_all(path, kind, names.qualified_name(kind))
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if spec.get("nodeName", "") != old_spec.get("nodeName", ""):
        found.append(forbidden("status.nodeName", "may not be changed directly"))
    node = status.get("nominatedNodeName", "")
    if node and node != before.get("nominatedNodeName", ""):
        found += check_all("status.nominatedNodeName", node, names.subdomain(node))
    policy = old_spec.get("restartPolicy", "")
    for kind, rule in (
        ("containerStatuses", policy),
        ("initContainerStatuses", policy),
        ("ephemeralContainerStatuses", "Never"),
    ):
        found += _transitions(status.get(kind) or [], before.get(kind) or [], kind, rule, old_spec)
    return found + _pod_ips(status)


def _transitions(
    new: list[Json], old: list[Json], kind: str, policy: str, spec: Json
) -> list[FieldError]:
    if policy == "Always":
        return []
    sidecars = {
        ctr.get("name")
        for ctr in spec.get("initContainers") or ()
        if ctr.get("restartPolicy") == "Always"
    }
    found: list[FieldError] = []
    for index, row in enumerate(old):
        done = (row.get("state") or {}).get("terminated")
        if done is None or (done.get("exitCode", 0) != 0 and policy == "OnFailure"):
            continue
        if kind == "initContainerStatuses" and row.get("name") in sidecars:
            continue
        for other in new:
            running = (other.get("state") or {}).get("terminated") is None
            if other.get("name") == row.get("name") and running:
                detail = "may not be transitioned to non-terminated state"
                found.append(forbidden(f"status.{kind}[{index}].state", detail))
    return found


def _pod_ips(status: Json) -> list[FieldError]:
    found: list[FieldError] = []
    rows = [row.get("ip", "") for row in status.get("podIPs") or ()]
    for index, address in enumerate(rows):
        found += check_all(f"status.podIPs[{index}]", address, names.ip(address))
    if len(rows) > 1:
        parsed = [names.parse_ip(address) for address in rows]
        versions = {address.version for address in parsed if address is not None}
        if len(versions) != 2 or len(rows) > 2:
            shown = ", ".join(f'core.PodIP{{IP:"{address}"}}' for address in rows)
            detail = "may specify no more than one IP for each IP family"
            found.append(invalid("status.podIPs", Raw(f"[]core.PodIP{{{shown}}}"), detail))
        for index, address in enumerate(rows):
            if address in rows[:index]:
                raw = Raw(f'core.PodIP{{IP:"{address}"}}')
                found.append(FieldError("Duplicate value", f"status.podIPs[{index}]", raw))
    return found


def validate_ephemeral_update(new: Json, old: Json) -> list[FieldError]:
    """An update through the ephemeralcontainers subresource."""
    found = validate_meta_update(new["metadata"], old["metadata"])
    found += metadata_and_spec(new)
    rows = {
        ctr.get("name"): ctr for ctr in (new.get("spec") or {}).get("ephemeralContainers") or ()
    }
    for ctr in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = ctr.get("name", "")
        if name not in rows:
            detail = f'existing ephemeral containers "{name}" may not be removed\n'
            found.append(forbidden("spec.ephemeralContainers", detail))
        elif rows[name] != ctr:
            detail = f'existing ephemeral containers "{name}" may not be changed\n'
            found.append(forbidden("spec.ephemeralContainers", detail))
    return found
