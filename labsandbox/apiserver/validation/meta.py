"""metadata of every object: names, labels, annotations, owners, finalizers, and what may change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from labsandbox.apiserver.status import MOST_CAUSES
from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from labsandbox.apiserver.validation.goprint import Raw, quote, strings

Json = dict[str, Any]
NameCheck = Callable[[str, bool], list[str]]
MAX_ANNOTATIONS = 256 * 1024
IMMUTABLE = "field is immutable"
STANDARD_FINALIZERS = frozenset(
    (
        "kubernetes",
        "orphan",
        "foregroundDeletion",
    )
)
NOT_NEGATIVE = "must be greater than or equal to 0"


def _checked(check: Callable[[str], list[str]]) -> NameCheck:
    def name(text: str, is_prefix: bool) -> list[str]:
        return check(names.without_dash(text) if is_prefix else text)

    return name


subdomain_name = _checked(names.subdomain)
label_name = _checked(names.label)
label_1035_name = _checked(names.label_1035)


def path_name(text: str, is_prefix: bool) -> list[str]:
    """RBAC names: anything that fits into a path."""
    if is_prefix:
        return [f"may not contain '{bad}'" for bad in ("/", "%") if bad in text]
    return names.path_segment(text)


def check_all(field: str, value: str, messages: Iterable[str]) -> list[FieldError]:
    return [invalid(field, value, message) for message in messages]


def not_negative(field: str, value: int | None) -> list[FieldError]:
    return [invalid(field, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def label_map(values: dict[str, str] | None, field: str) -> list[FieldError]:
    found: list[FieldError] = []
    for key, value in (values or {}).items():
        found += check_all(field, key, names.qualified_name(key))
        found += check_all(field, value, names.label_value(value))
        if len(found) >= MOST_CAUSES:
            break
    return found


def annotation_map(values: dict[str, str] | None, field: str) -> list[FieldError]:
    found: list[FieldError] = []
    size = 0
    for key, value in (values or {}).items():
        if len(found) < MOST_CAUSES:
            found += check_all(field, key, names.qualified_name(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATIONS:
        found.append(too_long(field, MAX_ANNOTATIONS))
    return found


def _owner_text(ref: Json) -> str:
    def pointer(name: str) -> str:
        return "(*bool)(nil)" if ref.get(name) is None else "(*bool)(0xc000000000)"

    return (
        f"v1.OwnerReference{{APIVersion:{quote(ref.get('apiVersion', ''))}, "
        f"Kind:{quote(ref.get('kind', ''))}, Name:{quote(ref.get('name', ''))}, "
        f"UID:{quote(ref.get('uid', ''))}, Controller:{pointer('controller')}, "
        f"BlockOwnerDeletion:{pointer('blockOwnerDeletion')}}}"
    )


def owner_references(refs: list[Json] | None, field: str) -> list[FieldError]:
    found: list[FieldError] = []
    controller = ""
    for ref in refs or ():
        version = ref.get("apiVersion", "")
        empties = (
            ("apiVersion", version.rsplit("/", 1)[-1], "version"),
            ("kind", ref.get("kind", ""), "kind"),
            ("name", ref.get("name", ""), "name"),
            ("uid", ref.get("uid", ""), "uid"),
        )
        for name, value, what in empties:
            if not value:
                found.append(
                    invalid(f"{field}.{name}", ref.get(name, ""), f"{what} must not be empty")
                )
        if (version, ref.get("kind")) == ("v1", "Event"):
            detail = "/v1, Kind=Event is disallowed from being an owner"
            found.append(invalid(field, Raw(_owner_text(ref)), detail))
        if ref.get("controller"):
            current = f"{ref.get('kind', '')}/{ref.get('name', '')}"
            if controller:
                shown = ", ".join(_owner_text(row) for row in refs or ())
                detail = (
                    'Only one reference can have Controller set to true. Found "true" in '
                    f"references for {controller} and {current}"
                )
                found.append(invalid(field, Raw(f"[]v1.OwnerReference{{{shown}}}"), detail))
            else:
                controller = current
    return found


def finalizer_list(values: list[str] | None, field: str) -> list[FieldError]:
    found: list[FieldError] = []
    for value in values or ():
        found += check_all(field, value, names.qualified_name(value))
    if values and "orphan" in values and "foregroundDeletion" in values:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        found.append(invalid(field, strings(values), detail))
    return found


def core_finalizers(values: list[str] | None, field: str) -> list[FieldError]:
    """Built-in kinds want finalizers with a domain."""
    found: list[FieldError] = []
    for index, value in enumerate(values or ()):
        if "/" not in value and value not in STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(invalid(f"{field}[{index}]", value, detail))
    return found


def managed_fields(entries: list[Json] | None, field: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, entry in enumerate(entries or ()):
        path = f"{field}[{index}]"
        operation = entry.get("operation", "")
        if operation not in ("Apply", "Update"):
            found.append(invalid(f"{path}.operation", operation, "must be `Apply` or `Update`"))
        kind = entry.get("fieldsType", "")
        if kind and kind != "FieldsV1":
            found.append(invalid(f"{path}.fieldsType", kind, "must be `FieldsV1`"))
        found += field_manager(entry.get("manager", ""), f"{path}.manager")
        if len(entry.get("subresource", "")) > 256:
            found.append(too_long(f"{path}.subresource", 256))
    return found


def field_manager(name: str, field: str) -> list[FieldError]:
    found = [too_long(field, 128)] if len(name.encode()) > 128 else []
    at = 0
    for char in name:
        if not (char == " " or char.isprintable()):
            shown = f"U+{ord(char):04X}"
            found.append(invalid(field, name, f"invalid character {shown} (at position {at})"))
        at += len(char.encode())
    return found


def validate_meta(
    metadata: Json, namespaced: bool, check_name: NameCheck, core: bool = True
) -> list[FieldError]:
    """The metadata of a new object; `core` adds what only built-in kinds ask."""
    found: list[FieldError] = []
    prefix, name = metadata.get("generateName", ""), metadata.get("name", "")
    if prefix:
        found += check_all("metadata.generateName", prefix, check_name(prefix, True))
    if not name:
        found.append(required("metadata.name", "name or generateName is required"))
    else:
        found += check_all("metadata.name", name, check_name(name, False))
    namespace = metadata.get("namespace", "")
    if namespaced and not namespace:
        found.append(required("metadata.namespace"))
    elif namespaced:
        found += check_all("metadata.namespace", namespace, names.label(namespace))
    elif namespace:
        found.append(forbidden("metadata.namespace", "not allowed on this type"))
    found += not_negative("metadata.generation", metadata.get("generation", 0))
    found += label_map(metadata.get("labels"), "metadata.labels")
    found += annotation_map(metadata.get("annotations"), "metadata.annotations")
    found += owner_references(metadata.get("ownerReferences"), "metadata.ownerReferences")
    found += finalizer_list(metadata.get("finalizers"), "metadata.finalizers")
    found += managed_fields(metadata.get("managedFields"), "metadata.managedFields")
    if core:
        found += core_finalizers(metadata.get("finalizers"), "metadata.finalizers")
    return found


def _time(value: str | None) -> Raw:
    if value is None:
        return Raw('"null"')
    return Raw(value.replace("T", " ").replace("Z", " +0000 UTC"))


def validate_meta_update(new: Json, old: Json, core: bool = True) -> list[FieldError]:
    """What may not change in metadata."""
    found: list[FieldError] = []
    if old.get("deletionTimestamp") is not None:
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            detail = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers {strings(extra).text}"
            )
            found.append(forbidden("metadata.finalizers", detail))
    if not new.get("resourceVersion"):
        found.append(
            invalid(
                "metadata.resourceVersion",
                new.get("resourceVersion", ""),
                "must be specified for an update",
            )
        )
    if new.get("generation", 0) < old.get("generation", 0):
        found.append(
            invalid("metadata.generation", new.get("generation", 0), "must not be decremented")
        )
    for name in ("name", "namespace", "uid"):
        if new.get(name, "") != old.get(name, ""):
            found.append(invalid(f"metadata.{name}", new.get(name, ""), IMMUTABLE))
    for name in ("creationTimestamp", "deletionTimestamp"):
        if new.get(name) != old.get(name):
            found.append(invalid(f"metadata.{name}", _time(new.get(name)), IMMUTABLE))
    grace = "deletionGracePeriodSeconds"
    if new.get(grace) != old.get(grace):
        found.append(invalid(f"metadata.{grace}", new.get(grace), IMMUTABLE))
    found += label_map(new.get("labels"), "metadata.labels")
    found += annotation_map(new.get("annotations"), "metadata.annotations")
    found += owner_references(new.get("ownerReferences"), "metadata.ownerReferences")
    found += managed_fields(new.get("managedFields"), "metadata.managedFields")
    if core:
        found += core_finalizers(new.get("finalizers"), "metadata.finalizers")
    return found


def label_selector(selector: Json | None, field: str, any_value: bool = False) -> list[FieldError]:
    """A metav1.LabelSelector."""
    found: list[FieldError] = []
    if selector is None:
        return found
    found += label_map(selector.get("matchLabels"), f"{field}.matchLabels")
    for index, row in enumerate(selector.get("matchExpressions") or ()):
        path = f"{field}.matchExpressions[{index}]"
        operator, values = row.get("operator", ""), row.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                detail = "must be specified when `operator` is 'In' or 'NotIn'"
                found.append(required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                found.append(forbidden(f"{path}.values", detail))
        else:
            found.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
        key = row.get("key", "")
        found += check_all(f"{path}.key", key, names.qualified_name(key))
        if not any_value:
            for position, value in enumerate(values):
                found += check_all(f"{path}.values[{position}]", value, names.label_value(value))
    return found


def is_empty_selector(selector: Json | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def selects(selector: Json | None, values: dict[str, str] | None) -> bool:
    """Does a label selector match these labels? An absent selector matches nothing."""
    if selector is None:
        return False
    given = values or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if given.get(key) != value:
            return False
    for row in selector.get("matchExpressions") or ():
        operator, key, wanted = row.get("operator"), row.get("key", ""), row.get("values") or ()
        has = key in given
        if operator == "In" and (not has or given[key] not in wanted):
            return False
        if operator == "NotIn" and has and given[key] in wanted:
            return False
        if (operator == "Exists" and not has) or (operator == "DoesNotExist" and has):
            return False
    return True


CONDITION_STATUSES = ("False", "True", "Unknown")


def condition_status(row: Json, field: str) -> list[FieldError]:
    status = row.get("status", "")
    if status in CONDITION_STATUSES:
        return []
    return [not_supported(f"{field}.status", status, CONDITION_STATUSES)]


REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
REASON_SAYS = (
    "a condition reason must start with alphabetic character, optionally followed by a string of "
    "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'"
)
REASONS = ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")


def conditions(rows: list[Json] | None, field: str) -> list[FieldError]:
    """A list of metav1.Condition."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, row in enumerate(rows or ()):
        path = f"{field}[{index}]"
        kind, reason = row.get("type", ""), row.get("reason", "")
        if kind in seen:
            found.append(duplicate(f"{path}.type", kind))
        seen.add(kind)
        found += check_all(f"{path}.type", kind, names.qualified_name(kind))
        found += condition_status(row, path)
        if row.get("observedGeneration", 0) < 0:
            detail = "must be greater than or equal to zero"
            found.append(invalid(f"{path}.observedGeneration", row["observedGeneration"], detail))
        if not row.get("lastTransitionTime"):
            found.append(required(f"{path}.lastTransitionTime", "must be set"))
        if not reason:
            found.append(required(f"{path}.reason", "must be set"))
        elif re.fullmatch(REASON, reason, re.ASCII) is None:
            detail = names.regex_error(REASON_SAYS, REASON, *REASONS)
            found.append(invalid(f"{path}.reason", reason, detail))
        if len(reason.encode()) > 1024:
            found.append(too_long(f"{path}.reason", 1024))
        if len(row.get("message", "").encode()) > 32768:
            found.append(too_long(f"{path}.message", 32768))
    return found
