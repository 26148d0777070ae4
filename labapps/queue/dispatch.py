"""Bring waiting jobs and polling workers together.

A worker always has one question open: "anything for me?". The answer is a job, or jobs to end.
Who asks nothing for a while is gone, and so are its jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from labapps.queue import fair
from labapps.queue.job import CANCELLED, FINISHED, QUEUED, RUNNING, Job, Limits
from labapps.queue.record import Records
from labapps.queue.store import Store

__all__ = ["Dispatcher", "Worker"]

log = logging.getLogger(__name__)
POLL = 4.0
LOST = 15.0
HUNG_UP = 3.0


@dataclass
class Worker:
    """A worker as the queue sees it."""

    host: str
    incarnation: str = ""
    slots: int = 0
    seen: float = field(default_factory=time.monotonic)
    hung_up: float = 0.0
    question: asyncio.Future[dict[str, Any]] | None = None
    jobs: set[int] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        return self.question is not None and not self.question.done()

    def missing(self, now: float) -> str:
        """Say why this worker counts as lost; empty while it does not."""
        if self.is_open:
            return ""
        if self.hung_up and now - self.hung_up > HUNG_UP:
            return f"Worker {self.host} ended."
        return f"Worker {self.host} was silent for {LOST:g} s." if now - self.seen > LOST else ""


class Dispatcher:
    """Decides which worker runs which job."""

    def __init__(self, store: Store, records: Records, limits: Limits) -> None:
        self.store, self.records, self.limits = store, records, limits
        self.workers: dict[str, Worker] = {}
        self.changed: dict[int, asyncio.Event] = {}
        for job in store.of_status(RUNNING):
            self.workers.setdefault(job.worker, Worker(job.worker, job.incarnation)).jobs.add(
                job.id
            )

    # -- what learners do -------------------------------------------------------------------

    def submit(self, fields: dict[str, Any]) -> Job:
        """Queue a job."""
        job = self.store.add(fields)
        self.records.create(job, fields["code"])
        self.dispatch()
        return job

    def cancel(self, job: Job) -> Job:
        """End a job, waiting or running."""
        if job.status == QUEUED:
            job.status, job.finished, job.cancel = CANCELLED, time.time(), True
            self._settle(job)
        elif job.status == RUNNING:
            job.cancel = True
            self.store.update(job)
            worker = self.workers.get(job.worker)
            if worker is not None:
                self.answer(worker)
        return job

    # -- what workers do --------------------------------------------------------------------

    async def poll(self, host: str, incarnation: str, slots: int, jobs: set[int]) -> dict[str, Any]:
        """Answer a worker's question, at the latest after a few seconds."""
        worker = self.workers.setdefault(host, Worker(host))
        if worker.incarnation != incarnation:
            self.drop_jobs(worker, f"Worker {host} ended and was started again.")
            worker.incarnation = incarnation
        self._compare(worker, jobs)
        worker.slots, worker.hung_up = slots, 0.0
        worker.seen = time.monotonic()
        if worker.is_open and worker.question is not None:
            worker.question.set_result({"job": None})  # asked again: the old question is moot
        worker.question = asyncio.get_running_loop().create_future()
        self.answer(worker)
        self.dispatch()
        question = worker.question
        try:
            return await asyncio.wait_for(asyncio.shield(question), POLL)
        except TimeoutError:
            if not question.done():
                question.set_result({"job": None})
            return question.result()
        finally:
            worker.seen = time.monotonic()

    def hang_up(self, host: str, incarnation: str) -> None:
        """A worker's connection ended while its question was open."""
        worker = self.workers.get(host)
        if worker is not None and worker.incarnation == incarnation:
            worker.hung_up = time.monotonic()
            if worker.is_open and worker.question is not None:
                worker.question.set_result({"job": None})

    def _compare(self, worker: Worker, jobs: set[int]) -> None:
        """Jobs we gave but the worker never got wait again; nothing of them has run."""
        for number in worker.jobs - jobs:
            job = self.store.get(number)
            if job is not None and job.status == RUNNING and time.time() - job.started > 1.0:
                log.warning("Job %d never reached %s; it waits again", number, worker.host)
                job.status, job.attempts = QUEUED, job.attempts - 1
                self.store.update(job)
                worker.jobs.discard(number)

    def owned(self, host: str, incarnation: str, number: int) -> Job | None:
        """Return a job if it is this worker's to report on."""
        worker, job = self.workers.get(host), self.store.get(number)
        if worker is not None:
            worker.seen = time.monotonic()
        if job is None or job.status != RUNNING:
            return None
        return job if (job.worker, job.incarnation) == (host, incarnation) else None

    def finish(self, job: Job, report: dict[str, Any]) -> None:
        """Note how a job ended."""
        job.status = CANCELLED if job.cancel and report["status"] != FINISHED else report["status"]
        job.reason = "" if job.status == CANCELLED else str(report.get("reason") or "")
        job.exit_code, job.usage = report.get("exit_code"), dict(report.get("usage") or {})
        job.finished = time.time()
        self._release(job)
        self._settle(job)
        self.dispatch()

    def give_back(self, job: Job, reason: str) -> None:
        """A worker stops and gives a job back unfinished."""
        self._release(job)
        self._lose(job, reason)
        self.dispatch()

    # -- the match --------------------------------------------------------------------------

    def slots(self) -> int:
        now = time.monotonic()
        return sum(w.slots for w in self.workers.values() if not w.missing(now))

    def dispatch(self) -> None:
        """Give waiting jobs to workers that ask and have room."""
        while True:
            free = [w for w in self.workers.values() if w.is_open and len(w.jobs) < w.slots]
            if not free:
                return
            number = fair.choose(
                self.store.queue(),
                self.store.running_users(),
                self.store.served,
                fair.user_limit(self.slots(), self.limits.user_running),
            )
            job = self.store.get(number) if number is not None else None
            if job is None:
                return
            worker = min(free, key=lambda w: (len(w.jobs), w.host))
            if job.attempts:
                self.records.clear_output(job.id)
            self.store.claim(job, worker.host, worker.incarnation)
            worker.jobs.add(job.id)
            self.records.write(job)
            self.note(job.id)
            assert worker.question is not None
            worker.question.set_result({"job": self.describe(job), "cancel": []})

    def describe(self, job: Job) -> dict[str, Any]:
        """Return what a worker needs to run a job."""
        return {
            "id": job.id,
            "user": job.user,
            "name": job.name,
            "folder": str(self.records.of(job.id)),
            "memory": job.memory,
            "cpu": job.cpu,
            "seconds": job.seconds,
            "env": {"LAB_USER": job.user} | job.env,
            "args": job.args,
            "code_digest": job.code_digest,
            "attempt": job.attempts,
        }

    def answer(self, worker: Worker) -> None:
        """Tell a worker at once which of its jobs to end."""
        jobs = (self.store.get(n) for n in worker.jobs)
        ends = [job.id for job in jobs if job is not None and job.cancel]
        if ends and worker.is_open and worker.question is not None:
            worker.question.set_result({"job": None, "cancel": ends})

    def look_after(self) -> None:
        """Drop workers that are gone, with their jobs."""
        now = time.monotonic()
        for worker in list(self.workers.values()):
            reason = worker.missing(now)
            if reason:
                log.error("%s", reason)
                self.drop_jobs(worker, reason)
                del self.workers[worker.host]
        self.dispatch()

    def drop_jobs(self, worker: Worker, reason: str) -> None:
        for number in sorted(worker.jobs):
            job = self.store.get(number)
            if job is not None and job.status == RUNNING:
                self._lose(job, reason)
        worker.jobs.clear()

    def _lose(self, job: Job, reason: str) -> None:
        self.store.lose(job, reason)
        log.error("Job %d: %s It is now %s.", job.id, reason, job.status)
        self.records.write(job)
        self.note(job.id)

    def _release(self, job: Job) -> None:
        worker = self.workers.get(job.worker)
        if worker is not None:
            worker.jobs.discard(job.id)

    def _settle(self, job: Job) -> None:
        self.store.update(job)
        self.records.write(job)
        self.note(job.id)

    def note(self, number: int) -> None:
        """Wake who follows a job."""
        event = self.changed.pop(number, None)
        if event is not None:
            event.set()

    def change(self, number: int) -> asyncio.Event:
        return self.changed.setdefault(number, asyncio.Event())
