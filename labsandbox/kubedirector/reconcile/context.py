"""One reconcile pass under way: the status being worked on, and short ways to its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector.model import (
    ANNOTATION_HASH,
    CONFIG_ERROR,
    CONFIGURED,
    Object,
    annotations_of,
    counter,
    roles_of,
)
from labsandbox.kubedirector.reconcile.plan import Observed, Plan

FINAL = (CONFIGURED, CONFIG_ERROR)


@dataclass(slots=True)
class Role:
    """A role that is wanted, or exists, or both."""

    id: str
    spec: Object | None
    status: Object | None
    stateful_set: Object | None

    @property
    def members(self) -> list[Object]:
        """Return the role's member records."""
        return self.status["members"] if self.status else []

    @property
    def wanted(self) -> int:
        """Return how many members the spec asks for."""
        return int(self.spec["members"]) if self.spec else 0

    def in_state(self, *states: str) -> list[Object]:
        """Return the members in any of these states."""
        return [member for member in self.members if member["state"] in states]


@dataclass
class Context:
    """What the steps of a pass share."""

    observed: Observed
    plan: Plan
    status: Object
    roles: list[Role] = field(default_factory=list)

    @cached_property
    def cluster(self) -> Object:
        """Return the kdcluster as it was observed."""
        return self.observed.cluster

    @cached_property
    def app(self) -> Object:
        """Return the app, which steps after the first may rely on."""
        assert self.observed.app is not None
        return self.observed.app

    @property
    def generation(self) -> int:
        """Return the configuration generation members are to have."""
        return int(self.status["specGenerationToProcess"])

    @property
    def connection_version(self) -> int:
        """Return how often the connections changed, this pass included."""
        planned = self.plan.annotations.get(ANNOTATION_HASH)
        if planned is not None:
            return int(planned)
        # A replaced kdcluster may have lost the annotation; counting must never go backwards.
        told = [
            int(detail_of(member).get("lastConnectionVersion", 0)) for _, member in self.members()
        ]
        return max([counter(annotations_of(self.cluster), ANNOTATION_HASH), *told])

    @property
    def naming_scheme(self) -> str:
        """Return how objects are named."""
        return str(self.cluster["spec"].get("namingScheme") or self.observed.settings.naming_scheme)

    def members(self) -> list[tuple[Role, Object]]:
        """Return all member records with their roles."""
        return [(role, member) for role in self.roles for member in role.members]

    def has_package(self, role_id: str) -> bool:
        """Say whether a role has a setup package."""
        return apps.package(self.app, role_id) is not None


def detail_of(member: Object) -> Object:
    """Return a member's state detail, which is always there."""
    detail: Object = member.setdefault("stateDetail", {})
    return detail


def load_roles(observed: Observed, status: Object) -> list[Role]:
    """Return wanted and existing roles, the wanted ones first and in their order."""
    existing = {role["id"]: role for role in status["roles"]}
    found = [
        Role(spec["id"], _counted(observed, spec), existing.pop(spec["id"], None), None)
        for spec in roles_of(observed.cluster)
    ]
    found += [Role(name, None, status_, None) for name, status_ in existing.items()]
    for role in found:
        if role.status:
            role.stateful_set = observed.stateful_sets.get(role.status["statefulSet"])
    return found


def _counted(observed: Observed, spec: Object) -> Object:
    """Return a role with its member count; the webhook was not there if it is missing."""
    if spec.get("members") is not None:
        return spec
    app_role = apps.role(observed.app, spec["id"])
    return spec | {"members": apps.cardinality(app_role)[0] if app_role else 0}
