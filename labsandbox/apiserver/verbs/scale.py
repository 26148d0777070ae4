"""scale: the number of replicas of anything that has one, read and written as autoscaling/v1."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import Accepted, accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.patch import scaling, server_side_apply
from labsandbox.apiserver.printers.custom import scale_columns
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.schema import DecodeError
from labsandbox.apiserver.status import bad_request, conflict, internal_error, invalid, server_error
from labsandbox.apiserver.store import Record
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.objects import full_object, now
from labsandbox.apiserver.verbs.options import Problem, WriteOptions, write_options
from labsandbox.apiserver.verbs.patch import (
    APPLY,
    apply_patch,
    check_patch_options,
    decode_applied,
    patch_type,
    read_patch,
    unusable,
)
from labsandbox.apiserver.verbs.read import encode_answer, respond_object, transform
from labsandbox.apiserver.verbs.update import check_name, check_revision, finish, guaranteed

Json = dict[str, Any]
_GROUP = "autoscaling"
_VERSION = f"{_GROUP}/v1"


def _selector(resource: ResourceDef, obj: Json) -> str:
    found = (obj.get("spec") or {}).get("selector") or {}
    if resource.plural == "replicationcontrollers":
        return ",".join(f"{key}={found[key]}" for key in sorted(found))
    parts = [f"{key}={value}" for key, value in sorted((found.get("matchLabels") or {}).items())]
    for expression in found.get("matchExpressions") or ():
        key, values = expression["key"], ",".join(sorted(expression.get("values") or ()))
        match expression["operator"]:
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


def scale_of(resource: ResourceDef, obj: Json) -> Json:
    """The Scale of an object."""
    if resource.custom is not None:
        found: Json = resource.custom.version(resource.version).scale.of(obj)
        return found
    metadata = obj["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = (obj.get("spec") or {}).get("replicas")
    status: Json = {"replicas": (obj.get("status") or {}).get("replicas") or 0}
    selector = _selector(resource, obj)
    if selector:
        status["selector"] = selector
    spec = {"replicas": replicas} if replicas else {}
    return {
        "kind": "Scale",
        "apiVersion": _VERSION,
        "metadata": {key: metadata[key] for key in shown if key in metadata},
        "spec": spec,
        "status": status,
    }


def _path(resource: ResourceDef) -> tuple[str, ...]:
    """Where the object itself keeps its replicas, as managedFields spell it."""
    if resource.custom is None:
        return ("f:spec", "f:replicas")
    path = resource.custom.version(resource.version).scale.spec_path
    return tuple(f"f:{part}" for part in path.removeprefix(".").split("."))


async def scale(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Read or change the number of replicas."""
    accepted = accept(request.headers.get("accept", ""))
    if request.verb == "get":
        found = api.get(resource.group, resource.plural, request.name, request.in_namespace)
        _check_readable(resource, found)
        return _respond(api, request, resource, scale_of(resource, found), accepted)
    patching = request.verb == "patch"
    kind = patch_type(request, resource) if patching else ""
    options = write_options(request, "PatchOptions" if patching else "UpdateOptions")
    shape = shape_of(resource, "scale")
    if patching:
        check_patch_options(request, kind)
        value: Any = await read_patch(request, kind)
    else:
        value = await read_object(
            request, resource, shape, options.validation, kind="Scale", group=_GROUP, version="v1"
        )
        check_name(value, request.name)

    async def attempt(record: Record, old: Json) -> Record | Json:
        if kind == APPLY:
            return await _apply(api, request, resource, record, old, value, options)
        wanted = _patched(resource, old, value, kind, shape) if patching else value
        return await _write(api, request, resource, record, old, wanted, options)

    made = await guaranteed(api, request, resource, attempt)
    obj = full_object(resource, made) if isinstance(made, Record) else made
    return _respond(api, request, resource, scale_of(resource, obj), accepted)


