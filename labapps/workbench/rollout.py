"""How deployments come about: replicas that load a function, and the switch from one to the next.

New replicas are loaded and ready before calls go to them; only then are the old ones drained. What
does not load changes nothing: the deployment before, or the settings before, serve on.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from labapps.workbench import manifest, state
from labapps.workbench.bench import Bench
from labapps.workbench.deployments import (
    DEPLOYED,
    DEPLOYING,
    FAILED,
    PENDING,
    STOPPED,
    STOPPING,
)
from labapps.workbench.replication import AUTOSCALE
from labapps.workbench.resolve import Resolver
from labapps.workbench.store import Record, now

__all__ = ["DeploymentController", "trouble"]

Object = dict[str, Any]
FAILURE = "A replica does not load"
SECONDS = 600.0
"""How long replicas may take until they are ready, a pod that waits for room included."""


class DeploymentController:
    """Deployments: their replicas, and which of them answers for a model."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.store, self.kube = bench, bench.store, bench.kube
        self.applied: dict[str, str] = {}
        self.ready: set[str] = set()
        self.resolver = Resolver()
        self._forget_secrets()

    def _forget_secrets(self) -> None:
        """End the deployments whose Secrets went with an earlier kdcluster of this name."""
        uid = self.bench.frame.uid
        before = self.store.get("workbench", "owner")
        if before is None:
            self.store.add("workbench", "", {"id": "owner", "uid": uid})
        elif uid != before["uid"]:
            for record in self.store.live("deployment"):
                if record["has_secrets"]:
                    why = "its secrets went with the earlier workbench; deploy the build anew."
                    self._put(record, STOPPING, f"{FAILURE}: {why}")
            self.store.put("workbench", {"id": "owner", "uid": uid})

    async def look(self) -> bool:
        """Take the steps that are due; learn where replicas are ready."""
        live = self.store.live("deployment")
        if not live:
            self.bench.replicas.clear()
            return False
        pods: dict[str, list[Object]] = {}
        for pod in await self.kube.list("pods", self.bench.frame.selector("replica")):
            number = pod["metadata"]["labels"].get(f"{manifest.LABEL}/deployment", "")
            pods.setdefault(number, []).append(pod)
        for number in [record["id"] for record in live]:
            # A handler may have changed it while Kubernetes was asked.
            if (record := self.store.get("deployment", number)) is not None:
                await self._step(record, pods.get(number, []))
        return any(d["status"] != DEPLOYED for d in live)

    async def _step(self, record: Record, pods: list[Object]) -> None:
        if record["status"] == PENDING:
            await self._await_build(record)
        elif record["status"] == DEPLOYING:
            await self._deploy(record, pods)
        elif record["status"] == DEPLOYED:
            await self._apply(record)
            self.bench.replicas[record["id"]] = await self._addresses(record)
        else:
            await self._stop(record, pods)

    async def _await_build(self, record: Record) -> None:
        build = self.store.get("build", record["build_id"])
        if build is None or build["status"] not in ("pending", "built"):
            why = build["reason"] if build else "The build was deleted."
            self._put(record, FAILED, f"The build failed: {why}")
        elif build["status"] == "built":
            self._put(record, DEPLOYING, "")

    async def _apply(self, record: Record) -> None:
        """Bring the Deployment to what the record says; once for each state of the record."""
        policy = record["replication_policy"]
        mark = f"{record['generation']} {json.dumps(policy)} {record['cpu']}"
        if self.applied.get(record["id"]) == mark:
            return
        build = self.bench.need("build", record["build_id"])
        env = json.loads(record["environment"]) | {"WORKBENCH_CRN": record["crn"]}
        made = manifest.deployment(self.bench.frame, record, build, env)
        await self.kube.ensure("services", manifest.replicas(self.bench.frame, record["id"]))
        if policy["type"] == AUTOSCALE:
            # The autoscaler owns the number of replicas from now on.
            await self.kube.apply("deployments", made, manifest.size(record))
            scaler = manifest.autoscaler(self.bench.frame, record)
            await self.kube.apply("horizontalpodautoscalers", scaler)
        else:
            await self.kube.delete("horizontalpodautoscalers", f"model-{record['id']}")
            made["spec"] |= manifest.size(record)["spec"]
            await self.kube.apply("deployments", made)
        self.applied[record["id"]] = mark

    async def _deploy(self, record: Record, pods: list[Object]) -> None:
        await self._apply(record)
        mark = str(record["generation"])
        new = [p for p in pods if p["metadata"]["labels"].get(f"{manifest.LABEL}/turn") == mark]
        if sum(map(is_ready, new)) >= record["replicas"]:
            # The cluster's names follow the readiness: they are asked at the next look.
            if record["id"] not in self.ready:
                self.ready.add(record["id"])
            elif found := await self._addresses(record):
                await self._switch(record, found)
            return
        if self.bench.replicas.get(record["id"]):
            self.bench.replicas[record["id"]] = await self._addresses(record)
        why, waits = trouble(new), state.reason(new)
        if not why and age(record["updated_at"]) > SECONDS:
            why = f"{FAILURE}: it was not ready within {SECONDS:g} s. {waits}".strip()
        if self._has_changed(record):
            return
        if why:
            self._give_up(record, why)
        elif waits != record["reason"]:
            # Not a new state: how long it waits counts from where that began.
            self.store.put("deployment", record | {"reason": waits}, live=True)

    def _give_up(self, record: Record, why: str) -> None:
        """Go back to what served before these settings, or end the deployment."""
        if before := record.pop("before", None):
            record |= before
            self._put(record, DEPLOYED, f"The change was undone. {why}")
        else:
            self._put(record, STOPPING, why)

    async def _addresses(self, record: Record) -> list[str]:
        """Return where the ready replicas listen, as the cluster's names say."""
        name = f"model-{record['id']}.{self.kube.namespace}.svc.cluster.local"
        return await self.resolver.lookup(name)

    async def _switch(self, record: Record, ready: list[str]) -> None:
        """Have the model's calls go to this deployment; drain the one before."""
        service = manifest.service(self.bench.frame, record["model_id"], record["id"])
        await self.kube.apply("services", service)
        if self._has_changed(record):
            return
        model = self.store.get("model", record["model_id"])
        if model is None:
            self._put(record, STOPPING, "The model was deleted.")
            return
        self.bench.replicas[record["id"]] = ready
        before = [
            d
            for d in self.store.live("deployment")
            if d["model_id"] == model["id"]
            and d["id"] != record["id"]
            and (d["status"] == DEPLOYED or d["id"] == model["active_deployment_id"])
        ]
        model["active_deployment_id"] = record["id"]
        record.pop("before", None)
        with self.store.transaction():
            self.store.put("model", model)
            self._put(record, DEPLOYED, "")
            for old in before:
                self._put(old, STOPPING, f"Replaced by the deployment {record['id']}.")

    def _has_changed(self, record: Record) -> bool:
        """Tell whether a handler changed a deployment while Kubernetes was asked."""
        found = self.store.get("deployment", record["id"])
        kept = ("status", "generation", "replication_policy")
        return found is None or any(found[name] != record[name] for name in kept)

    async def _stop(self, record: Record, pods: list[Object]) -> None:
        self.bench.replicas.pop(record["id"], None)
        self.applied.pop(record["id"], None)
        self.ready.discard(record["id"])
        for kind in ("horizontalpodautoscalers", "deployments", "services"):
            await self.kube.delete(kind, f"model-{record['id']}")
        if pods:
            return
        failed = record["reason"].startswith(FAILURE)
        if not failed:
            record["stopped_at"] = now()
        model = self.store.get("model", record["model_id"])
        with self.store.transaction():
            if model is not None and model["active_deployment_id"] == record["id"]:
                model["active_deployment_id"] = ""
                self.store.put("model", model)
            self._put(record, FAILED if failed else STOPPED, record["reason"])

    def _put(self, record: Record, status: str, reason: str) -> None:
        record |= {"status": status, "reason": reason, "updated_at": now()}
        self.store.put("deployment", record, live=status not in (STOPPED, FAILED))
        self.bench.wake()


def age(moment: str) -> float:
    """Return how many seconds ago a moment of a record was."""
    then = datetime.datetime.fromisoformat(moment)
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()


def is_ready(pod: Object) -> bool:
    """Tell whether a replica is ready and stays."""
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def trouble(pods: list[Object]) -> str:
    """Return why a replica ends again and again; empty while none does."""
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses") or []:
            if status.get("ready") or not status.get("restartCount"):
                continue
            ended = (status.get("lastState") or {}).get("terminated") or {}
            message = str(ended.get("message") or "").strip()
            last = message.rpartition("\n")[2] or f"exit code {ended.get('exitCode')}"
            return f"{FAILURE}: {last[-500:]}"
    return ""
