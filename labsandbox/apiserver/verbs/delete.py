"""delete and deletecollection: preconditions, finalizers, grace periods."""

from __future__ import annotations

import calendar
import time
from typing import Any

from labsandbox.apiserver import admission
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.user import User
from labsandbox.apiserver.http.media import JSON, PROTOBUF, SUPPORTED, Accepted, accept, media_type
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.registry.conversion import to_storage
from labsandbox.apiserver.removal import is_definition, mark
from labsandbox.apiserver.schema import JsonError, YamlError
from labsandbox.apiserver.schema import json as schema_json
from labsandbox.apiserver.schema import yaml as schema_yaml
from labsandbox.apiserver.status import (
    StatusError,
    conflict,
    not_found,
    server_error,
    success,
    unsupported_media_type,
)
from labsandbox.apiserver.store import Record, Stale
from labsandbox.apiserver.verbs.admit import check_immortal
from labsandbox.apiserver.verbs.objects import full_object, now
from labsandbox.apiserver.verbs.options import (
    Problem,
    invalid_options,
    list_options,
    unsupported,
)
from labsandbox.apiserver.verbs.read import (
    encode_answer,
    list_value,
    read_page,
    respond,
    respond_object,
    transform,
)

Json = dict[str, Any]
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_TRIES = 50
_PODS_STAY = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background "
    "to remove them or set propagationPolicy=Orphan to suppress this warning"
)
_POLICIES = ["Foreground", "Background", "Orphan", "nil"]
_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"


class DeleteOptions:
    """What the body or the query of a delete asks for."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw
        self.policy: str | None = raw.get("propagationPolicy")
        self.orphan: bool | None = raw.get("orphanDependents")
        self.grace: int | None = raw.get("gracePeriodSeconds")
        preconditions = raw.get("preconditions") or {}
        self.uid: str | None = preconditions.get("uid")
        self.revision: str | None = preconditions.get("resourceVersion")
        self.dry_run = "All" in (raw.get("dryRun") or [])

    @property
    def propagation(self) -> str | None:
        if self.policy is not None:
            return self.policy
        if self.orphan is not None:
            return "Orphan" if self.orphan else "Background"
        return None


async def read_options(request: Request) -> DeleteOptions:
    """Options from the body, or from the query when there is no body."""
    media = media_type(request.headers.get("content-type", ""))
    raw = await request.body()
    found: Json = {}
    if raw.strip():
        if media not in SUPPORTED:
            raise unsupported_media_type(SUPPORTED)
        found = _parse(raw, media)
    elif request.query:
        for field in ("propagationPolicy",):
            if request.first(field):
                found[field] = request.first(field)
        grace = request.integer("gracePeriodSeconds")
        if grace is not None:
            found["gracePeriodSeconds"] = grace
        if "orphanDependents" in request.query:
            found["orphanDependents"] = request.flag("orphanDependents")
    if request.query.get("dryRun"):
        found["dryRun"] = request.query["dryRun"]
    _check(found)
    return DeleteOptions(found)


def _parse(raw: bytes, media: str) -> Json:
    if media == PROTOBUF:
        from labsandbox.apiserver import protobuf

        try:
            value: Any = protobuf.decode(raw)
        except ValueError as error:
            raise server_error(str(error)) from None
    else:
        try:
            value, _ = (schema_json if media == JSON else schema_yaml).loads(raw)
        except JsonError as error:
            raise server_error(f"couldn't get version/kind; json parse error: {error}") from None
        except YamlError as error:
            raise server_error(str(error)) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise server_error(
            "couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"{'array' if isinstance(value, list) else 'value'} into Go value of type struct "
            '{ APIVersion string "json:\\"apiVersion,omitempty\\""; '
            'Kind string "json:\\"kind,omitempty\\"" }'
        )
    kind, version = value.get("kind") or "DeleteOptions", value.get("apiVersion") or "v1"
    if kind != "DeleteOptions":
        raise server_error(
            f'no kind "{kind}" is registered for version "{version}" in scheme "{_SCHEME}"'
        )
    return value


_TYPES: dict[str, tuple[type, str]] = {
    "propagationPolicy": (str, "string"),
    "orphanDependents": (bool, "bool"),
    "gracePeriodSeconds": (int, "int64"),
    "preconditions": (dict, "v1.Preconditions"),
    "dryRun": (list, "[]string"),
}


def _check(options: Json) -> None:
    for field, (kind, name) in _TYPES.items():
        value = options.get(field)
        if value is None:
            options.pop(field, None)
        elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise server_error(
                f"json: cannot unmarshal into Go struct field DeleteOptions.{field} of type {name}"
            )
    problems = []
    policy = options.get("propagationPolicy")
    if policy is not None and options.get("orphanDependents") is not None:
        problems.append(
            Problem(
                "propagationPolicy",
                "FieldValueInvalid",
                f'Invalid value: "{policy}": '
                "orphanDependents and deletionPropagation cannot be both set",
            )
        )
    if policy is not None and policy not in _POLICIES[:3]:
        problems.append(unsupported("propagationPolicy", f'"{policy}"', _POLICIES))
    dry = options.get("dryRun") or []
    if any(value != "All" for value in dry):
        shown = ", ".join(f'"{value}"' for value in dry)
        problems.append(unsupported("dryRun", f"[]string{{{shown}}}", ["All"]))
    if problems:
        raise invalid_options("DeleteOptions", problems)


async def delete(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Delete one object, or begin to."""
    accepted = accept(request.headers.get("accept", ""))
    options = await read_options(request)
    made, gone = await delete_object(
        api, request.user, resource, request.in_namespace, request.name, options, request.warnings
    )
    if gone and not resource.strategy.returns_object:
        obj = made.load() if isinstance(made, Record) else made
        details = {"name": request.name, "kind": resource.plural}
        if resource.group:
            details["group"] = resource.group
        details["uid"] = obj["metadata"].get("uid", "")
        plain = Accepted(accepted.media)
        body = encode_answer(success(details), plain.media, request)
        return Response(200, body, plain.media)
    if isinstance(made, Record):
        return respond(api, request, resource, made, accepted, 200)
    return respond_object(api, request, resource, made, accepted, 200)


