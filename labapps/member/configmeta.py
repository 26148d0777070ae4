"""Read `/etc/guestconfig/configmeta.json`: what KubeDirector tells a member about its cluster.

The operator replaces the whole file at every change, so a reader may meet half of it: such a
file is "not there yet", never an error.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CONFIGMETA", "Configmeta", "Member", "Secret", "follow", "read"]

CONFIGMETA = "/etc/guestconfig/configmeta.json"


@dataclass(frozen=True)
class Member:
    """One pod of a role."""

    role: str
    node: str
    host: str


@dataclass(frozen=True)
class Secret:
    """A connected Secret with its values decoded."""

    name: str
    labels: dict[str, str]
    data: dict[str, str]


class Configmeta:
    """The parsed file, with its reference keys followed."""

    def __init__(self, text: bytes) -> None:
        self.document: dict[str, Any] = json.loads(text)
        self.digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
        if not isinstance(self.document.get("node"), dict):
            raise ValueError("configmeta.json has no node yet")

    @property
    def role(self) -> str:
        return str(self.document["node"]["role_id"])

    @property
    def host(self) -> str:
        return str(self.document["node"].get("fqdn") or self.document["node"].get("hostname"))

    @property
    def cluster(self) -> str:
        return str(self.document.get("cluster", {}).get("name", ""))

    @property
    def cluster_id(self) -> str:
        return str(self.document.get("cluster", {}).get("id", ""))

    @property
    def namespace(self) -> str:
        """The namespace, taken from `<pod>.<service>.<namespace>.svc…`."""
        parts = self.host.split(".")
        return parts[2] if len(parts) > 3 else "default"

    def flavor(self) -> dict[str, Any]:
        """Return the size of this member: cores and memory in MiB, as text."""
        for body in self._roles(None).get(self.role, []):
            return dict(body.get("flavor") or {})
        return {}

    def members(self, role: str, cluster: str | None = None) -> list[Member]:
        """List the members of a role of this cluster, or of a connected one."""
        found = []
        for body in self._roles(cluster).get(role, []):
            hosts = self._value(body.get("fqdns") or body.get("hostnames") or []) or []
            nodes = body.get("node_ids") or []
            mappings = body.get("fqdn_mappings") or {}
            for index, host in enumerate(hosts):
                node = mappings.get(host) or (nodes[index] if index < len(nodes) else "")
                found.append(Member(role, str(node), str(host)))
        return found

    def endpoints(self, role: str, service: str, cluster: str | None = None) -> list[str]:
        """List the endpoints of a service of a role."""
        found: list[str] = []
        for body in self._roles(cluster).get(role, []):
            entry = body.get("services", {}).get(service) or {}
            found += [str(e) for e in self._value(entry.get("endpoints") or []) or []]
        return found

    def tokens(self) -> frozenset[str]:
        """Return every token of this cluster's services: a member accepts each of them."""
        found: set[str] = set()
        for bodies in self._roles(None).values():
            for body in bodies:
                for service in body.get("services", {}).values():
                    found |= set(_words(service.get("authToken")))
        return frozenset(found)

    def token(self, role: str, service: str, cluster: str) -> str:
        """Return the token of a service of a connected cluster; empty when it asks for none."""
        bodies = self._roles(cluster).get(role, [])
        found = (body.get("services", {}).get(service, {}).get("authToken") for body in bodies)
        return next((word for value in found for word in _words(value)), "")

    def connected_clusters(self) -> dict[str, dict[str, Any]]:
        clusters = self._connections().get("clusters") or {}
        return {str(k): v for k, v in clusters.items() if isinstance(v, dict)}

    def config_metadata(self, cluster: str) -> dict[str, Any]:
        """Return the configMeta of the application a connected cluster runs."""
        groups = self.connected_clusters().get(cluster, {}).get("nodegroups") or {}
        return next((dict(g.get("config_metadata") or {}) for g in groups.values()), {})

    def configmaps(self, kind: str) -> list[dict[str, Any]]:
        """List the connected ConfigMaps whose cmType label is `kind`."""
        return list((self._connections().get("configmaps") or {}).get(kind) or [])

    def secrets(self, kind: str) -> list[Secret]:
        """List the connected Secrets whose secretType label is `kind`, decoded."""
        found = []
        for body in (self._connections().get("secrets") or {}).get(kind) or []:
            meta = body.get("metadata") or {}
            found.append(
                Secret(
                    _decode(meta.get("name", "")),
                    {k: _decode(v) for k, v in (body.get("labels") or {}).items()},
                    {k: _decode(v) for k, v in (body.get("data") or {}).items()},
                )
            )
        return found

    def secret_kinds(self) -> list[str]:
        return list(self._connections().get("secrets") or {})

    def _connections(self) -> dict[str, Any]:
        return self.document.get("connections") or {}

    def _roles(self, cluster: str | None) -> dict[str, list[dict[str, Any]]]:
        top = self.document if cluster is None else self.connected_clusters().get(cluster, {})
        roles: dict[str, list[dict[str, Any]]] = {}
        for group in (top.get("nodegroups") or {}).values():
            for name, body in (group.get("roles") or {}).items():
                roles.setdefault(name, []).append(body)
        return roles

    def _value(self, value: Any) -> Any:
        """Follow a `bdvlibrefkey` to what it points at."""
        if not isinstance(value, dict) or "bdvlibrefkey" not in value:
            return value
        found: Any = self.document
        for key in value["bdvlibrefkey"]:
            found = found.get(key) if isinstance(found, dict) else None
        return found


def _words(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if item:
            yield str(item)


def _decode(value: Any) -> str:
    """Decode one base64 value; a value that is none stays as it is."""
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return str(value)


def read(path: Path) -> Configmeta | None:
    """Read the file; None while it is missing or incomplete."""
    try:
        return Configmeta(path.read_bytes())
    except (OSError, ValueError, KeyError):
        return None


async def follow(path: Path, every: float = 0.1) -> AsyncIterator[Configmeta]:
    """Yield the file now and after each change, for ever.

    A look costs one `stat`. The start script's `--reconnect` waits until the change was applied
    (see `applied.py`), so both ways of telling an application lead here.
    """
    seen: tuple[int, int, int] | None = None
    digest = ""
    while True:
        try:
            stat = os.stat(path)
            now = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            now = None
        if now is not None and now != seen:
            meta = await asyncio.to_thread(read, path)
            if meta is not None:
                seen = now
                if meta.digest != digest:
                    digest = meta.digest
                    yield meta
        await asyncio.sleep(every)
