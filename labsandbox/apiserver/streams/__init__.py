"""log, exec, attach, port-forward and proxy: requests the server passes on to a node's agent."""

from __future__ import annotations

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.streams.logs import send_log
from labsandbox.apiserver.streams.proxy import proxy
from labsandbox.apiserver.streams.tunnel import open_tunnel

__all__ = ["stream"]


async def stream(api: Api, request: Request, resource: ResourceDef) -> Response | None:
    """Answer a streaming subresource; None when the answer was streamed."""
    if request.subresource == "log":
        return await send_log(api, request, resource)
    if request.subresource == "proxy":
        return await proxy(api, request, resource)
    return await open_tunnel(api, request, resource)
