"""get and list: from memory, as bytes wherever the answer is the stored object itself."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import orjson

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import JSON, Accepted, accept, write
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response, wants_pretty
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, bad_request, expired, not_found, server_timeout
from labsandbox.apiserver.store import Record
from labsandbox.apiserver.store.continuation import (
    INCONSISTENT,
    Position,
    decode_position,
    encode_position,
)
from labsandbox.apiserver.verbs.objects import full_bytes, full_object, item_bytes
from labsandbox.apiserver.verbs.options import ListOptions, list_options, parse_revision

Json = dict[str, Any]
_WAIT = 3.0


async def get(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Answer with one object."""
    accepted = accept(request.headers.get("accept", ""))
    revision = parse_revision(request.first("resourceVersion"))
    if revision > api.store.revision:
        await _await_revision(api, revision)
    record = api.store.get(resource.bucket, request.in_namespace, request.name)
    if record is None:
        raise not_found(resource, request.name)
    return respond(api, request, resource, record, accepted)


def respond(
    api: Api,
    request: Request,
    resource: ResourceDef,
    record: Record,
    accepted: Accepted,
    status: int = 200,
) -> Response:
    """An object in the form and media type the client accepts."""
    if not accepted.form and accepted.media == JSON and not wants_pretty(request):
        return Response(status, full_bytes(resource, record) + b"\n")
    return respond_object(api, request, resource, full_object(resource, record), accepted, status)


def respond_object(
    api: Api,
    request: Request,
    resource: ResourceDef,
    obj: Json,
    accepted: Accepted,
    status: int = 200,
) -> Response:
    """The same for an object that is not (or not yet) a record."""
    if accepted.form:
        obj = transform(request, resource, [obj], accepted, obj.get("metadata") or {}, single=True)
    body = encode_answer(obj, accepted.media, request)
    return Response(status, body, accepted.media)


def encode_answer(obj: Json, media: str, request: Request) -> bytes:
    """Serialise in the accepted media type."""
    return write(obj, media, pretty=wants_pretty(request))


def transform(
    request: Request,
    resource: ResourceDef,
    objs: list[Json],
    accepted: Accepted,
    metadata: Json,
    *,
    single: bool = False,
    columns: bool = True,
    printed: list[Json] | None = None,
) -> Json:
    """Objects as a Table or as PartialObjectMetadata; `printed`: columns other than the kind's."""
    from labsandbox.apiserver import printers

    if accepted.form == "Table":
        include = request.first("includeObject") or "Metadata"
        custom = printed
        if resource.custom is not None and custom is None:
            custom = resource.custom.printer_columns(resource.version)
        table: Json = printers.table(resource, objs, custom, include, columns=columns)
        shown = {
            key: metadata[key]
            for key in ("resourceVersion", "continue", "remainingItemCount")
            if metadata.get(key)
        }
        version = f"meta.k8s.io/{accepted.version}"
        table["metadata"] = shown
        table["apiVersion"] = version
        for row in table["rows"] if include == "Metadata" else ():
            row["object"]["apiVersion"] = version
        return table
    version = f"meta.k8s.io/{accepted.version}"
    if single != (accepted.form == "PartialObjectMetadata"):
        raise _not_acceptable(resource, accepted.form, single)
    if single:
        partial: Json = printers.partial(objs[0])
        partial["apiVersion"] = version
        return partial
    items = [{**printers.partial(obj), "apiVersion": version} for obj in objs]
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": version,
        "metadata": metadata,
        "items": items or None,
    }


def _not_acceptable(resource: ResourceDef, form: str, single: bool) -> StatusError:
    """One object was asked for and a list found, or the other way round."""
    what, suffix = ("not a list", "") if single else ("a list", "List")
    if resource.custom is not None:
        found = f"unstructured.Unstructured{suffix}"
    else:
        kind = resource.kind if single else resource.kind_of_list
        found = f"{resource.own_group.partition('.')[0] or 'core'}.{kind}"
    message = f"you requested {form}, but the requested object is {what} (*{found})"
    return StatusError(406, "NotAcceptable", message)


