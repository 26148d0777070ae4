"""Questions about a KubeDirectorApp: its roles, services, ports and setup packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labsandbox.kubedirector.model import DEFAULT_LOG_SIZE, Object

# Directories kept on a member's volume besides those the app names, by setup layout.
_PERSISTED_BARE = ["/etc"]
_PERSISTED_LEGACY = ["/etc", "/opt", "/usr"]
_PERSISTED_NEW = [
    "/etc",
    "/opt/guestconfig",
    "/var/log/guestconfig",
    "/usr/local/bin",
    "/usr/local/lib",
]

Lookup = Callable[[str, str], Object | None]


@dataclass(frozen=True, slots=True)
class Package:
    """Where a role's setup package comes from."""

    url: str
    new_layout: bool


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a role, named after the service it belongs to."""

    id: str
    number: int
    scheme: str
    has_token: bool

    @property
    def service_port_name(self) -> str:
        """Return the port's name in a member service."""
        return f"{self.scheme.lower()}-{self.id}" if self.scheme else f"generic-{self.id}"


def find(cluster: Object, system_namespace: str, lookup: Lookup) -> Object | None:
    """Return the app a kdcluster names, looked up (namespace, name) as its appCatalog says."""
    spec, namespace = cluster["spec"], cluster["metadata"]["namespace"]
    catalog, name = spec.get("appCatalog"), spec.get("app", "")
    if catalog == "local":
        return lookup(namespace, name)
    if catalog == "system":
        return lookup(system_namespace, name)
    return lookup(namespace, name) or lookup(system_namespace, name)


def roles(app: Object) -> list[Object]:
    """Return the roles an app defines."""
    return list(app["spec"].get("roles") or [])


def services(app: Object) -> list[Object]:
    """Return the services an app defines."""
    return list(app["spec"].get("services") or [])


def role(app: Object | None, role_id: str) -> Object | None:
    """Return one role of an app, or None."""
    return next((r for r in roles(app) if r["id"] == role_id), None) if app else None


def service(app: Object, service_id: str) -> Object | None:
    """Return one service of an app, or None."""
    return next((s for s in services(app) if s["id"] == service_id), None)


def selected_roles(app: Object) -> list[str]:
    """Return the roles that are active."""
    return list(app["spec"]["config"].get("selectedRoles") or [])


def service_ids(app: Object, role_id: str) -> list[str]:
    """Return the services that run in a role."""
    pairs = app["spec"]["config"].get("roleServices") or []
    return [i for pair in pairs if pair["roleID"] == role_id for i in pair["serviceIDs"]]


def cardinality(app_role: Object) -> tuple[int, bool]:
    """Return the number of members a role needs, and whether it may have more."""
    text = app_role["cardinality"]
    return int(text.rstrip("+")), text.endswith("+")


def ports(app: Object | None, role_id: str) -> list[Port]:
    """Return the ports that members of a role offer."""
    if app is None:
        return []
    found = []
    for service_id in service_ids(app, role_id):
        endpoint = (service(app, service_id) or {}).get("endpoint") or {}
        if endpoint.get("port"):
            found.append(
                Port(
                    service_id,
                    int(endpoint["port"]),
                    endpoint.get("urlScheme") or "",
                    bool(endpoint.get("hasAuthToken")),
                )
            )
    return found


def has_token(app: Object | None, role_id: str) -> bool:
    """Say whether a service of the role is protected by a token."""
    return any(port.has_token for port in ports(app, role_id))


def package(app: Object | None, role_id: str) -> Package | None:
    """Return the setup package of a role, or None when it has none."""
    app_role = role(app, role_id)
    if app is None or app_role is None:
        return None
    # Absent means "as the app's default says", null means "explicitly none".
    found = app_role.get("configPackage", app["spec"].get("defaultConfigPackage"))
    return Package(found["packageURL"], bool(found.get("useNewSetupLayout"))) if found else None


def wants_event(app: Object | None, role_id: str, event: str) -> bool:
    """Say whether a role's start script is called for configure, addnodes or delnodes."""
    events = (role(app, role_id) or {}).get("eventList")
    return events is None or event in events


def log_size(app: Object | None, role_id: str) -> int:
    """Return how many bytes of a start script's output go into the status."""
    size = (role(app, role_id) or {}).get("maxLogSizeDump")
    return DEFAULT_LOG_SIZE if size is None else int(size)


def persisted(app: Object, role_id: str) -> list[str]:
    """Return the directories of a role that live on its volume; no one lies within another."""
    setup = package(app, role_id)
    layout = _PERSISTED_BARE
    if setup:
        layout = _PERSISTED_NEW if setup.new_layout else _PERSISTED_LEGACY
    wanted = [*layout, *((role(app, role_id) or {}).get("persistDirs") or [])]
    kept: list[str] = []
    for path in wanted:
        covered = any(path != other and path.startswith(other + "/") for other in wanted)
        if not covered and path not in kept:
            kept.append(path)
    return kept