def _check_preconditions(resource: ResourceDef, obj: Json, options: DeleteOptions) -> None:
    metadata = obj["metadata"]
    why = ""
    if options.uid is not None and options.uid != metadata.get("uid"):
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({metadata.get('uid')}). The object might have been deleted and then recreated"
        )
    elif options.revision is not None and options.revision != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.revision}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). "
            "The object might have been modified"
        )
    if why:
        kind = resource.group_kind
        name = metadata["name"]
        details = {"name": name, "kind": resource.kind}
        if resource.group:
            details["group"] = resource.group
        raise StatusError(
            409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": {why}', details
        )


async def delete_object(
    api: Api,
    user: User,
    resource: ResourceDef,
    namespace: str,
    name: str,
    options: DeleteOptions,
    warnings: list[str],
) -> tuple[Record | Json, bool]:
    """Delete; the second value is False when the object stays until something else is done."""
    _set_default_policy(resource, options, warnings)
    for _ in range(_TRIES):
        record = api.store.latest(resource.bucket, namespace, name)
        if record is None:
            raise not_found(resource, name)
        check_immortal(resource, name)
        obj = full_object(resource, record)
        write = admission.Request(
            "DELETE", resource, namespace, name, None, obj, user,
            dry_run=options.dry_run, options=options.raw, warnings=warnings,
        )  # fmt: skip
        await api.admission.admit(write)
        _check_preconditions(resource, obj, options)
        try:
            return await _delete_record(api, resource, record, obj, options)
        except Stale:
            continue
    raise conflict(resource, name)


def _set_default_policy(resource: ResourceDef, options: DeleteOptions, warnings: list[str]) -> None:
    """Two old kinds orphan what they own unless the client says otherwise."""
    if options.propagation is not None:
        return
    if resource.group_resource == "jobs.batch":
        warnings.append(_PODS_STAY)
        options.policy = "Orphan"
    elif resource.group_resource == "replicationcontrollers":
        options.policy = "Orphan"


