"""patch: JSON patch, merge patch, strategic merge patch, server-side apply."""

from __future__ import annotations

import copy
from typing import Any

import orjson

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import accept, media_type
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import builtin_shape, shape_of
from labsandbox.apiserver.patch import (
    apply_json_patch,
    apply_merge_patch,
    apply_strategic,
    server_side_apply,
    settle,
)
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.schema import DecodeError, JsonError, YamlError
from labsandbox.apiserver.schema import json as schema_json
from labsandbox.apiserver.schema import yaml as schema_yaml
from labsandbox.apiserver.status import (
    StatusError,
    bad_request,
    conflict,
    not_found,
    server_error,
    unsupported_media_type,
)
from labsandbox.apiserver.store import Record, Stale
from labsandbox.apiserver.verbs.create import check_address, create_object
from labsandbox.apiserver.verbs.manage import ignored
from labsandbox.apiserver.verbs.objects import full_object, now
from labsandbox.apiserver.verbs.options import Problem, WriteOptions, invalid_options, write_options
from labsandbox.apiserver.verbs.read import respond, respond_object
from labsandbox.apiserver.verbs.unusable import unusable_document, unusable_patch
from labsandbox.apiserver.verbs.update import check_may_create, check_name, finish

Json = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_BUILT_IN = (JSON_PATCH, MERGE, STRATEGIC, APPLY)
_CUSTOM = (JSON_PATCH, MERGE, APPLY)
_TRIES = 50


def patch_type(request: Request, resource: ResourceDef) -> str:
    """The kind of patch, or 415 with those the resource takes."""
    media = media_type(request.headers.get("content-type", ""), "")
    if media not in _BUILT_IN:
        raise StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    if resource.custom is not None and media not in _CUSTOM:
        raise unsupported_media_type(_CUSTOM)
    return media


async def read_patch(request: Request, kind: str) -> Any:
    """The parsed patch, with the server's messages for what cannot be read."""
    raw = await request.body()
    if kind == APPLY:
        try:
            value, duplicates = schema_yaml.loads(raw)
        except (YamlError, JsonError) as error:
            raise bad_request(f"error decoding YAML: {error}") from None
        if not isinstance(value, dict):
            raise bad_request("error decoding YAML: expected an object")
        if duplicates and request.first("fieldValidation") == "Strict":
            raise bad_request(f"strict decoding error: {', '.join(duplicates)}")
        return value
    try:
        value, duplicates = schema_json.loads(raw)
    except JsonError as error:
        raise bad_request(f"error decoding patch: {error}") from None
    if kind == JSON_PATCH:
        _check_type(value, list, "[]handlers.jsonPatchOp")
    else:
        _check_type(value, dict, "map[string]interface {}")
    validation = request.first("fieldValidation")
    if duplicates and validation == "Strict":
        raise bad_request(f"strict decoding error: {', '.join(duplicates)}")
    if validation != "Ignore":
        request.warnings += duplicates
    return value


