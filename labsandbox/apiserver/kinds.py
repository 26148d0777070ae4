"""The shape of a kind, whether built in or defined by a CustomResourceDefinition.

Everything a verb needs to know about the content of an object is asked here: reading, defaults,
validation, the type tree for merges.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from labsandbox.apiserver import schema, validation
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.validation.errors import FieldError

Json = dict[str, Any]


class Shape(Protocol):
    """`KindSchema` of a built-in kind, or a version of a custom kind."""

    @property
    def node(self) -> Any: ...

    def decode(self, obj: Json) -> tuple[Json, list[str]]: ...

    def default(self, obj: Json) -> Json: ...


class _Plain:
    """A kind nobody describes: passed through as it is."""

    node: Any = None

    def decode(self, obj: Json) -> tuple[Json, list[str]]:
        return obj, []

    def default(self, obj: Json) -> Json:
        return obj


_PLAIN = _Plain()


def shape_of(resource: ResourceDef, subresource: str = "") -> Shape:
    """The schema of the resource's kind, or of the kind its subresource is written with."""
    if subresource and subresource in resource.subresources:
        found = resource.subresources[subresource]
        if found.kind != resource.kind:
            shape = builtin_shape(found.group, found.version or resource.version, found.kind)
            return shape or _PLAIN
    if resource.custom is not None:
        return resource.custom.version(resource.version)  # type: ignore[no-any-return]
    return builtin_shape(resource.group, resource.version, resource.kind) or _PLAIN


def is_heavy(resource: ResourceDef) -> bool:
    """Say whether even a small object of the kind may cost much: rules are compiled or run."""
    if resource.custom is not None:
        found: bool = resource.custom.version(resource.version).has_rules
        return found
    return resource.plural == "customresourcedefinitions"


@cache
def builtin_shape(group: str, version: str, kind: str) -> Shape | None:
    return schema.kind_schema(group, version, kind)


def validate_create(resource: ResourceDef, obj: Json) -> list[FieldError]:
    """What is wrong with a new object."""
    if resource.custom is not None:
        found: list[FieldError] = resource.custom.version(resource.version).validate_create(obj)
        return found
    return validation.validate_before(resource, obj) or validation.validate_create(resource, obj)


def validate_update(
    resource: ResourceDef, new: Json, old: Json, subresource: str
) -> list[FieldError]:
    """What is wrong with a change through the main path or a subresource."""
    if resource.custom is not None:
        version = resource.custom.version(resource.version)
        found: list[FieldError] = version.validate_update(new, old, subresource)
        return found
    early = validation.validate_before(resource, new) if not subresource else []
    return early or validation.validate_update(resource, new, old, subresource)
