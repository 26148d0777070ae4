"""ResourceQuota: counts what a write adds, and refuses it when too little is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import CREATE, UPDATE, Request
from labsandbox.apiserver.admission.usage import (
    NONE,
    Usage,
    may_matter,
    missing_requests,
    read,
    usage_of,
)
from labsandbox.apiserver.status import conflict
from labsandbox.apiserver.store import Stale
from labsandbox.quantity import Quantity

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

Json = dict[str, Any]
BUCKET = "resourcequotas"
MANAGER = "kube-apiserver"
UPDATED = ("services", "persistentvolumeclaims")
TRIES = 20


class ResourceQuota(Quiet):
    """Keeps `status.used` of the namespace's quotas, and their limits."""

    keys = None

    def __init__(self, api: Api, stock: Collections) -> None:
        self._api = api
        self._stock = stock

    async def validate(self, request: Request) -> None:
        if not self._concerns(request):
            return
        names = [one["metadata"]["name"] for one in self._quotas(request)]
        if not names:
            return
        assert request.object is not None
        added = usage_of(request.resource, request.object)
        if request.operation == UPDATE and request.old is not None:
            before = usage_of(request.resource, request.old)
            added = {key: value - before.get(key, NONE) for key, value in added.items()}
        added = {key: value for key, value in added.items() if value.nano > 0}
        # All quotas are asked before any of them is charged.
        for charge in (False, True):
            for name in names:
                await self._apply(request, name, added, charge=charge)

    def _concerns(self, request: Request) -> bool:
        if request.subresource or not request.namespace or request.object is None:
            return False
        if request.operation == UPDATE:
            return not request.resource.group and request.resource.plural in UPDATED
        return request.operation == CREATE

    def _quotas(self, request: Request) -> list[Json]:
        return [
            one
            for one in self._stock.list("", BUCKET, request.namespace)
            if _in_scope(one, request)
            and any(
                may_matter(request.resource, key)
                for key in (one.get("status") or {}).get("hard") or {}
            )
        ]

    async def _apply(self, request: Request, name: str, added: Usage, *, charge: bool) -> None:
        for _ in range(TRIES):
            record = self._api.store.latest(BUCKET, request.namespace, name)
            if record is None:
                return
            quota = record.load()
            wanted = _check(request, quota, added)
            if not charge or request.dry_run or not wanted:
                return
            used = quota["status"]["used"]
            for key, value in wanted.items():
                used[key] = str(read(used.get(key, "0")) + value)
            try:
                tracked = self._tracked(record.load(), quota)
                await self._api.store.write(BUCKET, request.namespace, name, tracked, record)
            except Stale:
                continue
            return
        raise conflict(self._api.resource("", BUCKET), name)

    def _tracked(self, old: Json, new: Json) -> Json:
        from labsandbox.apiserver.verbs.manage import track

        resource = self._api.resource("", BUCKET)
        head = {"kind": resource.kind, "apiVersion": resource.api_version}
        return track(resource, {**head, **old}, {**head, **new}, MANAGER, "status")


def _check(request: Request, quota: Json, added: Usage) -> Usage:
    """What this quota has to count; refuses when it is too much."""
    status, name = quota.get("status") or {}, quota["metadata"]["name"]
    hard, used = status.get("hard") or {}, status.get("used") or {}
    matter = [key for key in hard if may_matter(request.resource, key)]
    if request.resource.group_resource == "pods" and request.operation == CREATE:
        missing = missing_requests(request.object or {}, matter)
        if missing:
            raise request.refuse(f"failed quota: {name}: must specify {missing}")
    unknown = sorted(key for key in matter if key not in used)
    if unknown:
        raise request.refuse(f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    wanted = {key: added[key] for key in matter if key in added}
    over = sorted(key for key, value in wanted.items() if read(hard[key]) < read(used[key]) + value)
    if over:
        raise request.refuse(
            f"exceeded quota: {name}, requested: {_list(wanted, over)}, "
            f"used: {_list({key: read(used[key]) for key in over}, over)}, "
            f"limited: {_list({key: read(hard[key]) for key in over}, over)}"
        )
    return wanted


def _list(amounts: dict[str, Quantity], keys: list[str]) -> str:
    return ",".join(f"{key}={amounts[key]}" for key in keys)


def _in_scope(quota: Json, request: Request) -> bool:
    spec = quota.get("spec") or {}
    wanted = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    wanted += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not wanted:
        return True
    if request.resource.group_resource != "pods":
        return False
    return all(_meets(one, request.object or {}) for one in wanted)


def _meets(one: Json, pod: Json) -> bool:
    spec = pod.get("spec") or {}
    match one.get("scopeName"):
        case "Terminating":
            return (spec.get("activeDeadlineSeconds") or 0) > 0
        case "NotTerminating":
            return not spec.get("activeDeadlineSeconds")
        case "BestEffort":
            return _is_best_effort(spec)
        case "NotBestEffort":
            return not _is_best_effort(spec)
        case "PriorityClass":
            return _meets_class(one, spec.get("priorityClassName") or "")
    return False


def _meets_class(one: Json, name: str) -> bool:
    match one.get("operator"):
        case "In":
            return name in (one.get("values") or ())
        case "NotIn":
            return name not in (one.get("values") or ())
        case "DoesNotExist":
            return not name
    return bool(name)


def _is_best_effort(spec: Json) -> bool:
    return not any(
        (container.get("resources") or {}).get(field)
        for kind in ("containers", "initContainers")
        for container in spec.get(kind) or ()
        for field in ("requests", "limits")
    )