def _check_type(value: Any, expected: type, name: str) -> None:
    if isinstance(value, expected):
        return
    found = {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")
    raise bad_request(
        f"error decoding patch: json: cannot unmarshal {found} into Go value of type {name}"
    )


async def patch(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Change the object as the body says."""
    accepted = accept(request.headers.get("accept", ""))
    kind = patch_type(request, resource)
    options = write_options(request, "PatchOptions")
    _check_options(request, kind)
    value = await read_patch(request, kind)
    made, created = await patch_object(api, request, resource, kind, value, options)
    status = 201 if created else 200
    if isinstance(made, Record):
        return respond(api, request, resource, made, accepted, status)
    return respond_object(api, request, resource, made, accepted, status)


def _check_options(request: Request, kind: str) -> None:
    problems = []
    if kind == APPLY:
        if not request.first("fieldManager"):
            problems.append(
                Problem(
                    "fieldManager",
                    "FieldValueRequired",
                    "Required value: is required for apply patch",
                )
            )
    elif "force" in request.query:
        problems.append(
            Problem(
                "force",
                "FieldValueForbidden",
                "Forbidden: may not be specified for non-apply patch",
            )
        )
    if problems:
        raise invalid_options("PatchOptions", problems)


async def patch_object(
    api: Api,
    request: Request,
    resource: ResourceDef,
    kind: str,
    value: Any,
    options: WriteOptions,
) -> tuple[Record | Json, bool]:
    """Apply the patch to the latest version until nobody else changed it meanwhile."""
    namespace, name = request.in_namespace, request.name
    for _ in range(_TRIES):
        record = api.store.latest(resource.bucket, namespace, name)
        if record is None:
            if kind != APPLY or request.subresource:
                raise not_found(resource, name)
            return await _apply_new(api, request, resource, value, options), True
        old = full_object(resource, record)
        if kind == APPLY:
            new = _applied(request, resource, old, value, options)
        else:
            new = _patched(request, resource, kind, old, value, options)
        _check_patched(resource, new, old, namespace, name)
        try:
            made = await finish(
                api, request, resource, record, old, new, options, managed=kind == APPLY
            )
        except Stale:
            if _given_version(kind, value):
                raise conflict(resource, name) from None
            continue
        return made, False
    raise conflict(resource, name)


def _given_version(kind: str, value: Any) -> bool:
    metadata = value.get("metadata") if kind != JSON_PATCH else None
    return isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))


def _applied(
    request: Request, resource: ResourceDef, old: Json | None, value: Json, options: WriteOptions
) -> Json:
    group_version = value.get("apiVersion") or ""
    kind = value.get("kind") or ""
    if group_version != resource.api_version or kind != resource.kind:
        group, _, version = group_version.rpartition("/")
        shown = f"{group}/{version}"
        raise bad_request(f"invalid object type: {shown}, Kind={kind}")
    metadata = _applied_metadata(request, resource, value)
    given = metadata.get("name") or ""
    if given and given != request.name:
        raise bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({request.name})"
        )
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    value = copy.deepcopy(value)
    value["metadata"] = {**metadata, "name": request.name}
    shape = shape_of(resource)
    merged: Json = server_side_apply(
        old, value, options.manager, options.force, shape.node,
        resource.api_version, now(), request.subresource, ignored(resource, request.subresource),
    )  # fmt: skip
    merged = _decoded(shape, merged)
    return settle(old, merged)


def _decoded(shape: Any, merged: Json) -> Json:
    try:
        obj, _ = shape.decode(merged)
    except DecodeError as error:
        raise bad_request(str(error)) from None
    found: Json = shape.default(obj)
    return found


def _applied_metadata(request: Request, resource: ResourceDef, value: Json) -> Json:
    """The metadata of an applied document, which must be an object."""
    metadata = value.get("metadata") or {}
    if isinstance(metadata, dict):
        return metadata
    where = f"{request.in_namespace}/{request.name}" if request.in_namespace else request.name
    raise server_error(
        f"failed to create typed patch object ({where}; {resource.api_version}, "
        f"Kind={resource.kind}): .metadata: expected map, got {metadata!r}"
    )


async def _apply_new(
    api: Api, request: Request, resource: ResourceDef, value: Json, options: WriteOptions
) -> Record | Json:
    uid = _applied_metadata(request, resource, value).get("uid")
    if uid:
        raise conflict(
            resource,
            request.name,
            f"uid mismatch: the provided object specified uid {uid}, "
            "and no existing object was found",
        )
    check_may_create(api, request)
    obj = _applied(request, resource, None, value, options)
    check_address(obj, resource, request.in_namespace)
    return await create_object(
        api, request.user, resource, request.in_namespace, obj, options, request.warnings,
        managed=True,
    )  # fmt: skip


def _patched(
    request: Request,
    resource: ResourceDef,
    kind: str,
    old: Json,
    value: Any,
    options: WriteOptions,
) -> Json:
    shape = shape_of(resource)
    base = copy.deepcopy(old)
    if kind == JSON_PATCH:
        result: Any = apply_json_patch(base, value)
    elif kind == MERGE:
        result = apply_merge_patch(base, value)
    else:
        result = apply_strategic(base, value, shape.node)
    try:
        obj, unknown = _decode_result(result, resource)
    except DecodeError as error:
        raise _unusable(kind, result, value, str(error)) from None
    if unknown and options.validation == "Strict":
        raise _unusable(kind, result, value, f"strict decoding error: {', '.join(unknown)}")
    if options.validation != "Ignore":
        request.warnings += unknown
    return shape.default(obj)


def _unusable(kind: str, result: Any, value: Any, why: str) -> StatusError:
    return unusable_patch(value, why) if kind == STRATEGIC else unusable_document(result, why)


def _decode_result(result: Any, resource: ResourceDef) -> tuple[Json, list[str]]:
    if not isinstance(result, dict):
        raise DecodeError("json: cannot unmarshal into Go value of type map[string]interface {}")
    shape = shape_of(resource)
    kind, version = result.get("kind"), result.get("apiVersion")
    if (kind == resource.kind and version == resource.api_version) or resource.custom is not None:
        return shape.decode(result)
    if not isinstance(kind, str) or not kind:
        raise DecodeError(f"Object 'Kind' is missing in '{orjson.dumps(result).decode()}'")
    if not isinstance(version, str) or not version:
        raise DecodeError(f"Object 'apiVersion' is missing in '{orjson.dumps(result).decode()}'")
    group, _, bare = version.rpartition("/")
    other = builtin_shape(group, bare, kind)
    if other is None:
        raise DecodeError(
            f'no kind "{kind}" is registered for version "{version}" in scheme '
            '"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"'
        )
    other.decode(result)
    raise DecodeError(
        f"unable to convert object of kind {kind} in version {version} to {resource.kind}"
    )


def _check_patched(resource: ResourceDef, new: Json, old: Json, namespace: str, name: str) -> None:
    metadata = new.get("metadata")
    if not isinstance(metadata, dict):
        metadata = new["metadata"] = {}
    check_address(new, resource, namespace)
    check_name(new, name)
    given = metadata.get("resourceVersion") or ""
    if given and given != old["metadata"]["resourceVersion"]:
        raise conflict(resource, name)
