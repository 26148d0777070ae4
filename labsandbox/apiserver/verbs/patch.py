"""patch: JSON patch, merge patch, strategic merge patch, server-side apply."""

from __future__ import annotations

import copy
from typing import Any

import orjson

from labsandbox.apiserver import work
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import accept, media_type
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import Shape, builtin_shape, shape_of
from labsandbox.apiserver.patch import (
    apply_json_patch,
    apply_merge_patch,
    apply_strategic,
    name_applied,
    server_side_apply,
    settle,
)
from labsandbox.apiserver.patch.typed import go_value
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
from labsandbox.apiserver.verbs.body import YAML_WEIGHT
from labsandbox.apiserver.verbs.create import check_address, create_object
from labsandbox.apiserver.verbs.manage import ignored
from labsandbox.apiserver.verbs.objects import full_object, now
from labsandbox.apiserver.verbs.options import Problem, WriteOptions, invalid_options, write_options
from labsandbox.apiserver.verbs.read import respond, respond_object
from labsandbox.apiserver.verbs.unusable import (
    sort_all,
    sort_touched,
    unusable_document,
    unusable_patch,
)
from labsandbox.apiserver.verbs.update import check_may_create, check_name, check_revision, finish

Json = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_BUILT_IN = (JSON_PATCH, MERGE, STRATEGIC, APPLY)
_CUSTOM = (JSON_PATCH, MERGE, APPLY)
_TRIES = 50
_MAP = "map[string]interface {}"


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
    head = "" if kind == STRATEGIC else "error decoding patch: "
    validation = request.first("fieldValidation")
    if kind == APPLY:
        try:
            work.add(YAML_WEIGHT * len(raw))
            value, duplicates = await work.run(schema_yaml.loads, raw)
        except (YamlError, JsonError) as error:
            raise bad_request(f"error decoding YAML: {error}") from None
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise bad_request(
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
                f"json: cannot unmarshal {_json_kind(value)} into Go value of type {_MAP}"
            )
        if duplicates and request.first("fieldValidation") == "Strict":
            raise bad_request(f"strict decoding error: {', '.join(duplicates)}")
        return value
    try:
        value, duplicates = await work.run(schema_json.loads, raw)
    except JsonError as error:
        if kind == MERGE and validation == "Ignore":
            raise bad_request("Invalid JSON Patch") from None
        head = "" if validation == "Ignore" else head
        raise bad_request(f"{head}{error}") from None
    if kind == JSON_PATCH:
        lax = validation == "Ignore"
        _check_type(value, list, "jsonpatch.Patch" if lax else "[]handlers.jsonPatchOp", head)
    else:
        _check_type(value, dict, _MAP, head)
    if duplicates and validation == "Strict":
        raise bad_request(f"strict decoding error: {', '.join(duplicates)}")
    if validation != "Ignore":
        request.warnings += duplicates
    return value


def _json_kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "bool"}
    return kinds.get(type(value), "number")


def _check_type(value: Any, expected: type, name: str, head: str) -> None:
    if not isinstance(value, expected):
        found = _json_kind(value)
        raise bad_request(f"{head}json: cannot unmarshal {found} into Go value of type {name}")


