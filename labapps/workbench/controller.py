"""The loop that brings records and Kubernetes together.

Everything here may be repeated: objects have names that follow from their record, so a workbench
that was killed between two steps takes the same step again, and nothing runs twice.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import zoneinfo
from typing import Any, Protocol

import aiohttp
from croniter import croniter

from labapps.workbench import manifest, state
from labapps.workbench.bench import Bench
from labapps.workbench.kube import KubeError
from labapps.workbench.runs import derived, facts, new_run, tail
from labapps.workbench.store import Record, now
from labapps.workbench.turns import Turns

__all__ = ["RunController", "Worker", "follow"]

log = logging.getLogger(__name__)
Object = dict[str, Any]
BUSY, IDLE = 0.2, 2.0
NEAR = 5.0


class Worker(Protocol):
    """One controller: it looks once, and says whether something is under way."""

    async def look(self) -> bool:
        """Take all steps that are due."""
        ...


async def follow(bench: Bench, workers: list[Worker]) -> None:
    """Look again and again, at once when something was asked for."""
    while True:
        bench.changed.clear()
        busy = False
        for worker in workers:
            try:
                busy |= await worker.look()
            except (KubeError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning("%s: %s", type(worker).__name__, error or type(error).__name__)
                busy = True
            except Exception:
                log.exception("%s failed", type(worker).__name__)
        try:
            await asyncio.wait_for(bench.changed.wait(), BUSY if busy else IDLE)
        except TimeoutError:
            continue


class RunController:
    """Runs: a Job each, their states, and the runs that follow on a success.

    A CronJob makes its Jobs suspended: here is decided whether one starts, waits for its turn, or
    is skipped because the run before is still active.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.store, self.kube = bench, bench.store, bench.kube
        self.turns = Turns()
        self.is_new = True

    async def look(self) -> bool:
        """Start what is to start, note what has changed."""
        crons = self.store.find("job", type="cron")
        if self.is_new:
            for job in crons:
                await self.kube.apply("cronjobs", self.bench.cronjob(job))
        elif not crons and not self.store.live("run"):
            return False
        found = await self.kube.list("jobs", self.bench.frame.selector("run"))
        jobs = {j["metadata"]["name"]: j for j in found}
        for one in sorted(found, key=lambda j: str(j["metadata"].get("creationTimestamp"))):
            await self._adopt(one)
        live = self.store.live("run")
        pods = await self._pods() if live else {}
        starting = self.turns.starting(live)
        for number in [run["id"] for run in live]:
            # A handler may have changed it while Kubernetes was asked.
            run = self.store.get("run", number)
            if run is not None and run["status"] not in state.FINAL:
                its_pods = pods.get(run["unit"], [])
                may_start = number in starting
                await self._step(run, jobs.get(run["unit"]), its_pods, may_start=may_start)
        self.is_new = False
        return bool(live) or any(map(is_due, crons))

    async def _pods(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for pod in await self.kube.list("pods", self.bench.frame.selector("run")):
            unit = pod["metadata"]["labels"].get("batch.kubernetes.io/job-name", "")
            found.setdefault(unit, []).append(pod)
        return found

    async def _adopt(self, found: Object) -> None:
        """Make the record of a run that a CronJob asks for; remove what will not run any more."""
        meta, is_held = found["metadata"], bool(found["spec"].get("suspend"))
        number = meta["labels"].get(f"{manifest.LABEL}/run") or derived("cron", meta["uid"])
        run = self.store.get("run", number)
        if run is None and is_held:
            run = self._held(found, number)
        if is_held and (run is None or run["status"] in state.FINAL):
            await self.kube.delete("jobs", meta["name"])

    def _held(self, found: Object, number: str) -> Record | None:
        """Make the record of a Job that waits for its start, or is skipped."""
        labels = found["metadata"]["labels"]
        job = self.store.get("job", labels.get(f"{manifest.LABEL}/job", ""))
        if job is None:
            return None
        run = new_run(number, job, self.bench.environment(job))
        run |= {"unit": found["metadata"]["name"], "held": True}
        active = [one for one in self.store.live("run") if one["job_id"] == job["id"]]
        if active:
            why = f"The run {active[0]['id']} of this job was still active."
            run |= {"status": state.SKIPPED, "reason": why, "finished_at": now()}
        self.store.add("run", job["id"], run, live=not active)
        return run

    async def _step(
        self, run: Record, job: Object | None, pods: list[Object], *, may_start: bool
    ) -> None:
        if not run["submitted"]:
            if run["stopping"]:
                await self._finish(run, state.STOPPED, "")
            elif may_start and (job is None) != run["held"]:
                await self._submit(run)
            elif run["held"] and job is None:
                await self._finish(run, state.UNKNOWN, "Its Job was deleted from Kubernetes.")
            elif job is not None and not run["held"]:
                self.store.put("run", run | {"submitted": True}, live=True)
            elif run["reason"] != self.turns.reason:
                self.store.put("run", run | {"reason": self.turns.reason}, live=True)
            return
        if job is None:
            await self._finish(run, self._ending(run), "Its Job was deleted from Kubernetes.")
            return
        counts = job.get("status") or {}
        run["attempts"] = sum(counts.get(k) or 0 for k in ("active", "succeeded", "failed"))
        if run["stopping"] and not job["spec"].get("suspend") and not _ended(job):
            await self.kube.patch("jobs", run["unit"], {"spec": {"suspend": True}})
            return
        status = state.job_status(job, pods, stopping=run["stopping"])
        if status in state.FINAL:
            await self._finish(run, status, state.reason(pods))
        elif status != run["status"] or run["reason"] != state.reason(pods):
            field = {state.STARTING: "starting_at", state.RUNNING: "running_at"}.get(status, "")
            if field and status != run["status"]:
                run[field] = now()
            run |= {"status": status, "reason": state.reason(pods)}
            self.store.put("run", run, live=True)

    async def _submit(self, run: Record) -> None:
        frame = self.bench.frame
        try:
            if run["held"]:
                await self.kube.patch("jobs", run["unit"], {"spec": {"suspend": False}})
            else:
                await self.kube.ensure("jobs", manifest.job(frame, run["unit"], run))
        except KubeError as error:
            if error.status not in (400, 403, 422):
                raise
            await self._finish(run, state.FAILED, str(error))
            return
        found = self.store.get("run", run["id"]) or run
        self.store.put("run", found | {"submitted": True, "reason": ""}, live=True)

    def _ending(self, run: Record) -> str:
        if run["stopping"]:
            return state.STOPPED
        code = tail(self.bench.layout, run["unit"], "exit")
        if not code:
            return state.UNKNOWN
        return state.SUCCEEDED if code == b"0" else state.FAILED

    async def _finish(self, run: Record, status: str, reason: str) -> None:
        """Note the end of a run and the runs that follow from it, all of it or nothing."""
        published = facts(self.bench.layout, run["unit"])
        run |= {"status": status, "reason": reason, "finished_at": now(), "facts": published}
        with self.store.transaction():
            self.store.put("run", run)
            if status == state.SUCCEEDED:
                for job in self.store.find("job", run["project_id"], parent_id=run["job_id"]):
                    number = derived("child", run["id"], job["id"])
                    child = new_run(number, job, self.bench.environment(job), run)
                    self.store.add("run", job["id"], child, live=True)
        if status == state.STOPPED:
            # A suspended Job would stay for ever.
            await self.kube.delete("jobs", run["unit"])


def is_due(job: Record) -> bool:
    """Tell whether a schedule's moment is so near that its Job is to be looked for at once."""
    if job["paused"]:
        return False
    zone = zoneinfo.ZoneInfo(job["timezone"])
    here = datetime.datetime.now(zone)
    back = croniter(job["schedule"], here).get_prev(datetime.datetime)
    ahead = croniter(job["schedule"], here).get_next(datetime.datetime)
    return bool((here - back).total_seconds() < NEAR or (ahead - here).total_seconds() < NEAR)


def _ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
