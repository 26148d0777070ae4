"""pods/eviction: not offered; the answer says what to use instead."""

from __future__ import annotations

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError


async def evict(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Refuse, and name the way that works."""
    # differs: there is one node and no disruption controller, so evicting has no meaning here.
    raise StatusError(
        501,
        "NotImplemented",
        "eviction is not available on the laptop platform; delete the pod instead: "
        f"kubectl delete pod {request.name} -n {request.namespace}",
    )
