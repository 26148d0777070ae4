"""scale: the number of replicas of anything that has one, read and written as autoscaling/v1."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.patch import apply_json_patch, apply_merge_patch, apply_strategic
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.schema import DecodeError
from labsandbox.apiserver.status import bad_request, conflict, invalid
from labsandbox.apiserver.store import Record
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.objects import full_object
from labsandbox.apiserver.verbs.options import Problem, WriteOptions, write_options
from labsandbox.apiserver.verbs.patch import JSON_PATCH, MERGE, patch_type, read_patch
from labsandbox.apiserver.verbs.read import respond_object
from labsandbox.apiserver.verbs.update import check_name, finish, guaranteed

Json = dict[str, Any]
_GROUP = "autoscaling"


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
        "apiVersion": f"{_GROUP}/v1",
        "metadata": {key: metadata[key] for key in shown if key in metadata},
        "spec": spec,
        "status": status,
    }


async def scale(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Read or change the number of replicas."""
    accepted = accept(request.headers.get("accept", ""))
    if request.verb == "get":
        found = api.get(resource.group, resource.plural, request.name, request.in_namespace)
        return respond_object(api, request, resource, scale_of(resource, found), accepted)
    patching = request.verb == "patch"
    kind = patch_type(request, resource) if patching else ""
    options = write_options(request, "PatchOptions" if patching else "UpdateOptions")
    shape = shape_of(resource, "scale")
    if patching:
        value: Any = await read_patch(request, kind)
    else:
        value = await read_object(
            request, resource, shape, options.validation, kind="Scale", group=_GROUP, version="v1"
        )
        check_name(value, request.name)

    async def attempt(record: Record, old: Json) -> Record | Json:
        wanted = value
        if patching:
            wanted = _patched(scale_of(resource, old), value, kind, shape)
        return await _write(api, request, resource, record, old, wanted, options)

    made = await guaranteed(api, request, resource, attempt)
    obj = full_object(resource, made) if isinstance(made, Record) else made
    return respond_object(api, request, resource, scale_of(resource, obj), accepted)


def _patched(current: Json, value: Any, kind: str, shape: Any) -> Json:
    base = copy.deepcopy(current)
    if kind == JSON_PATCH:
        result: Any = apply_json_patch(base, value)
    elif kind == MERGE:
        result = apply_merge_patch(base, value)
    else:
        result = apply_strategic(base, value, shape.node)
    try:
        decoded: Json = shape.decode(result)[0]
    except DecodeError as error:
        raise bad_request(str(error)) from None
    return decoded


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
        raise conflict(resource, request.name)
    replicas = (wanted.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        problem = Problem(
            "spec.replicas",
            "FieldValueInvalid",
            f"Invalid value: {replicas}: must be greater than or equal to 0",
        )
        raise invalid(_GROUP, "Scale", request.name, [problem])
    new = copy.deepcopy(old)
    if resource.custom is not None:
        resource.custom.version(resource.version).scale.set(new, replicas)
    else:
        new["spec"]["replicas"] = replicas
    return await finish(api, request, resource, record, old, new, options)


__all__ = ["scale", "scale_of"]
