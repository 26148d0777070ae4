"""proxy: refused towards this machine, as a kube-apiserver refuses loopback addresses."""

from __future__ import annotations

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, bad_request, not_found


def _bare_name(name: str) -> str:
    """The object's name in `scheme:name:port`."""
    parts = name.split(":")
    return parts[1] if len(parts) == 3 else parts[0]


async def proxy(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Say why the address cannot be proxied to."""
    # differs: all pods of the laptop listen on loopback addresses, so nothing can be proxied;
    # the gateway publishes their ports.
    name = _bare_name(request.name)
    found = api.find("", resource.plural, name, request.in_namespace)
    if found is None:
        raise not_found(resource, name)
    if resource.plural == "services":
        endpoints = api.find("", "endpoints", name, request.in_namespace) or {}
        if not any(subset.get("addresses") for subset in endpoints.get("subsets") or ()):
            message = f'no endpoints available for service "{name}"'
            raise StatusError(503, "ServiceUnavailable", message)
    raise bad_request("address not allowed")