async def patch(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Change the object as the body says."""
    accepted = accept(request.headers.get("accept", ""))
    kind = patch_type(request, resource)
    options = write_options(request, "PatchOptions")
    check_patch_options(request, kind)
    value = await read_patch(request, kind)
    made, created = await patch_object(api, request, resource, kind, value, options)
    status = 201 if created else 200
    if isinstance(made, Record):
        return respond(api, request, resource, made, accepted, status)
    return respond_object(api, request, resource, made, accepted, status)


def check_patch_options(request: Request, kind: str) -> None:
    """Only an apply has a manager it must name and a conflict it may force."""
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
            if kind != APPLY or (request.subresource and not resource.strategy.update_creates):
                raise not_found(resource, name)
            return await _apply_new(api, request, resource, value, options), True
        work.add(len(record.body))
        old = full_object(resource, record)
        if kind == APPLY:
            new = await work.run(_applied, request, resource, old, value, options)
        else:
            new = await work.run(_patched, request, resource, kind, old, value, options)
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
    group_version, kind = (
        found if isinstance(found := value.get(name), str) else ""
        for name in ("apiVersion", "kind")
    )
    if group_version != resource.api_version or kind != resource.kind:
        group, _, version = group_version.rpartition("/")
        shown = f"{group}/{version}"
        raise bad_request(f"invalid object type: {shown}, Kind={kind}")
    metadata = _applied_metadata(value)
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    value = copy.deepcopy(value)
    value["metadata"] = metadata if metadata.get("name") else {**metadata, "name": request.name}
    shape = shape_of(resource)
    merged: Json = server_side_apply(
        old, value, options.manager, options.force, shape.node,
        resource.api_version, now(), request.subresource, ignored(resource, request.subresource),
    )  # fmt: skip
    merged = decode_applied(shape, merged, value)
    return settle(old, merged)


def decode_applied(shape: Any, merged: Json, applied: Json) -> Json:
    """The merged object as its Go type, with defaults."""
    try:
        obj, _ = shape.decode(merged)
    except DecodeError as error:
        group, _, version = applied["apiVersion"].rpartition("/")
        raise server_error(
            f"failed to convert new object ({name_applied(applied)}) to proper version: unable to "
            f"convert unstructured object to {group}/{version}, Kind={applied['kind']}: "
            f"{error.converted}"
        ) from None
    found: Json = shape.default(obj)
    return found


def _applied_metadata(value: Json) -> Json:
    """The metadata of an applied document, which must be an object."""
    metadata = value.get("metadata") or {}
    if isinstance(metadata, dict):
        return metadata
    named = name_applied({**value, "metadata": {}})
    raise server_error(
        f"failed to create typed patch object ({named}): .metadata: expected map, got "
        f"{go_value(metadata)}"
    )


async def _apply_new(
    api: Api, request: Request, resource: ResourceDef, value: Json, options: WriteOptions
) -> Record | Json:
    uid = _applied_metadata(value).get("uid")
    if uid:
        raise conflict(
            resource,
            request.name,
            f"uid mismatch: the provided object specified uid {uid}, "
            "and no existing object was found",
        )
    check_may_create(api, request)
    obj = await work.run(_applied, request, resource, None, value, options)
    check_address(obj, resource, request.in_namespace)
    check_name(obj, request.name)
    # A server drops the version on its way to the create.
    obj["metadata"].pop("resourceVersion", None)
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
    result = apply_patch(kind, old, value, shape)
    try:
        obj, unknown = _decode_result(result, resource)
    except DecodeError as error:
        raise unusable(kind, old, value, shape, error) from None
    if unknown and options.validation == "Strict":
        why = DecodeError(f"strict decoding error: {', '.join(unknown)}")
        raise unusable(kind, old, value, shape, why)
    if options.validation != "Ignore":
        request.warnings += unknown
    return shape.default(obj)


def apply_patch(kind: str, old: Json, value: Any, shape: Shape) -> Any:
    """`old` changed by any patch but an apply."""
    base = copy.deepcopy(old)
    if kind == JSON_PATCH:
        return apply_json_patch(base, value)
    if kind == MERGE:
        return apply_merge_patch(base, value)
    return apply_strategic(base, value, shape.node)


def unusable(kind: str, old: Json, value: Any, shape: Shape, why: DecodeError) -> StatusError:
    """The answer to a patch whose result is no object, with the members in the server's order."""
    if kind == STRATEGIC:
        return unusable_patch(value, why.converted)
    if shape.node is None or not shape.node.definition:
        return unusable_document(sort_all(apply_patch(kind, old, value, shape)), str(why))
    result = apply_patch(kind, shape.decode(old)[0], value, shape)
    if isinstance(result, dict):
        result = dict(sorted(result.items()))
    if kind == JSON_PATCH:
        sort_touched(result, value)
    return unusable_document(result, str(why))


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
        check_revision(given)
        raise conflict(resource, name)
