"""Errors as Kubernetes tells them: every failure is a `Status` object with a reason and details.

Constructors here word the messages exactly as a kube-apiserver does, because clients and people
match on them. A field error is anything with `cause()` -> {reason, message, field}.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from labsandbox.apiserver.registry import ResourceDef

Json = dict[str, Any]
MOST_CAUSES = 1000


class Cause(Protocol):
    """A problem with one field; `validation.FieldError` is the one in use."""

    def cause(self) -> Json: ...


class StatusError(Exception):
    """A failed request; `body()` is what the client reads."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Json | None = None,
        causes: Iterable[Json] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details) if details is not None else None
        causes = list(causes) if causes is not None else []
        if causes:
            self.details = {**(self.details or {}), "causes": causes}
        self.retry_after = retry_after
        if retry_after is not None:
            self.details = {**(self.details or {}), "retryAfterSeconds": retry_after}
        self.metadata: Json = {}

    def body(self) -> Json:
        out: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            out["reason"] = self.reason
        if self.details is not None:
            out["details"] = self.details
        out["code"] = self.code
        return out


def success(details: Json | None = None) -> Json:
    """The Status of a request that worked and has no object to answer with."""
    out: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        out["details"] = details
    return out


def _details(resource: ResourceDef | None, name: str, **more: Any) -> Json:
    out: Json = {}
    if name:
        out["name"] = name
    if resource is not None and resource.group:
        out["group"] = resource.group
    if resource is not None:
        out["kind"] = resource.plural
    out.update(more)
    return out


def not_found(resource: ResourceDef, name: str) -> StatusError:
    message = f'{resource.group_resource} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(resource, name))


def no_such_path() -> StatusError:
    """The path names no resource."""
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message, {})


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def already_exists(resource: ResourceDef, name: str) -> StatusError:
    message = f'{resource.group_resource} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(resource, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(resource: ResourceDef, name: str, why: str = MODIFIED) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name))


def invalid(group: str, kind: str, name: str, errors: Iterable[Cause]) -> StatusError:
    """422 for `kind`, one cause per field error; equal messages are told once."""
    # differs: an object may have 120,000 mistakes; a client is told the first ones.
    causes = [error.cause() for error in islice(errors, MOST_CAUSES)]
    said = list(dict.fromkeys(_field_message(cause) for cause in causes))
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    message = f'{kind}.{group} "{name}" is invalid' if group else f'{kind} "{name}" is invalid'
    if said:
        message += f": {text}"
    details: Json = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = kind
    return StatusError(422, "Invalid", message, details, causes)


def _field_message(cause: Json) -> str:
    return f"{cause['field']}: {cause['message']}" if cause.get("field") else cause["message"]


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def forbidden(resource: ResourceDef | None, name: str, why: str) -> StatusError:
    """403 for a resource; `why` says what the user cannot do, or what a policy does not allow."""
    if resource is None:
        return StatusError(403, "Forbidden", why, {})
    if name:
        message = f'{resource.group_resource} "{name}" is forbidden: {why}'
    else:
        message = f"{resource.group_resource} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(resource, name))


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message, {})


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return StatusError(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> StatusError:
    message = f"Request entity too large: limit is {limit}"
    return StatusError(413, "RequestEntityTooLarge", message)


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def internal_error(message: str) -> StatusError:
    causes = [{"message": message}]
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", {}, causes)


def server_error(message: str) -> StatusError:
    """500 without a reason: what the real server answers for errors it has no type for."""
    return StatusError(500, "", message)


def server_timeout(message: str, retry_after: int) -> StatusError:
    return StatusError(504, "Timeout", message, {}, None, retry_after)
