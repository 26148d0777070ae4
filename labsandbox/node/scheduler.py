"""Bind pending pods to nodes: requests, selectors, taints, and the usual texts when none fits."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from labsandbox import quantity
from labsandbox.client import ApiError, Client, ClientError, Informer
from labsandbox.client.resources import NODES, PODS
from labsandbox.node import limits
from labsandbox.node.events import Recorder

log = logging.getLogger(__name__)

Object = dict[str, Any]

NAME = "default-scheduler"
_RETRY_SECONDS = 2.0
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True)
class Fit:
    """The node for a pod, or why there is none."""

    node: str | None
    message: str = ""


def requests(pod: Object) -> dict[str, Decimal]:
    """Return what a pod asks for: the sum of its containers or its largest init container."""
    spec = pod["spec"]
    total: dict[str, Decimal] = {}
    for container in spec["containers"]:
        for name, value in _wanted(container).items():
            total[name] = total.get(name, Decimal(0)) + value
    for container in spec.get("initContainers") or []:
        for name, value in _wanted(container).items():
            if container.get("restartPolicy") == "Always":
                total[name] = total.get(name, Decimal(0)) + value
            else:
                total[name] = max(total.get(name, Decimal(0)), value)
    return total


def _wanted(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    words = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity.amount(value) for name, value in words.items()}


def is_active(pod: Object) -> bool:
    """Say whether a pod still takes room on its node."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def choose(pod: Object, nodes: list[Object], pods: list[Object]) -> Fit:
    """Return the emptiest node that fits the pod."""
    if problem := limits.problem(pod["spec"]):
        return Fit(None, f"0/{len(nodes)} nodes are available: {problem}.")
    reasons: Counter[str] = Counter()
    fitting: list[tuple[Decimal, str]] = []
    for node in nodes:
        name = node["metadata"]["name"]
        placed = [p for p in pods if p["spec"].get("nodeName") == name and is_active(p)]
        problems = _problems(pod, node, placed)
        reasons.update(problems)
        if not problems:
            used = sum((requests(p).get("cpu", Decimal(0)) for p in placed), Decimal(0))
            fitting.append((used, name))
    if fitting:
        return Fit(min(fitting)[1])
    if not nodes:
        return Fit(None, "no nodes available to schedule pods")
    parts = sorted(f"{count} {reason}" for reason, count in reasons.items())
    total = len(nodes)
    helpless = all("didn't match" in r or "taint" in r or "unschedul" in r for r in reasons)
    preemption = (
        f"{total} Preemption is not helpful for scheduling."
        if helpless
        else f"{total} No preemption victims found for incoming pod."
    )
    return Fit(
        None,
        f"0/{total} nodes are available: {', '.join(parts)}. "
        f"preemption: 0/{total} nodes are available: {preemption}",
    )


