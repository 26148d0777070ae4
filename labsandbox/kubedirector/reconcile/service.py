"""The services of a kdcluster: one headless, and one for each member with ports."""

from __future__ import annotations

from labsandbox.client.resources import SERVICES
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import manifest, naming
from labsandbox.kubedirector.model import (
    ANNOTATION_TOKEN,
    CONFIG_ERROR,
    CONFIGURED,
    CREATE_PENDING,
    CREATING,
    NO_SERVICE,
    Object,
    annotations_of,
    is_owned,
    owner_reference,
)
from labsandbox.kubedirector.reconcile.context import Context, Role
from labsandbox.kubedirector.reconcile.plan import Create, Patch

_SERVED = (CREATE_PENDING, CREATING, CONFIGURED, CONFIG_ERROR)
_ATTEMPTS = 10


def sync_headless(ctx: Context) -> None:
    """Make sure that the headless service exists."""
    name = ctx.status.get("clusterService") or ""
    found = ctx.observed.services.get(name) if name else None
    if found is not None:
        _repair_owner(ctx, found)
        return
    if name:
        ctx.plan.note("Cluster", "re-creating missing cluster service")
    else:
        name = _free_name(ctx)
        ctx.status["clusterService"] = name
    service = manifest.headless_service(ctx.cluster, ctx.app, name)
    ctx.plan.actions.append(Create(SERVICES, service, "failed to create cluster service"))


def sync_members(ctx: Context) -> None:
    """Make sure that every member has its service, and the service its token and type."""
    for role, member in ctx.members():
        if role.spec and member["state"] in _SERVED and member.get("service") != NO_SERVICE:
            _sync_member(ctx, role, role.spec, member)


def _sync_member(ctx: Context, role: Role, spec: Object, member: Object) -> None:
    pod = member["pod"]
    name = member.get("service") or naming.member_service(pod, ctx.naming_scheme)
    found = ctx.observed.services.get(name)
    if apps.has_token(ctx.app, role.id) and not member.get("authToken"):
        member["authToken"] = _token(ctx, role, found)
    token = member.get("authToken")
    if found is not None:
        member["service"] = name
        _repair_owner(ctx, found)
        _repair_token(ctx, found, token)
        _repair_type(ctx, found)
        return
    where = f"for member{{{pod}}} in role{{{role.id}}}"
    if member.get("service"):
        ctx.plan.note("Member", f"re-creating missing service {where}")
    service = manifest.member_service(ctx.cluster, ctx.app, spec, pod, ctx.observed.settings, token)
    if service is None:
        member["service"] = NO_SERVICE
        return
    member["service"] = name
    failure = f"failed to create member service {where}"
    ctx.plan.actions.append(Create(SERVICES, service, failure))


def _token(ctx: Context, role: Role, service: Object | None) -> str:
    """Return the token of a role's members.

    A service that was created before its token was written down keeps its token.
    differs: members of a role share one token. In the original each draws its own, but is told
    only the last one, so that the others' services are annotated with a token nobody accepts.
    """
    known = annotations_of(service).get(ANNOTATION_TOKEN) if service else None
    others = [member["authToken"] for member in role.members if member.get("authToken")]
    return known or (others[0] if others else ctx.observed.token)


def _repair_owner(ctx: Context, service: Object) -> None:
    if not is_owned(service, ctx.cluster):
        patch = {"metadata": {"ownerReferences": [owner_reference(ctx.cluster)]}}
        name = service["metadata"]["name"]
        ctx.plan.actions.append(Patch(SERVICES, name, patch, f"failed to update service{{{name}}}"))


def _repair_token(ctx: Context, service: Object, token: str | None) -> None:
    if token and annotations_of(service).get(ANNOTATION_TOKEN) != token:
        patch = {"metadata": {"annotations": {ANNOTATION_TOKEN: token}}}
        name = service["metadata"]["name"]
        ctx.plan.actions.append(Patch(SERVICES, name, patch, f"failed to update service{{{name}}}"))


def _repair_type(ctx: Context, service: Object) -> None:
    wanted = manifest.service_type(ctx.cluster, ctx.observed.settings)
    found, name = service["spec"].get("type") or "ClusterIP", service["metadata"]["name"]
    if found != wanted:
        ctx.plan.note(
            "Member", f"modifying serviceType from {found} to {wanted} for service{{{name}}}"
        )
        patch = {"spec": {"type": wanted}}
        ctx.plan.actions.append(Patch(SERVICES, name, patch, f"failed to update service{{{name}}}"))


def _free_name(ctx: Context) -> str:
    for attempt in range(_ATTEMPTS):
        name = naming.headless_service(ctx.cluster, ctx.naming_scheme, attempt)
        found = ctx.observed.services.get(name)
        if found is None or is_owned(found, ctx.cluster):
            return name
    raise LookupError(f"All names for the headless service of {ctx.cluster['metadata']} are taken.")
