"""Custom kinds: what a CustomResourceDefinition says, as something the server can work with."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from labsandbox.apiserver.crd import structural
from labsandbox.apiserver.crd.lists import check_lists
from labsandbox.apiserver.crd.paths import read_path
from labsandbox.apiserver.crd.scale import Scale
from labsandbox.apiserver.crd.tree import build
from labsandbox.apiserver.crd.values import Checker
from labsandbox.apiserver.schema.decode import DecodeError, decode
from labsandbox.apiserver.schema.definitions import META, definition
from labsandbox.apiserver.schema.node import Node
from labsandbox.apiserver.validation import validate_common_update
from labsandbox.apiserver.validation.errors import (
    NOT_SUPPORTED,
    REQUIRED,
    TOO_LONG,
    TOO_MANY,
    TYPE_INVALID,
    FieldError,
    invalid,
)
from labsandbox.apiserver.validation.meta import (
    subdomain_name,
    validate_meta,
    validate_meta_update,
)

Json = dict[str, Any]
BLOCKING = (NOT_SUPPORTED, REQUIRED, TOO_LONG, TOO_MANY, TYPE_INVALID)
UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation"
)


@dataclass(frozen=True)
class Column:
    """A column kubectl prints."""

    name: str
    type: str
    path: str
    description: str = ""
    format: str = ""
    priority: int = 0


class CustomVersion:
    """One version of a custom kind; has the interface of `schema.KindSchema`."""

    def __init__(self, kind: CustomKind, row: Json) -> None:
        self.custom = kind
        self.name: str = row["name"]
        self.served: bool = bool(row.get("served"))
        self.storage: bool = bool(row.get("storage"))
        self.deprecated: bool = bool(row.get("deprecated"))
        self._warning = row.get("deprecationWarning")
        self.schema: Json | None = (row.get("schema") or {}).get("openAPIV3Schema")
        subresources = row.get("subresources") or {}
        self.has_status = subresources.get("status") is not None
        scale = subresources.get("scale")
        self.scale = Scale.read(scale) if scale is not None else None
        self.columns = tuple(
            Column(
                column["name"],
                column.get("type", "string"),
                column.get("jsonPath", ""),
                column.get("description", ""),
                column.get("format", ""),
                column.get("priority", 0),
            )
            for column in row.get("additionalPrinterColumns") or ()
        )
        self.selectable = tuple(
            found["jsonPath"].removeprefix(".") for found in row.get("selectableFields") or ()
        )

    @property
    def kind(self) -> str:
        return self.custom.kind

    @property
    def api_version(self) -> str:
        return f"{self.custom.group}/{self.name}"

    @property
    def warning(self) -> str:
        """The warning every request to a deprecated version gets; "" when there is none."""
        if not self.deprecated:
            return ""
        return self._warning or f"{self.api_version} {self.kind} is deprecated"

    @cached_property
    def node(self) -> Node:
        return build(self.schema)

    @cached_property
    def _has_list_types(self) -> bool:
        return self.schema is not None and structural.has_list_types(self.schema)

    @property
    def has_rules(self) -> bool:
        """Say whether CEL rules are run for objects of this version."""
        return self._rules is not None

    @cached_property
    def _rules(self) -> Any:
        """The CEL rules, compiled when first needed; None when there are none."""
        from labsandbox.apiserver.crd.rules import compile_rules

        return compile_rules(self.schema or {})

    def decode(self, obj: Json) -> tuple[Json, list[str]]:
        """Read an object: metadata as Go reads it, unknown fields pruned and named."""
        found = copy.deepcopy(obj)
        messages: list[str] = []
        metadata = found.get("metadata")
        clean: Json | None = None
        if metadata is not None:
            if not isinstance(metadata, dict):
                what = _go_type(metadata)
                raise DecodeError(
                    f"json: cannot unmarshal {what} into Go value of type v1.ObjectMeta"
                )
            clean, unknown = decode(metadata, definition(META + "ObjectMeta"))
            messages += [
                message.replace('unknown field "', 'unknown field "metadata.')
                for message in unknown
            ]
            if clean.get("creationTimestamp") is None:
                clean.pop("creationTimestamp", None)
        pruned = structural.prune(found, self.schema)
        messages += [f'unknown field "{path}"' for path in pruned]
        structural.prune_nulls(found, self.schema)
        found["metadata"] = clean if clean is not None else {}
        found["apiVersion"] = obj.get("apiVersion") or self.api_version
        found["kind"] = obj.get("kind") or self.kind
        return found, list(dict.fromkeys(messages))

    def default(self, obj: Json) -> Json:
        """Fill in the schema's defaults, in place."""
        structural.fill_defaults(obj, self.schema)
        return obj

    def read(self, stored: Json) -> Json:
        """A stored object in this version: pruned and defaulted by this version's schema."""
        found = copy.deepcopy(stored)
        found["apiVersion"] = self.api_version
        structural.prune(found, self.schema)
        structural.prune_nulls(found, self.schema)
        structural.fill_defaults(found, self.schema)
        return found

    def field(self, obj: Json, name: str) -> str | None:
        """The value field selectors compare; None when the field cannot be selected by."""
        if name not in self.selectable:
            return None
        found = read_path(obj, name)
        if found is None:
            return ""
        return ("true" if found else "false") if isinstance(found, bool) else str(found)

    def _type_meta(self, obj: Json) -> list[FieldError]:
        found = []
        if obj.get("kind") != self.kind:
            found.append(invalid("kind", obj.get("kind", ""), f"must be {self.kind}"))
        if obj.get("apiVersion") != self.api_version:
            detail = f"must be {self.api_version}"
            found.append(invalid("apiVersion", obj.get("apiVersion", ""), detail))
        return found

    def validate_create(self, obj: Json) -> list[FieldError]:
        """What is wrong with a new object."""
        found = self._type_meta(obj)
        if found:
            return found
        metadata = obj.get("metadata") or {}
        found = validate_meta(metadata, self.custom.namespaced, subdomain_name, core=False)
        if self.schema is not None:
            found += Checker().check(obj, self.schema)
        if self.scale is not None:
            found += self.scale.check(obj)
        if self._has_list_types:
            found += check_lists(obj, self.schema)
        return self._with_rules(found, obj, None)

    def validate_update(self, new: Json, old: Json, subresource: str = "") -> list[FieldError]:
        """What is wrong with a change; `subresource` is "status" or ""."""
        metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
        common = validate_common_update(new, old, self.custom.namespaced)
        found = self._type_meta(new)
        if found:
            return common + found
        found = common + validate_meta_update(metadata, before, core=False)
        if self.schema is not None:
            if subresource == "status":
                found += self._check_status(new, old)
            else:
                found += Checker().check(new, self.schema, "", old)
        if self.scale is not None:
            found += self.scale.check(new, only_status=subresource == "status")
        if self._has_list_types and not check_lists(old, self.schema):
            found += check_lists(new, self.schema)
        return self._with_rules(found, new, old)

    def _check_status(self, new: Json, old: Json) -> list[FieldError]:
        schema = ((self.schema or {}).get("properties") or {}).get("status")
        if schema is None or "status" not in new:
            return []
        args = (old["status"],) if "status" in old else ()
        return Checker("status").check(new["status"], schema, "", *args)

    def _with_rules(self, found: list[FieldError], new: Json, old: Json | None) -> list[FieldError]:
        if any(error.type in BLOCKING for error in found):
            return [*found, FieldError("Invalid value", "<nil>", None, UNCHECKED)]
        if self._rules is None:
            return found
        problems: list[FieldError] = self._rules.check(new, old)
        return found + problems


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array"


