"""HorizontalPodAutoscaler: a number of replicas that follows what the pods use."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any

from labsandbox import quantity
from labsandbox.client import Resource
from labsandbox.client.resources import HPAS
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Event, Patch, set_status

Object = dict[str, Any]
Usage = dict[str, dict[str, Decimal]]  # pod: resource: amount

TOLERANCE = 0.1
_STABLE_SECONDS = 300


@dataclass(frozen=True)
class Target:
    """What is scaled, and its pods."""

    resource: Resource
    obj: Object
    pods: list[Object]

    @property
    def replicas(self) -> int:
        """Return how many pods there are to be now."""
        number: int = self.obj["spec"].get("replicas", 1)
        return number


@dataclass(frozen=True)
class Proposal:
    """How many replicas one metric asks for."""

    replicas: int
    status: Object
    name: str


class NoMetricError(Exception):
    """A metric cannot be had; the text is what the condition says."""


def reconcile(
    hpa: Object,
    target: Target | None,
    usage: Usage | None,
    history: list[tuple[float, int]],
    now: float,
) -> list[Action]:
    """Return the new size and the status; `history` keeps the sizes proposed before."""
    spec, kind = hpa["spec"], hpa["spec"]["scaleTargetRef"]["kind"]
    if target is None:
        text = (
            "the HPA controller was unable to get the target's current scale: "
            f'{kind} "{spec["scaleTargetRef"]["name"]}" not found'
        )
        return _inactive(hpa, "AbleToScale", "FailedGetScale", text, now)
    if target.replicas == 0:
        text = "scaling is disabled since the replica count of the target is zero"
        return _inactive(hpa, "ScalingActive", "ScalingDisabled", text, now)
    least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
    if not least <= target.replicas <= most:
        return _enforce(hpa, target, min(max(target.replicas, least), most), now)
    try:
        proposals = [_propose(metric, target, usage) for metric in spec.get("metrics") or []]
    except NoMetricError as error:
        text = f"the HPA was unable to compute the replica count: {error}"
        return _inactive(hpa, "ScalingActive", "FailedGetResourceMetric", text, now)
    if not proposals:
        return []
    best = max(proposals, key=lambda proposal: proposal.replicas)
    wanted = _stable(best.replicas, target.replicas, history, now - _window(spec), now)
    size, limit = _limited(wanted, spec, target.replicas)
    status = {
        **(hpa.get("status") or {}),
        "observedGeneration": hpa["metadata"].get("generation"),
        "currentReplicas": target.replicas,
        "desiredReplicas": size,
        "currentMetrics": [proposal.status for proposal in proposals],
    }
    actions: list[Action] = []
    if size != target.replicas:
        status["lastScaleTime"] = objects.when(now)
        actions.append(_resize(hpa, target, size, best))
    able = "SucceededRescale" if actions else "ReadyForNewScale"
    found = f"the HPA was able to successfully calculate a replica count from {best.name}"
    shown = [
        ("AbleToScale", "True", able, f"the HPA controller holds the target at {size} replicas"),
        ("ScalingActive", "True", "ValidMetricFound", found),
        ("ScalingLimited", "True" if limit else "False", limit or "DesiredWithinRange", ""),
    ]
    status["conditions"] = [_condition(hpa, *one, now) for one in shown]
    return [*actions, *set_status(HPAS, hpa, status)]


def _propose(metric: Object, target: Target, usage: Usage | None) -> Proposal:
    """Return how many replicas a metric asks for."""
    if metric["type"] != "Resource":
        raise NoMetricError(
            f"metrics of the type {metric['type']} are not served here, only Resource (cpu, memory)"
        )
    name = metric["resource"]["name"]
    start = f"unable to get metrics for resource {name}: "
    if usage is None:
        raise NoMetricError(f"{start}the API metrics.k8s.io does not answer")
    running = [pod for pod in target.pods if objects.is_active(pod) and objects.is_ready(pod)]
    measured = [pod for pod in running if name in usage.get(pod["metadata"]["name"], {})]
    if not measured:
        raise NoMetricError(f"{start}no metrics returned from resource metrics API")
    used = sum((usage[pod["metadata"]["name"]][name] for pod in measured), Decimal(0))
    goal = metric["resource"]["target"]
    average = used / len(measured)
    current: Object = {"averageValue": quantity.write(average, name == "memory")}
    if goal["type"] == "Utilization":
        requested = sum((_request(pod, name) for pod in measured), Decimal(0))
        if not requested:
            raise NoMetricError(f"{start}the pods request none of it")
        percent = int(used * 100 / requested)
        current["averageUtilization"] = percent
        ratio = percent / goal["averageUtilization"]
        text = f"{name} resource utilization (percentage of request)"
    else:
        ratio = float(average / quantity.amount(goal["averageValue"]))
        text = f"{name} resource"
    replicas = target.replicas
    if abs(ratio - 1) > TOLERANCE:
        replicas = ceil(len(measured) * ratio)
        # Pods without a figure shift neither direction.
        limit = max if ratio > 1 else min
        replicas = limit(replicas, target.replicas)
    return Proposal(
        replicas, {"type": "Resource", "resource": {"name": name, "current": current}}, text
    )


def _request(pod: Object, name: str) -> Decimal:
    total = Decimal(0)
    for container in pod["spec"]["containers"]:
        amount = ((container.get("resources") or {}).get("requests") or {}).get(name)
        if amount is None:
            raise NoMetricError(
                f"failed to get {name} utilization: missing request for {name} in container "
                f"{container['name']} of Pod {pod['metadata']['name']}"
            )
        total += quantity.amount(amount)
    return total


def _window(spec: Object) -> float:
    """Return for how many seconds a larger size keeps the replicas from becoming fewer."""
    down = (spec.get("behavior") or {}).get("scaleDown") or {}
    seconds = down.get("stabilizationWindowSeconds")
    return float(_STABLE_SECONDS if seconds is None else seconds)


def _stable(
    wanted: int, current: int, history: list[tuple[float, int]], since: float, now: float
) -> int:
    """Return the largest size of the window: who shrinks at once grows again soon."""
    history[:] = [entry for entry in history if entry[0] > since]
    history.append((now, wanted))
    if wanted >= current:
        return wanted
    return min(current, max(size for _, size in history))


def _limited(wanted: int, spec: Object, current: int) -> tuple[int, str]:
    """Return a size within the limits, and which limit it met."""
    least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
    fastest = max(2 * current, 4)
    if wanted > min(most, fastest):
        return min(most, fastest), "TooManyReplicas" if most <= fastest else "ScaleUpLimit"
    return (least, "TooFewReplicas") if wanted < least else (wanted, "")


def _enforce(hpa: Object, target: Target, size: int, now: float) -> list[Action]:
    """Bring the replicas within the limits, whatever the pods use."""
    word = "below Spec.MinReplicas" if size > target.replicas else "above Spec.MaxReplicas"
    meta = target.obj["metadata"]
    text = f"New size: {size}; reason: Current number of replicas {word}"
    event = Event(hpa, "Normal", "SuccessfulRescale", text)
    able = f"the HPA controller was able to update the target scale to {size}"
    status = {
        **(hpa.get("status") or {}),
        "observedGeneration": hpa["metadata"].get("generation"),
        "currentReplicas": target.replicas,
        "desiredReplicas": size,
        "lastScaleTime": objects.when(now),
        "conditions": [
            *(
                one
                for one in (hpa.get("status") or {}).get("conditions") or []
                if one["type"] != "AbleToScale"
            ),
            _condition(hpa, "AbleToScale", "True", "SucceededRescale", able, now),
        ],
    }
    patch = Patch(
        target.resource,
        meta["name"],
        meta["namespace"],
        {"spec": {"replicas": size}},
        on_success=(event,),
    )
    return [patch, *set_status(HPAS, hpa, status)]


def _resize(hpa: Object, target: Target, size: int, best: Proposal) -> Patch:
    meta = target.obj["metadata"]
    way = "above" if size > target.replicas else "below"
    text = f"New size: {size}; reason: {best.name} {way} target"
    event = Event(hpa, "Normal", "SuccessfulRescale", text)
    patch = {"spec": {"replicas": size}}
    return Patch(target.resource, meta["name"], meta["namespace"], patch, on_success=(event,))


def _inactive(hpa: Object, kind: str, reason: str, text: str, now: float) -> list[Action]:
    before = hpa.get("status") or {}
    conditions = [c for c in before.get("conditions") or [] if c["type"] != kind]
    conditions.append(_condition(hpa, kind, "False", reason, text, now))
    status = {**before, "conditions": conditions}
    status.setdefault("desiredReplicas", 0)
    status.setdefault("currentMetrics", None)
    return [Event(hpa, "Warning", reason, text), *set_status(HPAS, hpa, status)]


def _condition(
    hpa: Object, kind: str, status: str, reason: str, message: str, now: float
) -> Object:
    before = objects.condition(hpa, kind)
    is_same = before is not None and before["status"] == status
    since = before["lastTransitionTime"] if before and is_same else objects.when(now)
    made = {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason}
    return {**made, "message": message} if message else made