async def _delete_record(
    api: Api, resource: ResourceDef, record: Record, obj: Json, options: DeleteOptions
) -> tuple[Record | Json, bool]:
    metadata = obj["metadata"]
    if is_definition(resource):
        if mark(obj) and not options.dry_run:
            return await api.store.write(resource.bucket, "", record.name, obj, record), False
        return obj, False
    finalizers = _finalizers(resource, metadata, options)
    grace = _grace(resource, obj, options)
    is_namespace = resource.plural == "namespaces" and not resource.group
    kept = bool(finalizers) or grace > 0
    if is_namespace:
        kept = kept or bool((obj.get("spec") or {}).get("finalizers"))
    if not kept:
        if options.dry_run:
            return obj, True
        if resource.strategy.graceful and metadata.get("deletionGracePeriodSeconds"):
            record = await _cut_short(api, resource, record, obj)
            metadata = obj["metadata"]
        last = dict(obj, metadata=dict(metadata))
        if resource.strategy.graceful:
            last["metadata"].setdefault("deletionTimestamp", now())
            last["metadata"]["deletionGracePeriodSeconds"] = 0
        stored = to_storage(resource, last)
        removed = await api.store.remove(
            resource.bucket, record.namespace, record.name, stored, record
        )
        return removed, True
    changed = _mark(resource, obj, finalizers, grace, is_namespace)
    if not changed or options.dry_run:
        return (record if not changed else obj), False
    stored = to_storage(resource, obj)
    written = await api.store.write(resource.bucket, record.namespace, record.name, stored, record)
    return written, False


async def _cut_short(api: Api, resource: ResourceDef, record: Record, obj: Json) -> Record:
    """End the grace of an object that is being deleted: watchers see that first."""
    metadata = obj["metadata"]
    metadata["deletionGracePeriodSeconds"] = 0
    metadata["deletionTimestamp"] = now()
    stored = to_storage(resource, {**obj, "metadata": dict(metadata)})
    written = await api.store.write(resource.bucket, record.namespace, record.name, stored, record)
    metadata["resourceVersion"] = str(written.revision)
    return written


def _finalizers(resource: ResourceDef, metadata: Json, options: DeleteOptions) -> list[str]:
    """The finalizers the object has while it is deleted this way."""
    found = list(metadata.get("finalizers") or [])
    policy = options.propagation
    if policy is None:
        return found
    kept = [name for name in found if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        kept.append(ORPHAN)
    elif policy == "Foreground":
        kept.append(FOREGROUND)
    return kept


def _grace(resource: ResourceDef, obj: Json, options: DeleteOptions) -> int:
    if not resource.strategy.graceful:
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    grace = options.grace
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    if grace < 0:
        grace = 1
    current = obj["metadata"].get("deletionGracePeriodSeconds")
    if obj["metadata"].get("deletionTimestamp") and current is not None:
        return min(int(grace), int(current))
    return int(grace)


def _mark(
    resource: ResourceDef, obj: Json, finalizers: list[str], grace: int, is_namespace: bool
) -> bool:
    """Write the deletion into the object; False when it says all that already."""
    metadata = obj["metadata"]
    changed = False
    if (metadata.get("finalizers") or []) != finalizers:
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]
        changed = True
    if not metadata.get("deletionTimestamp"):
        at = calendar.timegm(time.gmtime()) + grace
        metadata["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        if not is_namespace:
            metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
        changed = True
    elif not is_namespace and grace < metadata.get("deletionGracePeriodSeconds", 0):
        at = calendar.timegm(time.gmtime()) + grace
        metadata["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        metadata["deletionGracePeriodSeconds"] = grace
        changed = True
    if is_namespace and (obj.get("status") or {}).get("phase") != "Terminating":
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        changed = True
    return changed


async def delete_collection(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Delete all objects a list with the same parameters shows; answer with that list."""
    accepted = accept(request.headers.get("accept", ""))
    options = await read_options(request)
    selection = list_options(request, resource, watch=False)
    namespace = request.in_namespace if resource.namespaced else ""
    page = await read_page(api, resource, namespace, selection)
    _set_default_policy(resource, options, request.warnings)
    objs = [full_object(resource, record) for record in page.records]
    for record in page.records:
        try:
            await delete_object(
                api, request.user, resource, record.namespace, record.name, options,
                request.warnings,
            )  # fmt: skip
        except StatusError as error:
            if error.code not in (404, 409):
                raise
    metadata = page.metadata()
    if accepted.form:
        value = transform(request, resource, objs, accepted, metadata)
        return Response(200, encode_answer(value, accepted.media, request), accepted.media)
    if resource.custom is not None:
        metadata.setdefault("continue", "")
    value = list_value(resource, objs, metadata)
    return Response(200, encode_answer(value, accepted.media, request), accepted.media)
