"""Validates CustomResourceDefinitions.

The real server first lifts what all versions share (schema, subresources, columns) to the top of
the spec; its messages therefore speak of `spec.validation` for a definition with one version.
"""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.crd.goversions import versions_text
from labsandbox.apiserver.crd.schemas import validate_schema
from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import Raw, strings
from labsandbox.apiserver.validation.hooks import webhook_service, webhook_url
from labsandbox.apiserver.validation.meta import (
    IMMUTABLE,
    check_all,
    validate_meta,
    validate_meta_update,
)

Json = dict[str, Any]
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = (
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
)
APPROVAL = "api-approved.kubernetes.io"
APPROVAL_LINK = "https://github.com/kubernetes/enhancements/pull/1111"
SHARED = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")


def validate_definition(crd: Json) -> list[FieldError]:
    """What is wrong with a new definition."""
    metadata, spec = crd.get("metadata") or {}, crd.get("spec") or {}
    wanted = f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}"

    def check_name(name: str, is_prefix: bool) -> list[str]:
        found = names.subdomain(names.without_dash(name) if is_prefix else name)
        if name != wanted:
            found.append('must be spec.names.plural+"."+spec.group')
        return found

    found = validate_meta(metadata, False, check_name, core=False)
    found += _spec(spec)
    found += _stored_versions(crd)
    return found + _approval(crd, None)


def validate_definition_update(new: Json, old: Json) -> list[FieldError]:
    """What is wrong with a changed definition."""
    found = validate_meta_update(new.get("metadata") or {}, old.get("metadata") or {}, core=False)
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found += _spec(spec, before)
    rows = (old.get("status") or {}).get("conditions") or ()
    established = any(
        row.get("type") == "Established" and row.get("status") == "True" for row in rows
    )
    ours, theirs = spec.get("names") or {}, before.get("names") or {}
    if established and spec.get("scope") != before.get("scope"):
        found.append(invalid("spec.scope", spec.get("scope", ""), IMMUTABLE))
    if established and ours.get("kind") != theirs.get("kind"):
        found.append(invalid("spec.names.kind", ours.get("kind", ""), IMMUTABLE))
    if spec.get("group") != before.get("group"):
        found.append(invalid("spec.group", spec.get("group", ""), IMMUTABLE))
    if ours.get("plural") != theirs.get("plural"):
        found.append(invalid("spec.names.plural", ours.get("plural", ""), IMMUTABLE))
    found += _stored_versions(new)
    return found + _approval(new, old)


def _lifted(versions: list[Json]) -> Json:
    """What all versions share."""
    if not versions:
        return {}
    return {
        name: versions[0][name]
        for name in SHARED
        if versions[0].get(name) and all(row.get(name) == versions[0][name] for row in versions)
    }


def _spec(spec: Json, before: Json | None = None) -> list[FieldError]:
    found: list[FieldError] = []
    group = spec.get("group", "")
    if not group:
        found.append(required("spec.group"))
    elif names.subdomain(group):
        found.append(invalid("spec.group", group, ",".join(names.subdomain(group))))
    elif "." not in group:
        detail = "should be a domain with at least one dot"
        found.append(invalid("spec.group", group, detail))
    scope, scopes = spec.get("scope", ""), ("Cluster", "Namespaced")
    if not scope:
        found.append(required("spec.scope"))
    elif scope not in scopes:
        found.append(not_supported("spec.scope", scope, scopes))
    versions = spec.get("versions") or []
    shared = _lifted(versions)
    for index, row in enumerate(versions):
        if not (row.get("schema") or {}).get("openAPIV3Schema"):
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            found.append(required(path, "schemas are required"))
    if spec.get("preserveUnknownFields"):
        detail = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        found.append(invalid("spec.preserveUnknownFields", True, detail))
    for index, row in enumerate(versions):
        found += _version(row, index, shared)
    found += _version_set(versions, shared)
    first = versions[0].get("name", "") if versions else ""
    if first and names.label_1035(first):
        found.append(invalid("spec.version", first, ",".join(names.label_1035(first))))
    found += _names(spec.get("names") or {})
    if "schema" in shared:
        status = any(_has_status(row) for row in versions)
        found += validate_schema(shared["schema"], "spec.validation", status)
    if "subresources" in shared:
        found += _subresources(shared["subresources"], "spec.subresources")
    for index, column in enumerate(shared.get("additionalPrinterColumns") or ()):
        found += _column(column, f"spec.additionalPrinterColumns[{index}]")
    if "selectableFields" in shared:
        schema = (versions[0].get("schema") or {}).get("openAPIV3Schema")
        found += _selectable(shared["selectableFields"], schema, "spec.selectableFields")
    return found + _conversion(spec.get("conversion"))


