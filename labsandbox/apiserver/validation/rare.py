"""Checks of the kinds of `labsandbox/apiserver/registry/rare.py`."""

from __future__ import annotations

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
)
from labsandbox.apiserver.validation.goprint import Raw, strings
from labsandbox.apiserver.validation.meta import IMMUTABLE, check_all
from labsandbox.apiserver.validation.rule import MERGED, THEN_COMPARED, Json, Rule

LONGEST_NODE_ID = 192


def runtime_class(obj: Json) -> list[FieldError]:
    handler = obj.get("handler", "")
    return check_all("handler", handler, names.label(handler))


def frozen_handler(new: Json, old: Json) -> list[FieldError]:
    if new.get("handler") == old.get("handler"):
        return []
    return [invalid("handler", new.get("handler", ""), "field is immutable")]


def csi_node(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        path = f"spec.drivers[{index}]"
        name, node = driver.get("name", ""), driver.get("nodeID", "")
        found += _driver_name(name, f"{path}.name")
        if not node:
            found.append(required(f"{path}.nodeID"))
        if len(node) > LONGEST_NODE_ID:
            detail = f"must be {LONGEST_NODE_ID} characters or less"
            found.append(invalid(f"{path}.nodeID", node, detail))
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None and count < 0:
            detail = "must be greater than or equal to 0"
            found.append(invalid(f"{path}.allocatable.count", count, detail))
        if name in seen:
            found.append(duplicate(f"{path}.name", name))
        seen.add(name)
    return found


def _driver_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    found: list[FieldError] = []
    if len(name) > 63:
        found.append(too_long(path, 63))
    return found + check_all(path, name.lower(), names.subdomain(name.lower()))


def attachment(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    attacher, node = spec.get("attacher", ""), spec.get("nodeName", "")
    found: list[FieldError] = []
    if not attacher:
        found.append(required("spec.attacher"))
    else:
        found += _driver_name(attacher, "spec.attacher")
    found += check_all("spec.nodeName", node, names.subdomain(node))
    source = spec.get("source") or {}
    volume, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if volume is None and inline is None:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        found.append(required("spec.source", detail))
    elif volume is not None and inline is not None:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        # differs: the inline volume is not printed.
        found.append(invalid("spec.source", Raw("storage.VolumeAttachmentSource{}"), detail))
    elif volume == "":
        detail = "must specify non empty persistentVolumeName"
        found.append(required("spec.source.persistentVolumeName", detail))
    return found


def ingress_class(obj: Json) -> list[FieldError]:
    controller = (obj.get("spec") or {}).get("controller", "")
    if not controller:
        return [required("spec.controller")]
    host, slash, rest = controller.partition("/")
    if not slash or not host or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        return [invalid("spec.controller", controller, detail)]
    return check_all("spec.controller", host, names.subdomain(host))


def ingress_class_update(new: Json, old: Json) -> list[FieldError]:
    ours = (new.get("spec") or {}).get("controller", "")
    if ours == (old.get("spec") or {}).get("controller", ""):
        return []
    return [invalid("spec.controller", ours, IMMUTABLE)]


def policy_binding(obj: Json) -> list[FieldError]:
    """A ValidatingAdmissionPolicyBinding."""
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    if not spec.get("policyName"):
        found.append(required("spec.policyName"))
    else:
        name = spec["policyName"]
        found += check_all("spec.policyName", name, names.subdomain(name))
    actions = spec.get("validationActions") or []
    if not actions:
        found.append(
            required("spec.validationActions", "at least one validation action is required")
        )
    allowed = ("Audit", "Deny", "Warn")
    for index, action in enumerate(actions):
        if action not in allowed:
            found.append(not_supported(f"spec.validationActions[{index}]", action, allowed))
        if action in actions[:index]:
            found.append(duplicate(f"spec.validationActions[{index}]", action))
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure "
            "information in the API response and headers serves no purpose)"
        )
        found.append(invalid("spec.validationActions", strings(actions), detail))
    return found


RULES: dict[tuple[str, str], Rule] = {
    ("node.k8s.io", "RuntimeClass"): Rule(runtime_class, frozen_handler, order=THEN_COMPARED),
    ("storage.k8s.io", "CSINode"): Rule(csi_node, order=("create",)),
    ("storage.k8s.io", "VolumeAttachment"): Rule(attachment, order=("create",)),
    ("networking.k8s.io", "IngressClass"): Rule(ingress_class, ingress_class_update, order=MERGED),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): Rule(
        policy_binding, order=("create",)
    ),
}
