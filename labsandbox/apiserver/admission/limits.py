"""LimitRanger: fills in what a LimitRange proposes and refuses what it does not allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import CREATE, UPDATE, Request
from labsandbox.quantity import Quantity, QuantityError, parse

Json = dict[str, Any]
ANNOTATION = "kubernetes.io/limit-ranger"
CONTAINERS = (("containers", "container"), ("initContainers", "init container"))


class LimitRanger(Quiet):
    """Applies the LimitRanges of the namespace."""

    keys = frozenset(("pods", "persistentvolumeclaims"))

    def __init__(self, stock: Collections) -> None:
        self._stock = stock

    async def mutate(self, request: Request) -> None:
        pod = request.object
        if request.resource.plural != "pods" or request.operation != CREATE or pod is None:
            return
        if not isinstance(pod.get("spec"), dict):
            return
        for limit_range in self._ranges(request):
            _complete(pod, limit_range)

    async def validate(self, request: Request) -> None:
        if request.object is None or request.operation not in (CREATE, UPDATE):
            return
        is_pod = request.resource.plural == "pods"
        if is_pod and request.operation == UPDATE:
            return
        for limit_range in self._ranges(request):
            check = _pod_problems if is_pod else _claim_problems
            problems = list(dict.fromkeys(check(request.object, limit_range)))
            if problems:
                text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
                raise request.refuse(text)

    def _ranges(self, request: Request) -> list[Json]:
        return self._stock.list("", "limitranges", request.namespace)


def _items(limit_range: Json, kind: str) -> Iterator[Json]:
    for one in (limit_range.get("spec") or {}).get("limits") or ():
        if one.get("type") == kind:
            yield one


def _complete(pod: Json, limit_range: Json) -> None:
    defaults: Json = {}
    requests: Json = {}
    for one in _items(limit_range, "Container"):
        defaults |= one.get("default") or {}
        requests |= one.get("defaultRequest") or {}
    if not defaults and not requests:
        return
    notes: list[str] = []
    for field, title in CONTAINERS:
        for container in pod["spec"].get(field) or ():
            notes += _complete_container(container, title, requests, defaults)
    if notes:
        metadata = pod.setdefault("metadata", {})
        annotations = metadata.get("annotations") or {}
        text = f"LimitRanger plugin set: {'; '.join(notes)}"
        metadata["annotations"] = {**annotations, ANNOTATION: text}


def _complete_container(container: Json, title: str, requests: Json, limits: Json) -> list[str]:
    resources = container.get("resources") or {}
    notes = []
    for field, given, word in (("requests", requests, "request"), ("limits", limits, "limit")):
        known = dict(resources.get(field) or {})
        added = sorted(key for key in given if key not in known)
        for key in added:
            known[key] = given[key]
        if added:
            resources[field] = known
            notes.append(f"{', '.join(added)} {word} for {title} {container.get('name')}")
    if notes:
        container["resources"] = resources
    return notes


def _pod_problems(pod: Json, limit_range: Json) -> Iterator[str]:
    spec = pod.get("spec") or {}
    for one in _items(limit_range, "Container"):
        for field, _ in CONTAINERS:
            for container in spec.get(field) or ():
                resources = container.get("resources") or {}
                yield from _limit_problems(
                    one, "Container", resources.get("requests"), resources.get("limits")
                )
    for one in _items(limit_range, "Pod"):
        yield from _limit_problems(one, "Pod", _sum(spec, "requests"), _sum(spec, "limits"))


def _sum(spec: Json, field: str) -> dict[str, str]:
    """What the pod as a whole asks for: all containers together, or one init container."""
    total: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        for key, value in ((container.get("resources") or {}).get(field) or {}).items():
            amount = _read(value)
            total[key] = total[key] + amount if key in total else amount
    for container in spec.get("initContainers") or ():
        for key, value in ((container.get("resources") or {}).get(field) or {}).items():
            amount = _read(value)
            if key not in total or total[key] < amount:
                total[key] = amount
    return {key: str(value) for key, value in total.items()}


def _limit_problems(one: Json, kind: str, asked: Any, limited: Any) -> Iterator[str]:
    requests: Json = asked or {}
    limits: Json = limited or {}
    for key in sorted(one.get("min") or {}):
        bound, request, limit = one["min"][key], requests.get(key), limits.get(key)
        start = f"minimum {key} usage per {kind} is {bound}"
        if request is None:
            yield f"{start}.  No request is specified"
        elif _read(request) < _read(bound):
            yield f"{start}, but request is {request}"
        elif limit is not None and _read(limit) < _read(bound):
            yield f"{start}, but limit is {limit}"
    for key in sorted(one.get("max") or {}):
        bound, request, limit = one["max"][key], requests.get(key), limits.get(key)
        start = f"maximum {key} usage per {kind} is {bound}"
        if limit is None:
            yield f"{start}.  No limit is specified"
        elif _read(bound) < _read(limit):
            yield f"{start}, but limit is {limit}"
        elif request is not None and _read(bound) < _read(request):
            yield f"{start}, but request is {request}"
    for key in sorted(one.get("maxLimitRequestRatio") or {}):
        yield from _ratio_problems(one, kind, key, requests.get(key), limits.get(key))


def _ratio_problems(one: Json, kind: str, key: str, request: Any, limit: Any) -> Iterator[str]:
    bound = one["maxLimitRequestRatio"][key]
    start = f"{key} max limit to request ratio per {kind} is {bound}"
    if request is None or _read(request).nano == 0:
        yield f"{start}, but no request is specified or request is 0"
    elif limit is None or _read(limit).nano == 0:
        yield f"{start}, but no limit is specified or limit is 0"
    else:
        ratio = _read(limit).nano / _read(request).nano
        if ratio > _read(bound).nano / 10**9:
            yield f"{start}, but provided ratio is {ratio:.6f}"


def _claim_problems(claim: Json, limit_range: Json) -> Iterator[str]:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    kind = "PersistentVolumeClaim"
    for one in _items(limit_range, kind):
        for bounds, word, is_over in (("min", "minimum", False), ("max", "maximum", True)):
            for key in sorted(one.get(bounds) or {}):
                bound, request = one[bounds][key], requests.get(key)
                start = f"{word} {key} usage per {kind} is {bound}"
                if request is None:
                    yield f"{start}.  No request is specified"
                    continue
                low, high = (request, bound) if is_over else (bound, request)
                if _read(high) < _read(low):
                    yield f"{start}, but request is {request}"


def _read(value: Any) -> Quantity:
    try:
        return parse(str(value))
    except QuantityError:
        return Quantity(0)
