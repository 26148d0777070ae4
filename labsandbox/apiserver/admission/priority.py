"""Priority: turns a pod's class into a number; keeps the default class unique."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import CREATE, UPDATE, Request

Json = dict[str, Any]
GROUP, PLURAL = "scheduling.k8s.io", "priorityclasses"
PREEMPT = "PreemptLowerPriority"


class Priority(Quiet):
    """Sets spec.priority and spec.preemptionPolicy."""

    keys = frozenset(("pods", "priorityclasses.scheduling.k8s.io"))

    def __init__(self, stock: Collections) -> None:
        self._stock = stock

    async def mutate(self, request: Request) -> None:
        pod = request.object
        if request.resource.plural != "pods" or request.operation not in (CREATE, UPDATE):
            return
        if pod is None or not isinstance(pod.get("spec"), dict):
            return
        if request.operation == UPDATE:
            return
        spec = pod["spec"]
        found = self._class_of(request, spec)
        value = found.get("value", 0) if found else 0
        policy = (found or {}).get("preemptionPolicy") or PREEMPT
        if spec.get("priority") is not None and spec["priority"] != value:
            raise request.refuse(
                f"the integer value of priority ({spec['priority']}) must not be provided in pod "
                f"spec; priority admission controller computed {value} from the given "
                "PriorityClass name"
            )
        if spec.get("preemptionPolicy") not in (None, policy):
            raise request.refuse(
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be "
                f"provided in pod spec; priority admission controller computed {policy} from the "
                "given PriorityClass name"
            )
        spec["priority"], spec["preemptionPolicy"] = value, policy

    def _class_of(self, request: Request, spec: Json) -> Json | None:
        name = spec.get("priorityClassName")
        if name:
            found = self._stock.find(GROUP, PLURAL, name)
            if found is None:
                raise request.refuse(f"no PriorityClass with name {name} was found")
            return found
        marked = [one for one in self._stock.list(GROUP, PLURAL) if one.get("globalDefault")]
        if not marked:
            return None
        lowest = min(marked, key=lambda one: int(one.get("value") or 0))
        spec["priorityClassName"] = lowest["metadata"]["name"]
        return lowest

    async def validate(self, request: Request) -> None:
        if request.resource.plural != PLURAL or request.object is None:
            return
        if request.operation not in (CREATE, UPDATE) or not request.object.get("globalDefault"):
            return
        for one in self._stock.list(GROUP, PLURAL):
            known = one["metadata"]["name"]
            if one.get("globalDefault") and known != request.shown_name:
                raise request.refuse(
                    f"PriorityClass {known} is already marked as default. "
                    "Only one default can exist"
                )
