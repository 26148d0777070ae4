"""Column definitions per resource, read from `columns.txt` when a table is first asked for."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from labsandbox.apiserver.schema.definitions import published

Column = dict[str, Any]
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
CONTAINERS = (
    ("Containers", "Names of each container in the template."),
    ("Images", "Images referenced by each container in the template."),
)


def column(name: str, kind: str, description: str, priority: int = 0, form: str = "") -> Column:
    """One column as clients read it."""
    return {
        "name": name,
        "type": kind,
        "format": form,
        "description": description,
        "priority": priority,
    }


@cache
def name_column(priority: int = 0) -> Column:
    """The Name column, which every table has."""
    return column("Name", "string", describe(META, "name"), priority, "name")


@cache
def created_column(title: str, kind: str) -> Column:
    """The column that tells when the object was made."""
    return column(title, kind, describe(META, "creationTimestamp"))


@cache
def describe(definition: str, field: str) -> str:
    """The published description of a field."""
    found = published(definition).get("properties", {}).get(field, {})
    return str(found.get("description", ""))


@cache
def columns_of(group_resource: str) -> tuple[Column, ...] | None:
    """The columns of a built-in resource, or None when it has the default ones."""
    lines = _sections().get(group_resource)
    if lines is None:
        return None
    return tuple(part for line in lines for part in _parse(line))


DEFAULT = ("Created At", "date")
CUSTOM_DEFAULT = ("Age", "date")


def default_columns(title: str, kind: str) -> tuple[Column, ...]:
    """Name and creation time, for resources nobody made columns for."""
    return (name_column(), created_column(title, kind))


def _parse(line: str) -> tuple[Column, ...]:
    priority = 1 if line.startswith("+") else 0
    name, *rest = (part.strip() for part in line.removeprefix("+").split("|", 2))
    if name == "NAME":
        return (name_column(priority),)
    if name == "AGE":
        return (created_column("Age", "string"),)
    if name == "CONTAINERS":
        return tuple(column(title, "string", text, 1) for title, text in CONTAINERS)
    kind, text = rest
    if text.startswith("@"):
        definition, _, field = text[1:].rpartition(".")
        text = describe(f"io.k8s.api.{definition}", field)
    return (column(name, kind, text, priority),)


@cache
def _sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    text = resources.files(__package__).joinpath("columns.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            lines = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return found
