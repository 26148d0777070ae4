"""create: POST of a new object."""

from __future__ import annotations

import uuid
from typing import Any

from labsandbox.apiserver import admission, work
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.escalation import check_escalation
from labsandbox.apiserver.auth.user import User
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import is_heavy, shape_of, validate_create
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.registry.conversion import to_storage
from labsandbox.apiserver.status import (
    StatusError,
    already_exists,
    bad_request,
    invalid,
    server_error,
)
from labsandbox.apiserver.store import Record, Stale
from labsandbox.apiserver.strategies import prepare_create
from labsandbox.apiserver.strategies.requests import REQUESTS, sign_request
from labsandbox.apiserver.validation.warnings import warnings_for
from labsandbox.apiserver.verbs.admit import check_namespace
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.manage import drop_repeated_owners, track
from labsandbox.apiserver.verbs.objects import generate_name, now
from labsandbox.apiserver.verbs.options import WriteOptions, write_options
from labsandbox.apiserver.verbs.read import respond, respond_object

Json = dict[str, Any]
_NAME_TRIES = 8
AFTER_ADMISSION = " after mutating admission happens"
_SYSTEM = (
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "uid",
)
"""Of a new object's metadata, what the client does not decide; nobody becomes its manager."""


def check_address(obj: Json, resource: ResourceDef, namespace: str) -> Json:
    """The object's namespace must be the one of the path; returns its metadata.

    A kind without namespaces loses the namespace it was sent with.
    """
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    given = metadata.get("namespace") or ""
    if not resource.namespaced:
        metadata.pop("namespace", None)
    elif given and given != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    else:
        metadata["namespace"] = namespace
    found: Json = metadata
    return found


async def create(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Create the object in the body."""
    accepted = accept(request.headers.get("accept", ""))
    options = write_options(request, "CreateOptions")
    obj = await read_object(request, resource, shape_of(resource), options.validation)
    made = await create_object(
        api, request.user, resource, request.in_namespace, obj, options, request.warnings
    )
    if isinstance(made, Record):
        return respond(api, request, resource, made, accepted, 201)
    return respond_object(api, request, resource, made, accepted, 201)


async def create_object(
    api: Api,
    user: User,
    resource: ResourceDef,
    namespace: str,
    obj: Json,
    options: WriteOptions,
    warnings: list[str],
    *,
    managed: bool = False,
) -> Record | Json:
    """Store a new object; a dry run returns it without storing.

    `managed`: its managedFields are already right (server-side apply).
    """
    metadata = check_address(obj, resource, namespace)
    for field in _SYSTEM:
        metadata.pop(field, None)
    if resource.custom is not None and resource.custom.terminating:
        raise _terminating()
    shape = shape_of(resource)
    if is_heavy(resource):
        work.add(work.LARGE)
    obj = await work.run(shape.default, obj)
    drop_repeated_owners(obj, warnings)
    metadata = obj["metadata"]
    check_namespace(api, resource, namespace, metadata.get("name") or "")
    generated = not metadata.get("name") and bool(metadata.get("generateName"))
    if generated:
        metadata["name"] = generate_name(metadata["generateName"])
    tries = _NAME_TRIES if generated else 1
    while True:
        try:
            return await _create_named(
                api, user, resource, namespace, obj, options, warnings, managed
            )
        except Stale:
            tries -= 1
            if tries <= 0:
                found = api.store.latest(resource.bucket, namespace, obj["metadata"]["name"])
                raise _exists(resource, obj["metadata"], found) from None
            obj["metadata"]["name"] = generate_name(obj["metadata"]["generateName"])


def _exists(resource: ResourceDef, metadata: Json, found: Record | None) -> StatusError:
    """The name is taken; a client that let the server choose may try again."""
    error = already_exists(resource, metadata.get("name", ""))
    if found is not None and found.load()["metadata"].get("deletionTimestamp"):
        error.message = f"object is being deleted: {error.message}"
    if metadata.get("generateName"):
        error.message += ", the server was not able to generate a unique name for the object"
        error.details = {**(error.details or {}), "retryAfterSeconds": 1}
        error.retry_after = 1
    return error


def _terminating() -> StatusError:
    message = "create not allowed while custom resource definition is terminating"
    return StatusError(405, "MethodNotAllowed", message, {})


def _fill(metadata: Json) -> None:
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now()


async def _create_named(
    api: Api,
    user: User,
    resource: ResourceDef,
    namespace: str,
    obj: Json,
    options: WriteOptions,
    warnings: list[str],
    managed: bool,
) -> Record | Json:
    name = obj["metadata"].get("name") or ""
    if not managed and name and isinstance(name, str):
        obj = await work.run(track_new, resource, obj, options.manager)
    write = admission.Request(
        "CREATE", resource, namespace, name, obj, None, user,
        dry_run=options.dry_run, warnings=warnings,
    )  # fmt: skip
    obj = await api.admission.mutate(write)
    drop_repeated_owners(obj, warnings, AFTER_ADMISSION)
    _fill(obj["metadata"])
    prepare_create(resource, obj)
    if resource.group_resource == REQUESTS:
        sign_request(obj, user)
    check_escalation(api, user, resource, namespace, name, obj, None)
    problems = await work.run(validate_create, resource, obj)
    if problems:
        kind = obj.get("kind") or resource.kind
        raise await work.run(invalid, resource.own_group, kind, name, problems)
    if resource.custom is None:
        warnings += warnings_for(resource.group_resource, obj, None)
    write.object = obj
    await api.admission.validate(write)
    if obj["metadata"].get("resourceVersion"):
        raise server_error("resourceVersion should not be set on objects to be created")
    expected = api.store.latest(resource.bucket, namespace, name)
    if expected is not None:
        raise Stale
    api.allocator.allocate(resource, obj, dry_run=options.dry_run)
    stored = await work.run(to_storage, resource, obj)
    if options.dry_run:
        obj["metadata"].pop("resourceVersion", None)
        return obj
    return await api.store.write(resource.bucket, namespace, name, stored, None)


def track_new(resource: ResourceDef, obj: Json, manager: str) -> Json:
    """Note the creator as the manager of all fields."""
    return track(resource, None, obj, manager)