def _check_readable(resource: ResourceDef, obj: Json) -> None:
    if resource.custom is None:
        return
    found = resource.custom.version(resource.version).scale
    if not found.has_replicas(obj):
        raise internal_error(f'the spec replicas field "{found.spec_path}" does not exist')


def _respond(
    api: Api, request: Request, resource: ResourceDef, found: Json, accepted: Accepted
) -> Response:
    """A Scale; those of custom kinds have a Table of their own."""
    if accepted.form != "Table" or resource.custom is None:
        return respond_object(api, request, resource, found, accepted)
    metadata = found["metadata"]
    table = transform(
        request, resource, [found], accepted, metadata, single=True, printed=scale_columns()
    )
    return Response(200, encode_answer(table, accepted.media, request), accepted.media)


def _patched(resource: ResourceDef, old: Json, value: Any, kind: str, shape: Any) -> Json:
    current = scale_of(resource, old)
    managers = scaling.to_scale(old, _path(resource))
    if managers:
        current["metadata"]["managedFields"] = managers
    result = apply_patch(kind, current, value, shape)
    try:
        decoded: Json = shape.decode(result)[0]
    except DecodeError as error:
        raise unusable(kind, current, value, shape, error) from None
    return decoded


async def _apply(
    api: Api,
    request: Request,
    resource: ResourceDef,
    record: Record,
    old: Json,
    value: Json,
    options: WriteOptions,
) -> Record | Json:
    """Server-side apply of a Scale: who owns the replicas is told in terms of both kinds."""
    current = scale_of(resource, old)
    shape = shape_of(resource, "scale")
    if (value.get("apiVersion"), value.get("kind")) != (_VERSION, "Scale"):
        group, _, version = (value.get("apiVersion") or "").rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={value.get('kind') or ''}")
    managers = scaling.to_scale(old, _path(resource))
    if resource.custom is not None:
        head = "failed to create manager for existing fields: " if not managers else ""
        raise server_error(
            f"{head}failed to convert live object (/; {_VERSION}, Kind=Scale) to proper version: "
            f"request to convert CR to an invalid group/version: {_VERSION}"
        )
    if managers:
        current["metadata"]["managedFields"] = managers
    merged = server_side_apply(
        current, value, options.manager, options.force, shape.node, _VERSION, now()
    )
    wanted = decode_applied(shape, merged, value)
    check_name(wanted, request.name)
    _check_replicas(resource, wanted)
    new = _changed(resource, old, wanted)
    new["metadata"]["managedFields"] = scaling.to_parent(
        old, wanted, _path(resource), resource.api_version
    )
    return await finish(api, request, resource, record, old, new, options, managed=True)


def _check_replicas(resource: ResourceDef, wanted: Json) -> int:
    replicas: int = (wanted.get("spec") or {}).get("replicas") or 0
    if replicas < 0 and resource.custom is None:
        problem = Problem(
            "spec.replicas",
            "FieldValueInvalid",
            f"Invalid value: {replicas}: must be greater than or equal to 0",
        )
        raise invalid(_GROUP, "Scale", wanted["metadata"].get("name", ""), [problem])
    return replicas


def _changed(resource: ResourceDef, old: Json, wanted: Json) -> Json:
    replicas = (wanted.get("spec") or {}).get("replicas") or 0
    new = copy.deepcopy(old)
    if resource.custom is not None:
        resource.custom.version(resource.version).scale.set(new, replicas)
    else:
        new["spec"]["replicas"] = replicas
    return new


async def _write(
    api: Api,
    request: Request,
    resource: ResourceDef,
    record: Record,
    old: Json,
    wanted: Json,
    options: WriteOptions,
) -> Record | Json:
    given = (wanted.get("metadata") or {}).get("resourceVersion")
    if given and given != old["metadata"]["resourceVersion"]:
        check_revision(given)
        raise conflict(resource, request.name)
    _check_replicas(resource, wanted)
    new = _changed(resource, old, wanted)
    return await finish(api, request, resource, record, old, new, options)


__all__ = ["scale", "scale_of"]
