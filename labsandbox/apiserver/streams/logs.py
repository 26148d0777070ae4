"""pods/log: what a container wrote, followed as it grows when asked."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, bad_request, invalid
from labsandbox.apiserver.streams.target import find_container, find_node, find_pod
from labsandbox.apiserver.streams.wire import ask
from labsandbox.apiserver.verbs.options import Problem

_FLAGS = ("follow", "previous", "timestamps")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _query(request: Request) -> dict[str, str]:
    """The options of the log, checked as the server checks them."""
    found: dict[str, str] = {flag: "true" for flag in _FLAGS if request.flag(flag)}
    problems = []
    lowest = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
    words = {0: "must be greater than or equal to 0", 1: "must be greater than 0"}
    for field, least in lowest.items():
        value = request.integer(field)
        if value is None:
            continue
        if value < least:
            message = f"Invalid value: {value}: {words[least]}"
            problems.append(Problem(field, "FieldValueInvalid", message))
        found[field] = str(value)
    since = request.first("sinceTime")
    if since:
        if not _TIME.fullmatch(since):
            raise bad_request(
                f'parsing time "{since}" as "2006-01-02T15:04:05Z07:00": cannot parse'
            )
        if "sinceSeconds" in found:
            message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            problems.append(Problem("sinceSeconds", "FieldValueForbidden", message))
        found["sinceTime"] = since
    if problems:
        raise invalid("", "PodLogOptions", request.name, problems)
    return found


async def send_log(api: Api, request: Request, resource: ResourceDef) -> Response | None:
    """Stream a container's log."""
    query = _query(request)
    pod = find_pod(api, request, resource)
    node = find_node(api, resource, pod) if _wanted_is_known(request, pod) else None
    if node is None:
        return Response(204, b"", "")
    container = find_container(pod, request.first("container"))
    where = "/".join(quote(part, safe="") for part in (request.namespace, request.name, container))
    target = f"/containerLogs/{where}"
    if query:
        target += f"?{urlencode(query)}"
    answer = await ask(api, node, "GET", target, [("Connection", "close")])
    if answer.status != 200:
        text = (await answer.text()).strip()
        answer.close()
        code = answer.status if answer.status in (400, 404) else 500
        reason = {400: "BadRequest", 404: "NotFound"}.get(code, "InternalError")
        raise StatusError(code, reason, text or "the node agent did not give the log")
    await _pass_on(request, answer)
    return None


def _wanted_is_known(request: Request, pod: dict[str, object]) -> bool:
    """A wrong container is refused also when the pod is on no node yet."""
    wanted = request.first("container")
    if wanted:
        find_container(pod, wanted)
    return True


async def _pass_on(request: Request, answer: object) -> None:
    from labsandbox.apiserver.streams.wire import Answer

    assert isinstance(answer, Answer)
    headers = [(b"cache-control", b"no-cache, private"), (b"content-type", b"text/plain")]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    await request.send(start)
    connection = request.connection
    if connection is not None:
        connection.on_lost = answer.close
    try:
        async for piece in answer.pieces():
            await request.send({"type": "http.response.body", "body": piece, "more_body": True})
    except OSError:
        pass
    finally:
        if connection is not None:
            connection.on_lost = None
        answer.close()
    await request.send({"type": "http.response.body", "body": b""})