def _has_status(row: Json) -> bool:
    return (row.get("subresources") or {}).get("status") is not None


def _version(row: Json, index: int, shared: Json) -> list[FieldError]:
    path = f"spec.versions[{index}]"
    found: list[FieldError] = []
    name = row.get("name", "")
    if names.label_1035(name):
        found.append(invalid(f"{path}.name", name, ",".join(names.label_1035(name))))
    warning = row.get("deprecationWarning")
    if warning is not None:
        where = f"{path}.deprecationWarning"
        if not row.get("deprecated"):
            found.append(invalid(where, warning, "can only be set for deprecated versions"))
        elif len(warning.encode()) > 256:
            found.append(invalid(where, warning, "must be <= 256 characters long"))
        elif not warning:
            found.append(invalid(where, warning, "must not be an empty string"))
    if row.get("schema") and "schema" not in shared:
        found += validate_schema(row["schema"], f"{path}.schema", _has_status(row))
    if row.get("subresources") and "subresources" not in shared:
        found += _subresources(row["subresources"], f"{path}.subresources")
    if "additionalPrinterColumns" not in shared:
        for position, column in enumerate(row.get("additionalPrinterColumns") or ()):
            found += _column(column, f"{path}.additionalPrinterColumns[{position}]")
    if row.get("selectableFields") and "selectableFields" not in shared:
        schema = (row.get("schema") or {}).get("openAPIV3Schema")
        found += _selectable(row["selectableFields"], schema, f"{path}.selectableFields")
    return found


def _version_set(versions: list[Json], shared: Json) -> list[FieldError]:
    found: list[FieldError] = []
    shown = versions_text(versions, shared)
    if len({row.get("name") for row in versions}) != len(versions):
        found.append(invalid("spec.versions", shown, "must contain unique version names"))
    if sum(1 for row in versions if row.get("storage")) != 1:
        detail = "must have exactly one version marked as storage version"
        found.append(invalid("spec.versions", shown, detail))
    return found


def _names(found_names: Json) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("plural", "singular", "kind", "listKind"):
        if not found_names.get(name):
            found.append(required(f"spec.names.{name}"))
    for name in ("plural", "singular"):
        value = found_names.get(name, "")
        problems = names.label_1035(value) if value or name == "plural" else []
        if problems:
            found.append(invalid(f"spec.names.{name}", value, ",".join(problems)))
    for name in ("kind", "listKind"):
        value = found_names.get(name, "")
        problems = names.label_1035(value.lower()) if value else []
        if problems:
            detail = "may have mixed case, but should otherwise match: " + ",".join(problems)
            found.append(invalid(f"spec.names.{name}", value, detail))
    for name in ("shortNames", "categories"):
        rows = [
            invalid(f"spec.names.{name}[{index}]", value, ",".join(names.label_1035(value)))
            for index, value in enumerate(found_names.get(name) or ())
            if names.label_1035(value)
        ]
        found += rows
        kind = found_names.get("kind")
        if name == "shortNames" and kind and kind == found_names.get("listKind"):
            detail = "kind and listKind may not be the same"
            found.append(invalid("spec.names.listKind", kind, detail))
    return found


def _json_path(text: str, path: str) -> list[FieldError]:
    if text.startswith("."):
        return []
    return [invalid(path, text, "must be a simple json path starting with .")]


def _subresources(subresources: Json, path: str) -> list[FieldError]:
    scale = subresources.get("scale")
    if scale is None:
        return []
    found: list[FieldError] = []
    for name, below in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        text, where = scale.get(name, ""), f"{path}.scale.{name}"
        if not text:
            found.append(required(where))
            continue
        problems = _json_path(text, where)
        if not problems and not text.startswith(f"{below}."):
            problems = [invalid(where, text, f"should be a json path under {below}")]
        found += problems
    text, where = scale.get("labelSelectorPath") or "", f"{path}.scale.labelSelectorPath"
    if text:
        problems = _json_path(text, where)
        if not problems and not text.startswith((".spec.", ".status.")):
            detail = "should be a json path under either .spec or .status"
            problems = [invalid(where, text, detail)]
        found += problems
    return found