def _problems(pod: Object, node: Object, placed: list[Object]) -> list[str]:
    spec, wanted = pod["spec"], requests(pod)
    labels = node["metadata"].get("labels") or {}
    if (node.get("spec") or {}).get("unschedulable") and not _tolerates(
        pod, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return ["node(s) were unschedulable"]
    is_selected = all(labels.get(k) == v for k, v in (spec.get("nodeSelector") or {}).items())
    if not is_selected or not _is_required(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    for taint in (node.get("spec") or {}).get("taints") or []:
        if taint["effect"] in ("NoSchedule", "NoExecute") and not _tolerates(pod, taint):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    if pressure := _pressure(node, wanted):
        return [f"node(s) had untolerated taint {{node.kubernetes.io/{pressure}: }}"]
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    problems = []
    if len(placed) + 1 > int(allocatable.get("pods", "110")):
        problems.append("Too many pods")
    for name, amount in wanted.items():
        if name in _RESOURCES or amount:
            used = sum((requests(p).get(name, Decimal(0)) for p in placed), Decimal(0))
            if used + amount > quantity.amount(allocatable.get(name, "0")):
                problems.append(f"Insufficient {name}")
    return problems


def _pressure(node: Object, wanted: dict[str, Decimal]) -> str | None:
    """Return the pressure that keeps a pod from a node, by the name of a real server's taint."""
    found = {c["type"]: c["status"] for c in (node.get("status") or {}).get("conditions") or []}
    if found.get("DiskPressure") == "True":
        return "disk-pressure"
    if found.get("PIDPressure") == "True":
        return "pid-pressure"
    # Pods that ask for something tolerate it, as a real API server adds to them.
    if found.get("MemoryPressure") == "True" and not wanted:
        return "memory-pressure"
    return None


def _is_required(pod: Object, node: Object) -> bool:
    """Say whether a node is among those the pod's required node affinity names."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_meets(e, labels) for e in term.get("matchExpressions") or [])
        and all(_meets(e, fields) for e in term.get("matchFields") or [])
        for term in required["nodeSelectorTerms"]
        if term
    )


def _meets(expression: Object, values: Object) -> bool:
    value, wanted = values.get(expression["key"]), expression.get("values") or []
    operator = expression["operator"]
    if operator in ("In", "NotIn"):
        return bool((value in wanted) == (operator == "In"))
    if operator in ("Exists", "DoesNotExist"):
        return bool((value is not None) == (operator == "Exists"))
    if value is None or not wanted:
        return False
    left, right = _number(value), _number(wanted[0])
    if left is None or right is None:
        return False
    return left > right if operator == "Gt" else left < right


def _number(text: str) -> int | None:
    """Return the number a label stands for; None when it stands for none."""
    return int(text) if re.fullmatch(r"[-+]?[0-9]{1,18}", text) else None


def _tolerates(pod: Object, taint: Object) -> bool:
    for toleration in pod["spec"].get("tolerations") or []:
        is_key = toleration.get("key") in (None, "", taint["key"])
        is_value = toleration.get("operator") == "Exists" or toleration.get(
            "value", ""
        ) == taint.get("value", "")
        is_effect = toleration.get("effect") in (None, "", taint["effect"])
        if is_key and is_value and is_effect:
            return True
    return False


class Scheduler:
    """Binds the pods a shared informer shows."""

    def __init__(self, client: Client, pods: Informer) -> None:
        self.client, self.pods = client, pods
        self.nodes = Informer(client, NODES)
        self.events = Recorder(client, NAME)
        self._wake = asyncio.Event()
        self._assumed: dict[str, str] = {}

    async def run(self) -> None:
        """Schedule for ever."""
        for informer in (self.pods, self.nodes):
            informer.listeners.append(lambda *_: self._wake.set())
        await self.nodes.start()
        recorder = asyncio.create_task(self.events.run())
        self._wake.set()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                try:
                    await self._bind_pending()
                    if self._pending():
                        # What was refused or does not fit now may do so without any event.
                        asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._wake.set)
                except (ClientError, aiohttp.ClientError, OSError, TimeoutError):
                    await asyncio.sleep(0.2)
                    self._wake.set()
        finally:
            recorder.cancel()
            await self.nodes.stop()

    def _placed(self) -> list[Object]:
        """Return all pods, those just bound as bound though the watch has not said so yet."""
        known, placed = set(), []
        for pod in self.pods.objects.values():
            uid = pod["metadata"]["uid"]
            known.add(uid)
            if uid in self._assumed and not pod["spec"].get("nodeName"):
                pod = {**pod, "spec": {**pod["spec"], "nodeName": self._assumed[uid]}}
            else:
                self._assumed.pop(uid, None)
            placed.append(pod)
        self._assumed = {u: node for u, node in self._assumed.items() if u in known}
        return placed

    async def _bind_pending(self) -> None:
        for pod in self._pending():
            try:
                fit = choose(pod, list(self.nodes.objects.values()), self._placed())
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                log.exception("pod %s cannot be scheduled", pod["metadata"]["name"])
                fit = Fit(None, f"this pod cannot be read: {error!r}")
            try:
                if fit.node is None:
                    await self._explain(pod, fit.message)
                else:
                    await self._bind(pod, fit.node)
            except ApiError as error:
                if error.status in (429, 500, 503):
                    raise
                # Refused for this pod, which is tried again; the others get their turn.
                log.info("pod %s was not bound: %s", pod["metadata"]["name"], error)

    def _pending(self) -> list[Object]:
        return [
            pod
            for pod in self._placed()
            if not pod["spec"].get("nodeName")
            and pod["spec"].get("schedulerName", NAME) == NAME
            and not pod["spec"].get("schedulingGates")
            and not pod["metadata"].get("deletionTimestamp")
            and is_active(pod)
        ]

    async def _bind(self, pod: Object, node: str) -> None:
        meta = pod["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": meta["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self.client.create(PODS, binding, namespace, name=name, subresource="binding")
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return
        self._assumed[meta["uid"]] = node
        text = f"Successfully assigned {namespace}/{name} to {node}"
        self.events.record(pod, "Normal", "Scheduled", text)

    async def _explain(self, pod: Object, message: str) -> None:
        conditions = (pod.get("status") or {}).get("conditions") or []
        if any(c["type"] == "PodScheduled" and c.get("message") == message for c in conditions):
            return
        self.events.record(pod, "Warning", "FailedScheduling", message)
        meta = pod["metadata"]
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        others = [c for c in conditions if c["type"] != "PodScheduled"]
        try:
            await self.client.patch(
                PODS,
                meta["name"],
                meta["namespace"],
                {"status": {"conditions": [*others, condition]}},
                subresource="status",
            )
        except ApiError as error:
            if error.status not in (404, 409, 422):
                raise
