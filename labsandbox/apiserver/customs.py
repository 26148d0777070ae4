"""Custom resources: what CustomResourceDefinitions in the store add to the catalog."""

from __future__ import annotations

import asyncio
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.registry import ResourceDef, Subresource
from labsandbox.apiserver.registry.resource import STANDARD_VERBS, Strategy
from labsandbox.apiserver.removal import clean_up
from labsandbox.apiserver.store import Change, Stale
from labsandbox.apiserver.store.record import DELETED
from labsandbox.apiserver.verbs.manage import track
from labsandbox.apiserver.verbs.objects import full_object, now

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api
    from labsandbox.apiserver.crd import CustomKind, CustomVersion

Json = dict[str, Any]
_LOG = logging.getLogger(__name__)
_AGE_COLUMN = [
    {
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp",
        "description": "CreationTimestamp is a timestamp representing the server time when this "
        "object was created. It is not guaranteed to be set in happens-before order across "
        "separate operations. Clients may not set this value. It is represented in RFC3339 form "
        "and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
        "#metadata",
    }
]
BUCKET = "customresourcedefinitions.apiextensions.k8s.io"


class Custom:
    """The kind one CRD defines, in all its versions."""

    def __init__(self, definition: Json, since: int) -> None:
        self.definition = definition
        self.spec: Json = definition["spec"]
        self.terminating = False
        self.since = since
        """Objects written before this revision are read through the schema again."""
        self._versions = {version["name"]: version for version in self.spec["versions"]}
        self.storage_version = next(
            (version["name"] for version in self.spec["versions"] if version.get("storage")), ""
        )

    @cached_property
    def kind(self) -> CustomKind:
        from labsandbox.apiserver.crd import CustomKind

        return CustomKind(self.definition)

    def version(self, name: str) -> CustomVersion:
        """The shape of a version."""
        return self.kind.version(name)

    def is_current(self, version: str, revision: int) -> bool:
        """Is an object of this revision stored just as `version` shows it?"""
        return version == self.storage_version and revision >= self.since

    def selectable_fields(self, name: str) -> list[str]:
        fields = self._versions[name].get("selectableFields") or ()
        return [field["jsonPath"].lstrip(".") for field in fields]

    def printer_columns(self, name: str) -> list[Json]:
        columns: list[Json] = self._versions[name].get("additionalPrinterColumns") or []
        return columns or _AGE_COLUMN

    def deprecation_warning(self, name: str) -> str:
        version = self._versions[name]
        if not version.get("deprecated"):
            return ""
        default = f"{self.spec['group']}/{name} {self.spec['names']['kind']} is deprecated"
        return version.get("deprecationWarning") or default

    def rows(self) -> list[ResourceDef]:
        """A row of the catalog for each served version."""
        return [self._row(version) for version in self.spec["versions"] if version.get("served")]

    def _row(self, version: Json) -> ResourceDef:
        names = self.spec["names"]
        below = version.get("subresources") or {}
        subresources = {}
        if below.get("status") is not None:
            subresources["status"] = Subresource(
                "status", names["kind"], ("get", "patch", "update")
            )
        if below.get("scale") is not None:
            subresources["scale"] = Subresource(
                "scale", "Scale", ("get", "patch", "update"), "autoscaling", "v1"
            )
        return ResourceDef(
            group=self.spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            namespaced=self.spec.get("scope") == "Namespaced",
            verbs=STANDARD_VERBS,
            subresources=subresources,
            strategy=Strategy(
                generation=True, status="status" in subresources, unconditional_update=False
            ),
            storage_hash=_hash(self.spec["group"], self.storage_version, names["kind"]),
            list_kind=names.get("listKind") or f"{names['kind']}List",
            custom=self,
        )


def _hash(group: str, version: str, kind: str) -> str:
    from base64 import b64encode
    from hashlib import sha256

    return b64encode(sha256(f"{group}/{version}/{kind}".encode()).digest()[:8]).decode()


class Customs:
    """Keeps the catalog in step with the definitions in the store."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._rows: dict[str, list[ResourceDef]] = {}
        self._accepting: set[asyncio.Task[None]] = set()
        for record in api.store.bucket(BUCKET).ordered(None):
            self._serve(record.load(), record.revision)
        api.store.listeners.append(self._changed)

    def start(self) -> None:
        """Accept definitions a crash left unaccepted; call it on the running loop."""
        for record in self._api.store.bucket(BUCKET).ordered(None):
            self._accept_later(record.name)

    def _changed(self, change: Change) -> None:
        if change.bucket != BUCKET:
            return
        definition = change.after.load()
        name = definition["metadata"]["name"]
        if change.kind == DELETED:
            self._stop(name)
        else:
            self._serve(definition, change.revision)
            self._accept_later(name)

    def _accept_later(self, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self._accept(name))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    async def _accept(self, name: str) -> None:
        """Write what the server thinks of a definition into its status."""
        store = self._api.store
        resource = self._api.resource("apiextensions.k8s.io", "customresourcedefinitions")
        while (record := store.latest(BUCKET, "", name)) is not None:
            definition = full_object(resource, record)
            if definition["metadata"].get("deletionTimestamp"):
                await clean_up(self._api, name)
                return
            others = self._api.list("apiextensions.k8s.io", "customresourcedefinitions")
            status = accepted_status(definition, others)
            if status == definition.get("status"):
                return
            new = {**definition, "metadata": dict(definition["metadata"]), "status": status}
            new = track(resource, definition, new, "kube-apiserver", "status")
            try:
                await store.write(BUCKET, "", name, new, record)
            except Stale:
                continue
            return

    def _serve(self, definition: Json, revision: int) -> None:
        name = definition["metadata"]["name"]
        if not is_established(definition):
            return
        old = self._rows.get(name, [])
        if old and old[0].custom.spec == definition["spec"]:
            old[0].custom.terminating = bool(definition["metadata"].get("deletionTimestamp"))
            return
        try:
            rows = Custom(definition, revision).rows()
        except (KeyError, TypeError):
            _LOG.exception("the definition %s cannot be served", name)
            return
        custom = rows[0].custom if rows else None
        if custom is not None:
            custom.terminating = bool(definition["metadata"].get("deletionTimestamp"))
        kept = {(row.group, row.version, row.plural) for row in rows}
        for row in old:
            if (row.group, row.version, row.plural) not in kept:
                self._api.catalog.remove(row)
        for row in rows:
            self._api.catalog.add(row)
        self._rows[name] = rows

    def _stop(self, name: str) -> None:
        for row in self._rows.pop(name, []):
            self._api.catalog.remove(row)
            self._api.hub.end_all(row.bucket)


def accepted_status(definition: Json, others: list[Json]) -> Json:
    """The status of a definition: conditions, accepted names, stored versions."""
    from labsandbox.apiserver import crd

    status: Json = crd.accepted_status(definition, others, now())
    return status


def is_established(definition: Json) -> bool:
    """Has the API server accepted the names of a definition?"""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)