async def _await_revision(api: Api, revision: int) -> None:
    if not await api.store.wait_for(revision, _WAIT):
        error = server_timeout(
            f"Too large resource version: {revision}, current: {api.store.revision}", 1
        )
        error.message = f"Timeout: {error.message}"
        error.details = {
            "causes": [
                {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            ],
            "retryAfterSeconds": 1,
        }
        raise error


class Page:
    """The records of a list answer and what its metadata says."""

    __slots__ = ("continuation", "records", "remaining", "revision")

    def __init__(
        self, records: list[Record], revision: int, continuation: str = "", remaining: int = 0
    ) -> None:
        self.records = records
        self.revision = revision
        self.continuation = continuation
        self.remaining = remaining

    def metadata(self) -> Json:
        out: Json = {"resourceVersion": str(self.revision)}
        if self.continuation:
            out["continue"] = self.continuation
            if self.remaining:
                out["remainingItemCount"] = self.remaining
        return out


async def list_objects(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Answer with the objects of a resource."""
    accepted = accept(request.headers.get("accept", ""))
    options = list_options(request, resource, watch=False)
    namespace = request.in_namespace or None
    if not resource.namespaced:
        namespace = ""
    page = await read_page(api, resource, namespace, options)
    if not accepted.form and accepted.media == JSON and not wants_pretty(request):
        return Response(200, list_bytes(resource, page))
    objs = [full_object(resource, record) for record in page.records]
    if accepted.form:
        value = transform(request, resource, objs, accepted, page.metadata())
    else:
        value = list_value(resource, objs, page.metadata())
    return Response(200, encode_answer(value, accepted.media, request), accepted.media)


def list_bytes(resource: ResourceDef, page: Page) -> bytes:
    """A list as JSON, put together from stored bytes."""
    metadata = page.metadata()
    if resource.custom is not None:
        metadata.setdefault("continue", "")
    head = (
        f'{{"kind":"{resource.kind_of_list}","apiVersion":"{resource.api_version}","metadata":'
    ).encode()
    if resource.storage is None and resource.custom is None:
        items = b",".join([record.body for record in page.records])
    else:
        items = b",".join([item_bytes(resource, record) for record in page.records])
    return b"".join([head, orjson.dumps(metadata), b',"items":[', items, b"]}\n"])


def list_value(resource: ResourceDef, objs: list[Json], metadata: Json) -> Json:
    """A list as an object."""
    if resource.custom is None:
        for obj in objs:
            obj.pop("kind", None)
            obj.pop("apiVersion", None)
    return {
        "kind": resource.kind_of_list,
        "apiVersion": resource.api_version,
        "metadata": metadata,
        "items": objs,
    }


async def read_page(
    api: Api, resource: ResourceDef, namespace: str | None, options: ListOptions
) -> Page:
    """Read what a list with these options shows."""
    store = api.store
    bucket = store.bucket(resource.bucket)
    start, limit = "", options.limit
    if options.continuation:
        position = decode_position(options.continuation)
        if options.revision not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        start = position.start
        if position.revision == INCONSISTENT:
            revision = store.revision
        elif position.revision < store.compacted:
            raise _expired_continue(start)
        else:
            revision = position.revision
        records = bucket.ordered_at(namespace, revision)
    else:
        revision = parse_revision(options.revision)
        if revision > store.revision:
            await _await_revision(api, revision)
        exact = options.match == "Exact" or (not options.match and revision > 0 and limit > 0)
        if options.revision == "0":
            limit = 0
        if exact:
            if revision < store.compacted:
                raise expired("The resourceVersion for the provided list is too old.")
            records = bucket.ordered_at(namespace, revision)
        else:
            revision = store.revision
            records = bucket.ordered(namespace)
    if start:
        first = bisect_left(records, start, key=lambda record: _key(record, namespace))
        records = records[first:]
    selection = options.selection
    if not limit:
        if not selection.is_everything:
            accepts = selection.accepts
            records = [record for record in records if accepts(record)]
        return Page(records, revision)
    return _limited(records, revision, limit, options, namespace)


def _limited(
    records: list[Record], revision: int, limit: int, options: ListOptions, namespace: str | None
) -> Page:
    if options.selection.is_everything:
        chosen = records[:limit]
        left = len(records) - len(chosen)
        if not left:
            return Page(chosen, revision)
        token = encode_position(Position(revision, _key(chosen[-1], namespace) + "\0"))
        return Page(chosen, revision, token, left)
    chosen = []
    for at, record in enumerate(records):
        if not options.selection.accepts(record):
            continue
        chosen.append(record)
        if len(chosen) == limit:
            if at + 1 < len(records):
                token = encode_position(Position(revision, _key(record, namespace) + "\0"))
                return Page(chosen, revision, token)
            break
    return Page(chosen, revision)


def _key(record: Record, namespace: str | None) -> str:
    return record.name if namespace is not None else f"{record.namespace}/{record.name}"


def _expired_continue(start: str) -> StatusError:
    error = expired(
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between "
        "the time the first chunk was returned and now may show up in the list."
    )
    error.metadata = {"continue": encode_position(Position(INCONSISTENT, start))}
    return error
