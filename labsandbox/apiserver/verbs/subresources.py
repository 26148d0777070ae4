"""Paths below an object: status, scale, token, binding and the streams of pods."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import method_not_allowed, no_such_path, not_found
from labsandbox.apiserver.verbs.patch import patch
from labsandbox.apiserver.verbs.read import get
from labsandbox.apiserver.verbs.update import update

Json = dict[str, Any]
_WHOLE = {"status", "finalize", "approval", "ephemeralcontainers"}
_STREAMS = {"log", "exec", "attach", "portforward", "proxy"}


async def subresource(api: Api, request: Request, resource: ResourceDef) -> Response | None:
    """Answer a request for a subresource."""
    name = request.subresource
    found = resource.subresources.get(name)
    if found is None and resource.custom is not None:
        raise not_found(resource, request.name)
    if found is None or (len(request.parts) > 3 and name != "proxy"):
        raise no_such_path()
    if resource.namespaced and not request.namespace:
        raise no_such_path()
    if request.verb not in found.verbs or request.method == "HEAD":
        raise method_not_allowed()
    if name in _WHOLE:
        if request.verb == "get":
            return await get(api, request, resource)
        if request.verb == "update":
            return await update(api, request, resource)
        return await patch(api, request, resource)
    if name == "scale":
        from labsandbox.apiserver.verbs.scale import scale

        return await scale(api, request, resource)
    if name == "token":
        from labsandbox.apiserver.verbs.token import request_token

        return await request_token(api, request, resource)
    if name == "binding":
        from labsandbox.apiserver.verbs.binding import bind

        return await bind(api, request, resource)
    if name == "eviction":
        from labsandbox.apiserver.verbs.eviction import evict

        return await evict(api, request, resource)
    from labsandbox.apiserver.streams import stream

    return await stream(api, request, resource)