class CustomKind:
    """A CustomResourceDefinition: names, scope and versions."""

    def __init__(self, crd: Json) -> None:
        spec = crd["spec"]
        names = (crd.get("status") or {}).get("acceptedNames") or {}
        if not names.get("kind"):
            names = spec["names"]
        self.name: str = crd["metadata"]["name"]
        self.uid: str = crd["metadata"].get("uid", "")
        self.group: str = spec["group"]
        self.kind: str = names.get("kind") or spec["names"]["kind"]
        self.plural: str = spec["names"]["plural"]
        self.singular: str = names.get("singular") or self.kind.lower()
        self.list_kind: str = names.get("listKind") or f"{self.kind}List"
        self.short_names: tuple[str, ...] = tuple(names.get("shortNames") or ())
        self.categories: tuple[str, ...] = tuple(names.get("categories") or ())
        self.namespaced: bool = spec.get("scope") == "Namespaced"
        self.versions: dict[str, CustomVersion] = {
            row["name"]: CustomVersion(self, row) for row in spec["versions"]
        }
        self.conversion: Json = spec.get("conversion") or {"strategy": "None"}

    @property
    def served(self) -> list[CustomVersion]:
        """The served versions, the preferred first."""
        from labsandbox.apiserver.crd.versions import priority

        found = [version for version in self.versions.values() if version.served]
        return sorted(found, key=lambda version: priority(version.name), reverse=True)

    @property
    def storage_version(self) -> str:
        return next(name for name, version in self.versions.items() if version.storage)

    def version(self, name: str) -> CustomVersion:
        return self.versions[name]
