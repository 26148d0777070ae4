"""The roles of a kdcluster: their StatefulSets, and how many members they have."""

from __future__ import annotations

from labsandbox.client.resources import STATEFULSETS
from labsandbox.kubedirector import manifest, naming, volume
from labsandbox.kubedirector.model import (
    CONFIG_ERROR,
    CONFIGURED,
    CREATE_PENDING,
    CREATING,
    DELETE_PENDING,
    DELETING,
    Object,
    is_owned,
    owner_reference,
)
from labsandbox.kubedirector.reconcile.context import FINAL, Context, Role, detail_of
from labsandbox.kubedirector.reconcile.notify import is_announced
from labsandbox.kubedirector.reconcile.plan import Create, Delete, Patch

_ATTEMPTS = 10


def sync_roles(ctx: Context) -> bool:
    """Bring roles and member records in line with the spec; say whether membership changed."""
    # Members that are being set up were told who is there; wait until they can be told anew.
    if any(role.in_state(CREATING) for role in ctx.roles):
        return False
    changed = False
    for role in ctx.roles:
        if role.status is None:
            changed = _create(ctx, role) or changed
        elif role.stateful_set is None:
            changed = _restore(ctx, role) or changed
        else:
            _repair(ctx, role)
            if not role.members and not role.wanted:
                _remove(ctx, role)
            else:
                changed = _resize(ctx, role) or changed
    _drop_removed(ctx)
    return changed


def is_settled(ctx: Context) -> bool:
    """Say whether every member is final and has processed everything there is to process."""
    current = ctx.connection_version
    for role, member in ctx.members():
        detail = detail_of(member)
        if member["state"] not in FINAL:
            return False
        if member["state"] == CONFIGURED:
            if detail.get("lastSetupGeneration", ctx.generation) != ctx.generation:
                return False
            if detail.get("lastConfigDataGeneration", ctx.generation) != ctx.generation:
                return False
            if detail.get("pendingNotifyCmds"):
                return False
        version = detail.get("lastConnectionVersion", 0)
        if version < current and ctx.has_package(role.id):
            return False
    return True


def expected_replicas(ctx: Context, role: Role) -> int:
    """Return how many pods the StatefulSet is to have now.

    A member that goes away keeps its pod until the others have heard of it.
    """
    staying = role.in_state(CREATE_PENDING, CREATING, CONFIGURED, CONFIG_ERROR, DELETE_PENDING)
    leaving = [m for m in role.in_state(DELETING) if not is_announced(ctx, m["pod"])]
    return len(staying) + len(leaving)


def sync_replicas(ctx: Context, role: Role) -> bool:
    """Scale the StatefulSet if needed; say whether it has the right size already."""
    if role.stateful_set is None:
        return False
    wanted = expected_replicas(ctx, role)
    found = int(role.stateful_set["spec"].get("replicas") or 0)
    if found == wanted:
        return True
    ctx.plan.note("Role", f"changing replicas count for role{{{role.id}}}: {found} -> {wanted}")
    name = role.stateful_set["metadata"]["name"]
    failure = f"failed to change StatefulSet{{{name}}} replicas"
    ctx.plan.actions.append(Patch(STATEFULSETS, name, {"spec": {"replicas": wanted}}, failure))
    return False


def _create(ctx: Context, role: Role) -> bool:
    """Begin a role: its StatefulSet, its record and the records of its members."""
    if not role.wanted or role.spec is None:
        return False
    ctx.plan.note("Role", f"creating role{{{role.id}}}")
    role.status = {"id": role.id, "statefulSet": _free_name(ctx, role.id), "members": []}
    keys = {k["name"]: k.get("encryptedValue", "") for k in role.spec.get("secretKeys") or []}
    if keys:
        role.status["encryptedSecretKeys"] = keys
    ctx.status["roles"].append(role.status)
    _create_stateful_set(ctx, role, role.spec)
    _add_members(ctx, role, role.spec)
    return True


def _create_stateful_set(ctx: Context, role: Role, spec: Object) -> None:
    assert role.status is not None
    ctx.plan.actions.append(
        Create(
            STATEFULSETS,
            manifest.stateful_set(
                ctx.cluster,
                ctx.app,
                spec,
                role.status["statefulSet"],
                ctx.status["clusterService"],
                ctx.observed.settings,
            ),
            f"failed to create StatefulSet for role{{{role.id}}}",
        )
    )


