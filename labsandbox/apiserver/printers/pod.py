"""Rows for pods: one word for everything that happens to their containers."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.printers.age import age, read_moment
from labsandbox.apiserver.printers.cells import NONE, Json, at, created, items, name, or_none

COMPLETED = "The pod has completed successfully."
FAILED = "The pod failed."
TERMINAL = ("Succeeded", "Failed")


def pod_row(pod: Json) -> list[Any]:
    """The cells of a pod."""
    tally = _Tally(pod)
    tally.look_at_init()
    if not tally.initializing or _has_condition(pod, "Initialized"):
        tally.look_at_containers()
    reason = tally.reason
    if at(pod, "metadata", "deletionTimestamp"):
        if at(pod, "status", "reason") == "NodeLost":
            reason = "Unknown"
        elif at(pod, "status", "phase") not in TERMINAL:
            reason = "Terminating"
    addresses = items(pod, "status", "podIPs")
    return [
        name(pod),
        f"{tally.ready}/{tally.total}",
        reason,
        tally.restarts_cell(),
        created(pod),
        or_none(addresses[0].get("ip") if addresses else at(pod, "status", "podIP")),
        or_none(at(pod, "spec", "nodeName")),
        or_none(at(pod, "status", "nominatedNodeName")),
        _gates(pod),
    ]


def pod_conditions(pod: Json) -> list[Json] | None:
    """What the row says besides its cells: the pod has ended."""
    phase = at(pod, "status", "phase")
    if phase not in TERMINAL:
        return None
    message = COMPLETED if phase == "Succeeded" else FAILED
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


class _Tally:
    """Counts containers and finds the word that describes them."""

    def __init__(self, pod: Json) -> None:
        self.pod = pod
        self.reason = str(at(pod, "status", "reason") or at(pod, "status", "phase") or "")
        if any(
            one.get("type") == "PodScheduled" and one.get("reason") == "SchedulingGated"
            for one in items(pod, "status", "conditions")
        ):
            self.reason = "SchedulingGated"
        self.sidecars = {
            one.get("name")
            for one in items(pod, "spec", "initContainers")
            if one.get("restartPolicy") == "Always"
        }
        self.total = len(items(pod, "spec", "containers")) + len(self.sidecars)
        self.ready = 0
        self.restarts = 0
        self.sidecar_restarts = 0
        self.last_restart: str | None = None
        self.last_sidecar_restart: str | None = None
        self.initializing = False

    def look_at_init(self) -> None:
        statuses = items(self.pod, "status", "initContainerStatuses")
        for index, one in enumerate(statuses):
            self.restarts += int(one.get("restartCount") or 0)
            self.last_restart = _later(self.last_restart, one)
            is_sidecar = one.get("name") in self.sidecars
            if is_sidecar:
                self.sidecar_restarts += int(one.get("restartCount") or 0)
                self.last_sidecar_restart = _later(self.last_sidecar_restart, one)
            ended, waiting = at(one, "state", "terminated"), at(one, "state", "waiting")
            if ended is not None and not ended.get("exitCode"):
                continue
            if is_sidecar and one.get("started"):
                self.ready += bool(one.get("ready"))
                continue
            self.initializing = True
            if ended is not None:
                self.reason = f"Init:{_ending(ended)}"
            elif waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
                self.reason = f"Init:{waiting['reason']}"
            else:
                total = len(items(self.pod, "spec", "initContainers"))
                self.reason = f"Init:{index}/{total}"
            return

    def look_at_containers(self) -> None:
        self.restarts = self.sidecar_restarts
        self.last_restart = self.last_sidecar_restart
        is_running = False
        for one in reversed(items(self.pod, "status", "containerStatuses")):
            self.restarts += int(one.get("restartCount") or 0)
            self.last_restart = _later(self.last_restart, one)
            ended, waiting = at(one, "state", "terminated"), at(one, "state", "waiting")
            if waiting and waiting.get("reason"):
                self.reason = waiting["reason"]
            elif ended is not None:
                self.reason = _ending(ended)
            elif one.get("ready") and at(one, "state", "running") is not None:
                is_running = True
                self.ready += 1
        if self.reason == "Completed" and is_running:
            self.reason = "Running" if _has_condition(self.pod, "Ready") else "NotReady"

    def restarts_cell(self) -> str:
        if self.restarts and self.last_restart:
            return f"{self.restarts} ({age(self.last_restart)} ago)"
        return str(self.restarts)


def _ending(ended: Json) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _later(known: str | None, status: Json) -> str | None:
    found = at(status, "lastState", "terminated", "finishedAt")
    first, second = read_moment(known), read_moment(found)
    if second is None:
        return known
    return str(found) if first is None or first < second else known


def _has_condition(pod: Json, kind: str) -> bool:
    return any(
        one.get("type") == kind and one.get("status") == "True"
        for one in items(pod, "status", "conditions")
    )


def _gates(pod: Json) -> str:
    gates = [one.get("conditionType") for one in items(pod, "spec", "readinessGates")]
    if not gates:
        return NONE
    return f"{sum(_has_condition(pod, str(gate)) for gate in gates)}/{len(gates)}"
