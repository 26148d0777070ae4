"""The parameters of a request: parsed once, refused as the server refuses them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.selectors import (
    FieldTest,
    Selector,
    field_reader,
    matches,
    parse_fields,
    parse_labels,
)
from labsandbox.apiserver.status import Cause, Json, StatusError, invalid, server_error
from labsandbox.apiserver.store import Record

META = "meta.k8s.io"


@dataclass(frozen=True)
class Problem:
    """A field error of an options object."""

    field: str
    reason: str
    message: str

    def cause(self) -> Json:
        return {"reason": self.reason, "message": self.message, "field": self.field}


def forbidden_field(field: str, why: str) -> Problem:
    return Problem(field, "FieldValueForbidden", f"Forbidden: {why}")


def unsupported(field: str, value: str, supported: list[str]) -> Problem:
    names = ", ".join(f'"{name}"' for name in supported)
    message = f"Unsupported value: {value}: supported values: {names}"
    return Problem(field, "FieldValueNotSupported", message)


def invalid_options(kind: str, problems: list[Problem]) -> StatusError:
    causes: list[Cause] = list(problems)
    return invalid(META, kind, "", causes)


def parse_revision(text: str) -> int:
    """A resourceVersion, which the server reports in its own odd way when it is not a number."""
    if not text:
        return 0
    if not text.isdigit() or not text.isascii():
        raise server_error(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: '
            f'parsing "{text}": invalid syntax'
        )
    value = int(text) if len(text) < 64 else 2**64
    if value >= 2**64:
        raise server_error(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: '
            f'parsing "{text}": value out of range'
        )
    return value


@dataclass(frozen=True)
class Selection:
    """Which objects of a resource are wanted."""

    labels: Selector = ()
    fields: tuple[FieldTest, ...] = ()
    readers: tuple[Any, ...] = ()
    name: str | None = None
    """Set when a field selector (or the path) names one object."""

    @property
    def is_everything(self) -> bool:
        return not self.labels and not self.fields and self.name is None

    def accepts(self, record: Record) -> bool:
        if self.name is not None and record.name != self.name:
            return False
        if self.labels and not matches(self.labels, record.labels):
            return False
        if self.fields:
            return self._fields_accept(record)
        return True

    def _fields_accept(self, record: Record) -> bool:
        obj: Json | None = None
        for (field, equal, value), reader in zip(self.fields, self.readers, strict=True):
            if field == "metadata.name":
                found = record.name
            elif field == "metadata.namespace":
                found = record.namespace
            else:
                if obj is None:
                    obj = record.load()
                found = reader(obj)
            if (found == value) is not equal:
                return False
        return True


def parse_selectors(request: Request) -> tuple[Selector, list[FieldTest]]:
    """Read labelSelector and fieldSelector; what is no selector at all is refused here."""
    labels = request.first("labelSelector")
    fields = request.first("fieldSelector")
    return parse_labels(labels) if labels else (), parse_fields(fields) if fields else []


def select(resource: ResourceDef, selector: Selector, tests: list[FieldTest]) -> Selection:
    """The selection a resource makes by these; a field it cannot be selected by is refused."""
    if not selector and not tests:
        return Selection()
    selectable = None
    if resource.custom is not None:
        selectable = resource.custom.selectable_fields(resource.version)
    readers = tuple(field_reader(resource.group_resource, selectable, t[0]) for t in tests)
    named = [value for field, equal, value in tests if field == "metadata.name" and equal]
    name = named[0] if named else None
    return Selection(selector, tuple(tests), readers, name)


@dataclass(frozen=True)
class ListOptions:
    selection: Selection
    limit: int
    continuation: str
    revision: str
    match: str
    send_initial: bool | None
    bookmarks: bool
    timeout: float | None


def list_options(request: Request, resource: ResourceDef, *, watch: bool) -> ListOptions:
    """Parameters of list, watch and deletecollection."""
    limit = request.integer("limit") or 0
    seconds = request.integer("timeoutSeconds")
    send_initial = (
        request.flag("sendInitialEvents") if "sendInitialEvents" in request.query else None
    )
    parsed = parse_selectors(request)
    options = ListOptions(
        selection=Selection(),
        limit=max(limit, 0),
        continuation=request.first("continue"),
        revision=request.first("resourceVersion"),
        match=request.first("resourceVersionMatch"),
        send_initial=send_initial,
        bookmarks=request.flag("allowWatchBookmarks"),
        timeout=float(seconds) if seconds is not None and seconds > 0 else None,
    )
    if watch and send_initial is None and not options.match and options.revision in ("", "0"):
        # A watch from the beginning is a streaming list, whether the client knows the word or not.
        options = replace(options, send_initial=True, match="NotOlderThan")
    problems = _watch_problems(options) if watch else _list_problems(options)
    if problems:
        raise invalid_options("ListOptions", problems)
    return replace(options, selection=select(resource, *parsed))


def _match_problems(options: ListOptions) -> list[Problem]:
    problems = []
    match = options.match
    if not options.revision:
        problems.append(
            forbidden_field(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            )
        )
    if options.continuation:
        problems.append(
            forbidden_field(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            )
        )
    if match not in ("Exact", "NotOlderThan"):
        problems.append(
            unsupported("resourceVersionMatch", f'"{match}"', ["Exact", "NotOlderThan", ""])
        )
    if match == "Exact" and options.revision == "0":
        problems.append(
            forbidden_field(
                "resourceVersionMatch",
                'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
            )
        )
    return problems


def _list_problems(options: ListOptions) -> list[Problem]:
    problems = _match_problems(options) if options.match else []
    if options.send_initial is not None:
        problems.append(
            forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list")
        )
    return problems


def _watch_problems(options: ListOptions) -> list[Problem]:
    if options.send_initial is None:
        if not options.match:
            return []
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        return [forbidden_field("resourceVersionMatch", why)]
    problems = []
    if options.match != "NotOlderThan":
        if options.match:
            problems.append(
                unsupported("resourceVersionMatch", f'"{options.match}"', ["NotOlderThan"])
            )
        else:
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            problems.append(forbidden_field("resourceVersionMatch", why))
    return problems


@dataclass(frozen=True)
class WriteOptions:
    """Parameters of create, update and patch."""

    dry_run: bool
    manager: str
    validation: str
    force: bool = False


_MANAGER = re.compile(r"[^/]*")


def write_options(request: Request, kind: str) -> WriteOptions:
    """Read the parameters for `kind` of options (CreateOptions…), or raise 422."""
    query = request.query
    if not query:
        return WriteOptions(False, _default_manager(request), "Warn")
    problems = []
    dry = query.get("dryRun", [])
    if any(value != "All" for value in dry) and dry != [""]:
        shown = ", ".join(f'"{value}"' for value in dry)
        problems.append(unsupported("dryRun", f"[]string{{{shown}}}", ["All"]))
    manager = request.first("fieldManager")
    if len(manager) > 128:
        problems.append(
            Problem("fieldManager", "FieldValueTooLong", "Too long: may not be more than 128 bytes")
        )
    elif manager and not manager.isprintable():
        problems.append(
            Problem(
                "fieldManager",
                "FieldValueInvalid",
                f'Invalid value: "{manager}": should only contain printable characters',
            )
        )
    validation = request.first("fieldValidation")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        problems.append(
            unsupported("fieldValidation", f'"{validation}"', ["", "Ignore", "Strict", "Warn"])
        )
    if problems:
        raise invalid_options(kind, problems)
    return WriteOptions(
        dry_run=dry == ["All"] or "All" in dry,
        manager=manager or _default_manager(request),
        validation=validation or "Warn",
        force=request.flag("force"),
    )


def _default_manager(request: Request) -> str:
    found = _MANAGER.match(request.headers.get("user-agent", ""))
    return (found.group(0) if found else "")[:128] or "unknown"
