"""pods/eviction: a delete that asks the pod's disruption budgets first."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, bad_request, not_found, success
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.delete import DeleteOptions, delete_object
from labsandbox.apiserver.verbs.options import write_options
from labsandbox.apiserver.verbs.read import respond_object

Json = dict[str, Any]


async def evict(api: Api, request: Request, resource: ResourceDef) -> Response:
    """Delete the pod unless a disruption budget forbids it."""
    accepted = accept(request.headers.get("accept", ""))
    options = write_options(request, "CreateOptions")
    eviction = await read_object(
        request, resource, shape_of(resource, "eviction"), options.validation,
        kind="Eviction", group="policy", version="v1",
    )  # fmt: skip
    given = (eviction.get("metadata") or {}).get("name") or request.name
    if given != request.name:
        raise bad_request("name in URL does not match name in Eviction object")
    pod = api.find("", "pods", request.name, request.namespace)
    if pod is None:
        raise not_found(resource, request.name)
    if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed", "Pending"):
        _check_budgets(api, pod)
    wanted = DeleteOptions(eviction.get("deleteOptions") or {})
    wanted.dry_run = wanted.dry_run or options.dry_run
    await delete_object(
        api, request.user, resource, request.namespace, request.name, wanted, request.warnings
    )
    return respond_object(api, request, resource, {**success(), "code": 201}, accepted, 201)


def _check_budgets(api: Api, pod: Json) -> None:
    labels = pod["metadata"].get("labels") or {}
    for budget in api.list("policy", "poddisruptionbudgets", pod["metadata"]["namespace"]):
        selector = (budget.get("spec") or {}).get("selector") or {}
        wanted = selector.get("matchLabels") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            continue
        allowed = (budget.get("status") or {}).get("disruptionsAllowed", 0)
        if allowed <= 0:
            name = budget["metadata"]["name"]
            cause = {
                "reason": "DisruptionBudget",
                "message": f"The disruption budget {name} needs more healthy pods",
            }
            raise StatusError(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
                {},
                [cause],
                10,
            )
