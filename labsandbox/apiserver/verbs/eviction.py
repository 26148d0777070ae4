"""pods/eviction: a delete that asks the pod's disruption budgets first."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import accept
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.registry.conversion import to_storage
from labsandbox.apiserver.status import (
    StatusError,
    bad_request,
    not_found,
    server_error,
    server_timeout,
    success,
)
from labsandbox.apiserver.store import Stale
from labsandbox.apiserver.validation.meta import selects
from labsandbox.apiserver.verbs.body import read_object
from labsandbox.apiserver.verbs.delete import DeleteOptions, delete_object
from labsandbox.apiserver.verbs.objects import now
from labsandbox.apiserver.verbs.options import write_options
from labsandbox.apiserver.verbs.read import respond_object

Json = dict[str, Any]
_TRIES = 20
_UNGUARDED = ("Succeeded", "Failed", "Pending")
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
    "support."
)


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
    wanted = DeleteOptions(eviction.get("deleteOptions") or {})
    wanted.dry_run = wanted.dry_run or options.dry_run
    phase = (pod.get("status") or {}).get("phase")
    if phase not in _UNGUARDED and not pod["metadata"].get("deletionTimestamp"):
        await _take_from_budget(api, pod, dry_run=wanted.dry_run)
    await delete_object(
        api, request.user, resource, request.namespace, request.name, wanted, request.warnings
    )
    return respond_object(api, request, resource, {**success(), "code": 201}, accepted, 201)


def _is_ready(pod: Json) -> bool:
    rows = (pod.get("status") or {}).get("conditions") or ()
    return any(row.get("type") == "Ready" and row.get("status") == "True" for row in rows)


async def _take_from_budget(api: Api, pod: Json, *, dry_run: bool) -> None:
    """Count the eviction in the pod's budget, or raise what the client gets instead."""
    labels = pod["metadata"].get("labels") or {}
    namespace = pod["metadata"]["namespace"]
    for _ in range(_TRIES):
        budgets = [
            budget
            for budget in api.list("policy", "poddisruptionbudgets", namespace)
            if labels and selects((budget.get("spec") or {}).get("selector"), labels)
        ]
        if len(budgets) > 1:
            raise server_error(_SEVERAL)
        if not budgets or _is_free(pod, budgets[0]):
            return
        _check(budgets[0])
        if dry_run:
            return
        try:
            await _decrement(api, budgets[0], pod["metadata"]["name"])
        except Stale:
            continue
        return
    name = budgets[0]["metadata"]["name"]
    message = f'couldn\'t update PodDisruptionBudget "{name}" due to conflicts'
    raise server_timeout(f"Timeout: {message}", 10)


def _is_free(pod: Json, budget: Json) -> bool:
    """May a pod that is not ready go, because it does not count?"""
    if _is_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return bool(healthy >= wanted > 0)


def _check(budget: Json) -> None:
    status, metadata = budget.get("status") or {}, budget["metadata"]
    name, allowed = metadata["name"], status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", 10)
    if allowed < 0:
        why = "pdb disruptions allowed is negative"
        message = f'poddisruptionbudget.policy "{name}" is forbidden: {why}'
        details = {"name": name, "group": "policy", "kind": "poddisruptionbudget"}
        raise StatusError(403, "Forbidden", message, details)
    if allowed == 0:
        wanted, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _too_many(
            f"The disruption budget {name} needs {wanted} healthy pods and has {has} currently"
        )


def _too_many(message: str, retry_after: int | None = None) -> StatusError:
    cause = {"reason": "DisruptionBudget", "message": message}
    return StatusError(429, "TooManyRequests", _VIOLATES, {}, [cause], retry_after)


async def _decrement(api: Api, budget: Json, pod: str) -> None:
    """One disruption less; the controller learns from `disruptedPods` that the pod is going."""
    resource = api.resource("policy", "poddisruptionbudgets")
    metadata, status = budget["metadata"], dict(budget.get("status") or {})
    record = api.store.latest(resource.bucket, metadata["namespace"], metadata["name"])
    if record is None or str(record.revision) != metadata["resourceVersion"]:
        raise Stale
    status["disruptionsAllowed"] -= 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: now()}
    new = {**budget, "status": status}
    await api.store.write(
        resource.bucket, metadata["namespace"], metadata["name"], to_storage(resource, new), record
    )
