"""metrics.k8s.io: what pods and nodes use now, asked of the nodes' agents.

Served while there is an APIService of that name, as in a cluster with metrics-server; there it is
another server's, here it is this one's, because one more process is a lot for a laptop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response, answer
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.selectors import matches
from labsandbox.apiserver.status import StatusError, method_not_allowed, no_such_path
from labsandbox.apiserver.streams.target import node_address
from labsandbox.apiserver.streams.wire import ask
from labsandbox.apiserver.verbs.objects import now
from labsandbox.apiserver.verbs.options import list_options

Json = dict[str, Any]

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
SERVICE = f"{VERSION}.{GROUP}"
_LARGEST = 16 << 20
_SECONDS = 5.0
_WINDOW = "5s"
_READ = ("get", "list")
_ROWS = (
    ResourceDef(GROUP, VERSION, "NodeMetrics", "nodes", "", namespaced=False, verbs=_READ),
    ResourceDef(GROUP, VERSION, "PodMetrics", "pods", "", verbs=_READ),
)


def refresh(api: Api) -> None:
    """Serve the group while its APIService exists."""
    is_wanted = api.find("apiregistration.k8s.io", "apiservices", SERVICE) is not None
    is_served = api.catalog.find(GROUP, VERSION, "pods") is not None
    if is_wanted != is_served:
        for row in _ROWS:
            (api.catalog.add if is_wanted else api.catalog.remove)(row)


async def respond(api: Api, request: Request) -> Response:
    """Answer a get or a list of figures."""
    resource = api.catalog.find(request.group, request.version, request.resource)
    if resource is None or request.subresource:
        raise no_such_path()
    if request.method == "HEAD" or request.verb not in _READ:
        raise method_not_allowed()
    selection = list_options(request, resource, watch=False).selection
    found = [
        item
        for item in await _items(api, resource)
        if (not resource.namespaced or request.namespace in ("", item["metadata"]["namespace"]))
        and (not request.name or item["metadata"]["name"] == request.name)
        and matches(selection.labels, item["metadata"].get("labels") or {})
        and selection.name in (None, item["metadata"]["name"])
        and all(
            (reader(item) == value) is equal
            for (_, equal, value), reader in zip(selection.fields, selection.readers, strict=True)
        )
    ]
    if request.name:
        if not found:
            where = f"{request.namespace}/{request.name}" if request.namespace else request.name
            text = f'{resource.kind.lower()}.{GROUP} "{where}" not found'
            raise StatusError(404, "NotFound", text)
        return answer(
            {"kind": resource.kind, "apiVersion": f"{GROUP}/{VERSION}", **found[0]}, request
        )
    whole = {
        "kind": f"{resource.kind}List",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {},
        "items": found,
    }
    return answer(whole, request)


async def _items(api: Api, resource: ResourceDef) -> list[Json]:
    nodes = api.list("", "nodes")
    summaries = await asyncio.gather(*(_summary(api, node) for node in nodes))
    make = _pods if resource.namespaced else _nodes
    return [item for summary in summaries if summary for item in make(api, summary)]


async def _summary(api: Api, node: Json) -> Json | None:
    """Ask one node; a node that does not answer has no figures."""
    try:
        async with asyncio.timeout(_SECONDS):
            headers = [("Connection", "close")]
            got = await ask(api, node_address(node), "GET", "/stats/summary", headers)
            try:
                text = await got.text(_LARGEST)
            finally:
                got.close()
        found: Json = json.loads(text)
        return found if got.status == 200 else None
    except (StatusError, OSError, TimeoutError, ValueError):
        return None


def _nodes(api: Api, summary: Json) -> Iterator[Json]:
    figures = summary["node"]
    node = api.find("", "nodes", figures["nodeName"])
    if node is not None:
        meta = _metadata(node)
        yield {**meta, "usage": _usage(figures)}


def _pods(api: Api, summary: Json) -> Iterator[Json]:
    for figures in summary["pods"]:
        reference = figures["podRef"]
        pod = api.find("", "pods", reference["name"], reference["namespace"])
        if pod is not None and pod["metadata"]["uid"] == reference["uid"]:
            containers = [
                {"name": one["name"], "usage": _usage(one)} for one in figures["containers"]
            ]
            yield {**_metadata(pod), "containers": containers}


def _metadata(obj: Json) -> Json:
    given = obj["metadata"]
    meta = {key: given[key] for key in ("name", "namespace", "labels") if key in given}
    meta["creationTimestamp"] = now()
    return {"metadata": meta, "timestamp": meta["creationTimestamp"], "window": _WINDOW}


def _usage(figures: Json) -> Json:
    return {
        "cpu": f"{figures['cpu']['usageNanoCores']}n",
        "memory": f"{figures['memory']['workingSetBytes'] >> 10}Ki",
    }
