"""One pass after the other for each kdcluster, and the jobs its members are busy with."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from functools import partial

import aiohttp

from labsandbox.client import ApiError, Client
from labsandbox.client.resources import KDCLUSTERS, PODS
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import configmeta
from labsandbox.kubedirector.act import Actor
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.event import Recorder
from labsandbox.kubedirector.job import Deadlines, Task, carry_out
from labsandbox.kubedirector.model import Object, roles_of
from labsandbox.kubedirector.observe import observe
from labsandbox.kubedirector.reconcile.cluster import reconcile
from labsandbox.kubedirector.reconcile.container import container_id
from labsandbox.kubedirector.reconcile.plan import Job, Note, Observed, Plan, Report
from labsandbox.kubedirector.store import Store

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_AT_ONCE = 16

Key = tuple[str, str]  # namespace and name of a kdcluster


class Worker:
    """Runs passes: for one kdcluster never two at a time, for different ones side by side."""

    def __init__(
        self,
        client: Client,
        store: Store,
        actor: Actor,
        recorder: Recorder,
        codes: Codes,
        namespace: str,
        deadlines: Deadlines,
    ) -> None:
        self.client, self.store, self.actor = client, store, actor
        self.recorder, self.codes = recorder, codes
        self.namespace, self.deadlines = namespace, deadlines
        self.is_live = False
        self._dirty: set[Key] = set()
        self._passes: dict[Key, asyncio.Task[None]] = {}
        self._failures: dict[Key, int] = {}
        self._notes: dict[Key, set[tuple[str, str]]] = {}
        self._jobs: dict[Key, dict[str, asyncio.Task[None]]] = {}
        self._reports: dict[Key, dict[str, Report]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def enqueue(self, namespace: str, name: str) -> None:
        """Have a kdcluster looked at soon."""
        key = (namespace, name)
        if self.store.get(KDCLUSTERS, namespace, name) is None:
            return
        self._dirty.add(key)
        if self.is_live and key not in self._passes:
            task = asyncio.create_task(self._drain(key), name=f"kdcluster {namespace}/{name}")
            self._passes[key] = task

    def begin(self) -> None:
        """Start with what was noticed so far."""
        self.is_live = True
        for namespace, name in list(self._dirty):
            self.enqueue(namespace, name)

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """Drop everything that belongs to a kdcluster that is gone."""
        key = (namespace, name)
        self.codes.forget(uid)
        for task in self._jobs.pop(key, {}).values():
            task.cancel()
        for table in (self._failures, self._notes, self._reports):
            table.pop(key, None)
        self._dirty.discard(key)

    async def stop(self) -> None:
        """Cancel passes and jobs."""
        self.is_live = False
        tasks = [*self._passes.values()]
        tasks += [task for jobs in self._jobs.values() for task in jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self, key: Key) -> None:
        try:
            while key in self._dirty:
                self._dirty.discard(key)
                async with self._slots:
                    await self._attempt(key)
        finally:
            self._passes.pop(key, None)

    async def _attempt(self, key: Key) -> None:
        """Make a pass; when it fails, come back later and later."""
        cluster = self.store.get(KDCLUSTERS, *key)
        if cluster is None:
            return
        try:
            problems = await self._pass(key, cluster)
        except ApiError as error:
            if error.is_not_found:
                return
            problems = [] if error.is_conflict else [f"a step failed: {error.message}"]
            if error.is_conflict:
                self._again(key, _FIRST_PAUSE)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            problems = [f"the API server cannot be reached: {error or type(error).__name__}"]
        except Exception:
            # A bug shows in the log and on the object; other kdclusters must not suffer from it.
            log.exception("the pass over %s/%s failed", *key)
            problems = [
                "This is a bug in labsandbox; please report it with the output of "
                "`labsandbox logs`."
            ]
        if not problems:
            self._failures.pop(key, None)
            return
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        for problem in problems if failures in (1, 4, 16) else []:
            self.recorder.record(cluster, "Cluster", problem, warning=True)
        self._again(key, min(_FIRST_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE))

    def _again(self, key: Key, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.enqueue, *key)

    async def _pass(self, key: Key, cluster: Object) -> list[str]:
        """Observe, plan, act; return what failed."""
        reports = dict(self._reports.get(key, {}))
        jobs = self._jobs.get(key, {})
        busy = frozenset(pod for pod, task in jobs.items() if not task.done())
        observed = observe(self.store, self.namespace, cluster, reports, busy)
        plan = reconcile(observed)
        self._record(key, cluster, plan.notes)
        problems = await self.actor.perform(cluster, plan.actions)
        cluster = await self.actor.write_metadata(cluster, plan)
        if plan.is_gone:
            return problems
        if plan.status is not None and plan.status != cluster.get("status"):
            code = plan.status["generationUID"] = str(uuid.uuid4())
            self.codes.expect(cluster["metadata"]["uid"], code)
            try:
                cluster = await self.actor.write_status(cluster, plan.status)
            finally:
                self.codes.spend(cluster["metadata"]["uid"])
            self._dirty.add(key)
        kept = self._reports.get(key, {})
        for pod, report in reports.items():
            if kept.get(pod) is report:
                del kept[pod]
        self._start_jobs(key, cluster, observed, plan)
        return problems

    def _record(self, key: Key, cluster: Object, notes: list[Note]) -> None:
        """Record what is new; what was said in the pass before is still true and not repeated."""
        before = self._notes.get(key, set())
        self._notes[key] = {(note.reason, note.message) for note in notes}
        for note in notes:
            if (note.reason, note.message) in before:
                continue
            about = cluster
            if note.about:
                meta = note.about["metadata"]
                found = self.store.get(KDCLUSTERS, meta["namespace"], meta["name"])
                about = found or note.about
            self.recorder.record(about, note.reason, note.message, warning=note.warning)

    def _start_jobs(self, key: Key, cluster: Object, observed: Observed, plan: Plan) -> None:
        if not plan.jobs or observed.app is None or plan.status is None:
            return
        common = configmeta.build(
            cluster, observed.app, plan.status, observed.connected, observed.settings
        )
        for job in plan.jobs:
            task = self._task(cluster, observed, plan.status, common, job)
            work = carry_out(
                self.client,
                task,
                partial(self._is_current, key[0], job),
                partial(self._deliver, key),
                partial(self._complain, key),
            )
            started = asyncio.create_task(work, name=f"{job.kind} {job.pod}")
            self._jobs.setdefault(key, {})[job.pod] = started
            started.add_done_callback(partial(self._end_job, key, job))

    def _task(
        self, cluster: Object, observed: Observed, status: Object, common: Object, job: Job
    ) -> Task:
        app = observed.app
        assert app is not None
        text = ""
        if job.kind != "notify":
            text = json.dumps(
                configmeta.for_member(common, cluster, app, status, observed.settings, job.pod),
                separators=(",", ":"),
            )
        package = apps.package(app, job.role)
        role = next((r for r in roles_of(cluster) if r["id"] == job.role), {})
        return Task(
            job=job,
            namespace=cluster["metadata"]["namespace"],
            generation=status["specGenerationToProcess"],
            configmeta=text,
            package_url=package.url if package else "",
            wants_configure=apps.wants_event(app, job.role, "configure"),
            log_size=apps.log_size(app, job.role),
            injections=tuple(role.get("fileInjections") or ()),
            deadlines=self.deadlines,
        )

    def _is_current(self, namespace: str, job: Job) -> bool:
        """Say whether the container a job is for is still the member's."""
        return container_id(self.store.get(PODS, namespace, job.pod)) == job.container

    def _deliver(self, key: Key, report: Report) -> None:
        self._reports.setdefault(key, {})[report.pod] = report
        self.enqueue(*key)

    def _complain(self, key: Key, text: str) -> None:
        cluster = self.store.get(KDCLUSTERS, *key)
        if cluster:
            self.recorder.record(cluster, "Member", text, warning=True)

    def _end_job(self, key: Key, job: Job, task: asyncio.Task[None]) -> None:
        jobs = self._jobs.get(key, {})
        if jobs.get(job.pod) is task:
            del jobs[job.pod]
        if not task.cancelled() and task.exception():
            log.error("%s of %s failed", job.kind, job.pod, exc_info=task.exception())
        self.enqueue(*key)
