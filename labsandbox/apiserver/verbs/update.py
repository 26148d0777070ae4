"""update: PUT of a whole object; also the second half of every patch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace as replace_fields
from typing import Any

from labsandbox.apiserver import admission, work
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.authorization import attributes_of, check
from labsandbox.apiserver.auth.escalation import check_escalation
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import is_heavy, shape_of, validate_update
from labsandbox.apiserver.patch import settle
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.registry.conversion import to_storage
from labsandbox.apiserver.status import (
    bad_request,
    conflict,
    invalid,
    not_found,
    server_error,
)
from labsandbox.apiserver.store import Record, Stale
from labsandbox.apiserver.strategies import prepare_update
from labsandbox.apiserver.validation.goprint import quote
from labsandbox.apiserver.validation.warnings import warnings_for
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.create import AFTER_ADMISSION, check_address, create_object
from labsandbox.apiserver.verbs.manage import drop_repeated_owners, track
from labsandbox.apiserver.verbs.objects import full_object, registry_path
from labsandbox.apiserver.verbs.options import Problem, WriteOptions, write_options
from labsandbox.apiserver.verbs.read import respond, respond_object

Json = dict[str, Any]
_TRIES = 50


def check_may_create(api: Api, request: Request) -> None:
    """An update or apply that creates needs the right to create as well."""
    asked = attributes_of(request)
    check(api.rbac, request.user, replace_fields(asked, verb="create"))


def check_name(obj: Json, name: str) -> None:
    """The object's name must be the one of the path."""
    given = (obj.get("metadata") or {}).get("name") or ""
    if not given:
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: "
            "name must be provided"
        )
    if given != name:
        raise bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )


async def update(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Replace the object with the one in the body."""
    accepted = accept(request.headers.get("accept", ""))
    options = write_options(request, "UpdateOptions")
    obj = await read_object(request, resource, shape_of(resource), options.validation)
    check_address(obj, resource, request.in_namespace)
    check_name(obj, request.name)
    obj = await work.run(shape_of(resource).default, obj)
    made, created = await replace(api, request, resource, obj, options)
    status = 201 if created else 200
    if isinstance(made, Record):
        return respond(api, request, resource, made, accepted, status)
    return respond_object(api, request, resource, made, accepted, status)


async def replace(
    api: Api, request: Request, resource: ResourceDef, obj: Json, options: WriteOptions
) -> tuple[Record | Json, bool]:
    """Put `obj` in the place of the stored one; True when it did not exist before."""
    namespace, name = request.in_namespace, request.name
    tries = _TRIES
    while True:
        record = api.store.latest(resource.bucket, namespace, name)
        if record is None:
            if not resource.strategy.update_creates:
                raise not_found(resource, name)
            obj["metadata"].pop("resourceVersion", None)
            check_may_create(api, request)
            made = await create_object(
                api, request.user, resource, namespace, obj, options, request.warnings
            )
            return made, True
        new = {**obj, "metadata": dict(obj["metadata"])}
        _check_version(resource, new, record)
        old = full_object(resource, record)
        _check_uid(resource, new, old, namespace, name)
        if not (new["metadata"].get("managedFields") or None):
            managed = old["metadata"].get("managedFields")
            if managed is not None and "managedFields" not in obj["metadata"]:
                new["metadata"]["managedFields"] = managed
        try:
            made = await finish(api, request, resource, record, old, new, options)
        except Stale:
            tries -= 1
            if obj["metadata"].get("resourceVersion") or tries <= 0:
                raise conflict(resource, name) from None
            continue
        return made, False


def _check_version(resource: ResourceDef, new: Json, record: Record) -> None:
    given = new["metadata"].get("resourceVersion") or ""
    if not given or given == "0":
        if resource.custom is not None or not resource.strategy.unconditional_update:
            problem = Problem(
                "metadata.resourceVersion",
                "FieldValueInvalid",
                "Invalid value: 0x0: must be specified for an update",
            )
            raise invalid(resource.group, resource.plural, record.name, [problem])
        return
    if given != str(record.revision):
        check_revision(given)
        raise conflict(resource, record.name)


def check_revision(text: str) -> None:
    """A resourceVersion that is no number fails inside the server."""
    if not (text.isascii() and text.isdigit()):
        raise server_error(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if int(text) >= 2**64:
        raise server_error(f"strconv.ParseUint: parsing {quote(text)}: value out of range")


def _check_uid(resource: ResourceDef, new: Json, old: Json, namespace: str, name: str) -> None:
    given = new["metadata"].get("uid") or ""
    stored = old["metadata"].get("uid", "")
    if given and given != stored:
        why = (
            f"StorageError: invalid object, Code: 4, "
            f"Key: {registry_path(resource, namespace, name)}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, "
            f"UID in object meta: {stored}"
        )
        raise conflict(resource, name, why)


async def finish(
    api: Api,
    request: Request,
    resource: ResourceDef,
    record: Record,
    old: Json,
    new: Json,
    options: WriteOptions,
    *,
    managed: bool = False,
) -> Record | Json:
    """Prepare, admit, validate and store `new` in place of `old`, which `record` holds."""
    subresource = request.subresource
    namespace, name = request.in_namespace, request.name
    if is_heavy(resource):
        work.add(work.LARGE)
    drop_repeated_owners(new, request.warnings)
    if not managed and subresource != "ephemeralcontainers":
        new = await work.run(track, resource, old, new, options.manager, subresource)
    write = admission.Request(
        "UPDATE", resource, namespace, name, new, old, request.user, subresource,
        dry_run=options.dry_run, warnings=request.warnings,
    )  # fmt: skip
    new = await api.admission.mutate(write)
    drop_repeated_owners(new, request.warnings, AFTER_ADMISSION)
    _keep_system_fields(new["metadata"], old["metadata"])
    prepare_update(resource, new, old, subresource)
    check_escalation(api, request.user, resource, namespace, name, new, old)
    problems = await work.run(validate_update, resource, new, old, subresource)
    if problems:
        raise await work.run(invalid, resource.own_group, resource.kind, name, problems)
    if resource.custom is None and not subresource:
        request.warnings += warnings_for(resource.group_resource, new, old)
    write.object = new
    await api.admission.validate(write)
    if not subresource:
        api.allocator.allocate(resource, new, dry_run=options.dry_run)
    new = await work.run(settle, old, new)
    return await store_update(api, resource, record, old, new, dry_run=options.dry_run)


def _keep_system_fields(metadata: Json, before: Json) -> None:
    """What the server wrote stays; a deletion nobody asked for is left for validation to refuse."""
    metadata["creationTimestamp"] = before.get("creationTimestamp")
    if not metadata.get("uid") and before.get("uid"):
        metadata["uid"] = before["uid"]
    if before.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = before["deletionTimestamp"]
    grace = "deletionGracePeriodSeconds"
    if before.get(grace) is not None and metadata.get(grace) is None:
        metadata[grace] = before[grace]
    metadata.pop("selfLink", None)
    metadata["resourceVersion"] = before["resourceVersion"]


async def store_update(
    api: Api, resource: ResourceDef, record: Record, old: Json, new: Json, *, dry_run: bool
) -> Record | Json:
    """Store an update; an object whose last finalizer is gone is removed instead."""
    metadata = new["metadata"]
    if metadata.get("deletionTimestamp") and is_finished(resource, new):
        if dry_run:
            return new
        # The last state watchers see is the stored one; the client sees what it wrote.
        shown = to_storage(resource, {**old, "metadata": dict(old["metadata"])})
        await api.store.remove(resource.bucket, record.namespace, record.name, shown, record)
        return new
    if new == old:
        return record if not dry_run else old
    if dry_run:
        return new
    stored = await work.run(to_storage, resource, new)
    if stored == old:
        return record
    return await api.store.write(resource.bucket, record.namespace, record.name, stored, record)


def is_finished(resource: ResourceDef, obj: Json) -> bool:
    """Has a deleted object nothing left that keeps it?"""
    metadata = obj["metadata"]
    if metadata.get("finalizers"):
        return False
    if resource.plural == "namespaces" and not resource.group:
        return not (obj.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


async def guaranteed(
    api: Api,
    request: Request,
    resource: ResourceDef,
    attempt: Callable[[Record, Json], Awaitable[Record | Json]],
) -> Record | Json:
    """Run `attempt` on the latest version until nobody else changed it meanwhile."""
    namespace, name = request.in_namespace, request.name
    for _ in range(_TRIES):
        record = api.store.latest(resource.bucket, namespace, name)
        if record is None:
            raise not_found(resource, name)
        try:
            return await attempt(record, full_object(resource, record))
        except Stale:
            continue
    raise conflict(resource, name)