def _column(column: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not column.get("name"):
        found.append(required(f"{path}.name"))
    kind, form, text = (column.get(name, "") for name in ("type", "format", "jsonPath"))
    one_of = f"must be one of {','.join(COLUMN_TYPES)}"
    if not kind:
        found.append(required(f"{path}.type", one_of))
    elif kind not in COLUMN_TYPES:
        found.append(invalid(f"{path}.type", kind, one_of))
    if form and form not in COLUMN_FORMATS:
        detail = f"must be one of {','.join(COLUMN_FORMATS)}"
        found.append(invalid(f"{path}.format", form, detail))
    if not text:
        found.append(required(f"{path}.JSONPath"))
    else:
        found += _json_path(text, f"{path}.JSONPath")
    return found


def _selectable(rows: list[Json], schema: Json | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        text, where = row.get("jsonPath", ""), f"{path}[{index}].jsonPath"
        if not text:
            found.append(required(where))
            continue
        inner: Json | None = schema
        for part in text.removeprefix(".").split("."):
            inner = ((inner or {}).get("properties") or {}).get(part)
        if inner is None and not text.startswith(".metadata"):
            detail = "is an invalid path: does not refer to a valid field"
            found.append(invalid(where, text, detail))
            continue
        if text.startswith(".metadata"):
            found.append(invalid(where, text, "must not point to fields in metadata"))
        if (inner or {}).get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and "
                "strings with formats are allowed."
            )
            found.append(invalid(where, text, detail))
        if text in seen:
            found.append(duplicate(where, text))
        seen.add(text)
    if len(seen) > 8:
        found.append(FieldError("Too many", path, len(seen), "must have at most 8 items"))
    return found


def _conversion(conversion: Json | None) -> list[FieldError]:
    if conversion is None:
        return []
    path, strategy = "spec.conversion", conversion.get("strategy", "")
    if not strategy:
        return [required(f"{path}.strategy")]
    if strategy not in ("None", "Webhook"):
        return [not_supported(f"{path}.strategy", strategy, ("None", "Webhook"))]
    webhook = conversion.get("webhook") or {}
    config, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    where = f"{path}.webhookClientConfig"
    if strategy == "None":
        detail = "should not be set when strategy is not set to Webhook"
        found = [forbidden(where, detail)] if config is not None else []
        if reviews:
            found.append(forbidden(f"{path}.conversionReviewVersions", detail))
        return found
    found = []
    if config is None:
        found.append(required(where, "required when strategy is set to Webhook"))
    elif (config.get("url") is None) == (config.get("service") is None):
        found.append(required(where, "exactly one of url or service is required"))
    elif config.get("url") is not None:
        found += webhook_url(config["url"], f"{where}.url")
    else:
        found += webhook_service(config["service"], f"{where}.service")
    return found + _reviews(reviews, f"{path}.conversionReviewVersions")


def _reviews(versions: list[str], path: str) -> list[FieldError]:
    if not versions:
        return [required(path)]
    found: list[FieldError] = []
    for index, version in enumerate(versions):
        if version in versions[:index]:
            found.append(invalid(f"{path}[{index}]", version, "duplicate version"))
            continue
        found += check_all(f"{path}[{index}]", version, names.label_1035(version))
    if not {"v1", "v1beta1"} & set(versions):
        detail = "must include at least one of v1, v1beta1"
        found.append(invalid(path, strings(versions), detail))
    return found


def _stored_versions(crd: Json) -> list[FieldError]:
    stored = (crd.get("status") or {}).get("storedVersions") or []
    path = "status.storedVersions"
    if not stored:
        return [invalid(path, Raw("[]string(nil)"), "must have at least one stored version")]
    found: list[FieldError] = []
    versions = (crd.get("spec") or {}).get("versions") or []
    for row in versions:
        if row.get("storage") and row.get("name") not in stored:
            detail = f"must have the storage version {row.get('name')}"
            found.append(invalid(path, strings(stored), detail))
    known = {row.get("name") for row in versions}
    found += [
        invalid(f"{path}[{index}]", name, "must appear in spec.versions")
        for index, name in enumerate(stored)
        if name not in known
    ]
    return found


def _approval(crd: Json, old: Json | None) -> list[FieldError]:
    group = (crd.get("spec") or {}).get("group", "")
    if not (group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))):
        return []
    value = ((crd.get("metadata") or {}).get("annotations") or {}).get(APPROVAL, "")
    before = ((((old or {}).get("metadata")) or {}).get("annotations") or {}).get(APPROVAL, "")
    if old is not None and value == before:
        return []
    path = f"metadata.annotations[{APPROVAL}]"
    if not value:
        detail = f'protected groups must have approval annotation "{APPROVAL}", see {APPROVAL_LINK}'
        return [required(path, detail)]
    if value.startswith("unapproved") or "://" in value:
        return []
    detail = (
        f'protected groups must have approval annotation "{APPROVAL}" with either a URL or a '
        f'reason starting with "unapproved", see {APPROVAL_LINK}'
    )
    return [invalid(path, value, detail)]
