"""Reads and writes metadata.managedFields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from labsandbox.apiserver.patch import fieldset
from labsandbox.apiserver.patch.fieldset import Trie

MAX_UPDATERS = 10
ANCIENT = "ancient-changes"
Json = dict[str, Any]


@dataclass(frozen=True)
class Manager:
    """Who owns fields: appliers are told apart without the version they used."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def text(self) -> str:
        """How conflicts name the manager."""
        shown = f'"{self.name}"'
        if self.subresource:
            shown += f' with subresource "{self.subresource}"'
        return shown if self.operation == "Apply" else f"{shown} using {self.api_version}"


@dataclass(frozen=True)
class Owned:
    """What a manager owns, through which version, since when."""

    fields: Trie
    api_version: str
    time: str | None = None


Managed = dict[Manager, Owned]


def read(entries: list[Json] | None) -> Managed:
    """From metadata.managedFields; {} when an entry cannot be read."""
    found: Managed = {}
    for entry in entries or ():
        operation = entry.get("operation", "")
        version = entry.get("apiVersion", "")
        if entry.get("fieldsType", "FieldsV1") != "FieldsV1" or operation not in (
            "Apply",
            "Update",
        ):
            return {}
        manager = Manager(
            entry.get("manager", ""),
            operation,
            "" if operation == "Apply" else version,
            entry.get("subresource", ""),
        )
        try:
            fields = fieldset.read(entry.get("fieldsV1"))
        except ValueError:
            return {}
        if manager in found:
            fields = fieldset.union(found[manager].fields, fields)
        found[manager] = Owned(fields, version, entry.get("time"))
    return found


def write(managed: Managed) -> list[Json]:
    """To metadata.managedFields, sorted as the server sorts."""
    rows = sorted(
        managed.items(),
        key=lambda row: (
            row[0].operation,
            row[1].time or "",
            row[0].name,
            row[1].api_version,
            row[0].subresource,
        ),
    )
    return [_entry(manager, owned) for manager, owned in rows]


def _entry(manager: Manager, owned: Owned) -> Json:
    found: Json = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": owned.api_version,
    }
    if owned.time is not None:
        found["time"] = owned.time
    found["fieldsType"] = "FieldsV1"
    found["fieldsV1"] = fieldset.write(owned.fields)
    if manager.subresource:
        found["subresource"] = manager.subresource
    return {key: value for key, value in found.items() if value != ""}


def cap(managed: Managed) -> Managed:
    """Keep at most ten updaters; the oldest become `ancient-changes`."""
    updaters = sorted(
        (manager for manager in managed if manager.operation == "Update"),
        key=lambda manager: (managed[manager].time or "", manager.name),
    )
    found = dict(managed)
    surplus = len(updaters) - MAX_UPDATERS
    for manager in updaters:
        if surplus <= 0:
            break
        if manager.name == ANCIENT:
            continue
        owned = found.pop(manager)
        bucket = replace(manager, name=ANCIENT, subresource="")
        if bucket in found:
            older = found[bucket]
            merged = fieldset.union(older.fields, owned.fields)
            found[bucket] = Owned(merged, owned.api_version, owned.time)
            surplus -= 1
        else:
            found[bucket] = owned
    return found