def _restore(ctx: Context, role: Role) -> bool:
    """Deal with a StatefulSet that is not there: never made, or deleted by somebody."""
    assert role.status is not None
    is_young = all(
        m["state"] == CREATE_PENDING and not detail_of(m).get("lastConfiguredContainer")
        for m in role.members
    )
    if is_young and role.spec and role.wanted:
        _create_stateful_set(ctx, role, role.spec)
        if role.members:
            return False
        _add_members(ctx, role, role.spec)
        return True
    if not role.members:
        role.status["statefulSet"] = ""
        return False
    changed = False
    for member in role.members:
        goal = DELETE_PENDING if member["state"] in FINAL else DELETING
        if member["state"] not in (DELETE_PENDING, DELETING):
            member["state"] = goal
            changed = True
    if changed:
        ctx.plan.note("Role", f"restoring role{{{role.id}}}")
    return changed


def _repair(ctx: Context, role: Role) -> None:
    assert role.stateful_set is not None
    if not is_owned(role.stateful_set, ctx.cluster):
        name = role.stateful_set["metadata"]["name"]
        patch = {"metadata": {"ownerReferences": [owner_reference(ctx.cluster)]}}
        failure = f"failed to update StatefulSet{{{name}}}"
        ctx.plan.actions.append(Patch(STATEFULSETS, name, patch, failure))


def _remove(ctx: Context, role: Role) -> None:
    assert role.status is not None
    ctx.plan.note("Role", f"finishing cleanup on role{{{role.id}}}")
    name = role.status["statefulSet"]
    failure = f"failed to delete StatefulSet{{{name}}}"
    ctx.plan.actions.append(Delete(STATEFULSETS, name, failure))
    role.status["statefulSet"] = ""


def _drop_removed(ctx: Context) -> None:
    """Forget the roles that are gone."""
    ctx.status["roles"] = [role for role in ctx.status["roles"] if role["statefulSet"]]
    for role in ctx.roles:
        if role.status is not None and not role.status["statefulSet"]:
            role.status = role.stateful_set = None
    ctx.roles = [role for role in ctx.roles if role.spec or role.status]


def _resize(ctx: Context, role: Role) -> bool:
    active = role.in_state(CREATE_PENDING, CONFIGURED, CONFIG_ERROR)
    if role.wanted > len(active):
        if len(active) != len(role.members) or role.spec is None:
            return False  # members that go away must be gone before their names are used again
        ctx.plan.note("Role", f"expanding role{{{role.id}}}")
        _add_members(ctx, role, role.spec)
        return True
    if role.wanted < len(active):
        ctx.plan.note("Role", f"shrinking role{{{role.id}}}")
        for member in role.members[role.wanted :]:
            if member["state"] == CREATE_PENDING:
                member["state"] = DELETING
            elif member["state"] in FINAL:
                member["state"] = DELETE_PENDING
        return True
    return False


def _add_members(ctx: Context, role: Role, spec: Object) -> None:
    assert role.status is not None
    for ordinal in range(len(role.members), role.wanted):
        ctx.status["lastNodeID"] += 1
        pod = naming.pod(role.status["statefulSet"], ordinal)
        member: Object = {
            "pod": pod,
            "service": "",
            "nodeID": ctx.status["lastNodeID"],
            "state": CREATE_PENDING,
            "stateDetail": {},
        }
        if spec.get("storage"):
            member["pvc"] = naming.claim(pod)
        paths = volume.device_paths(spec)
        if paths:
            member["blockDevicePaths"] = paths
        role.members.append(member)


def _free_name(ctx: Context, role_id: str) -> str:
    for attempt in range(_ATTEMPTS):
        name = naming.stateful_set(ctx.cluster, role_id, ctx.naming_scheme, attempt)
        found = ctx.observed.stateful_sets.get(name)
        if found is None or is_owned(found, ctx.cluster):
            return name
    raise LookupError(f"All names for the StatefulSet of role {role_id} are taken.")
