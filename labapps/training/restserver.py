"""The role RESTServer: asks the queue for jobs and runs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from typing import Any

import aiohttp

from labapps.forks.client import ForkError, Zygote
from labapps.member import applied
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.connected import mlflow_environment, spark_environment
from labapps.member.place import Place
from labapps.queue.job import FAILED
from labapps.training.process import JobProcess
from labapps.web.asgi import Problem, Reply, Request
from labapps.web.server import bind, reply_with, serve

__all__ = ["run"]

log = logging.getLogger(__name__)
PORT = 10001
PRELOAD = "labapps.training.child,numpy,pandas,sklearn.ensemble,xgboost"
FLUSH = 0.1
BUFFER = 1 << 20


class Output:
    """What a job printed and the queue does not have yet."""

    def __init__(self) -> None:
        self.pending = {"stdout": bytearray(), "stderr": bytearray()}
        self.sent = {"stdout": 0, "stderr": 0}
        self.arrived = asyncio.Event()

    def take(self, name: str, piece: bytes) -> None:
        self.pending[name] += piece
        self.arrived.set()

    def next(self) -> dict[str, Any]:
        """Return the next piece of each stream, a byte a character: the queue decodes."""
        body: dict[str, Any] = {}
        for name, pending in self.pending.items():
            piece = bytes(pending[:BUFFER])
            if piece:
                body[name] = piece.decode("latin-1")
                body[f"{name}_at"] = self.sent[name]
        return body

    def confirm(self, body: dict[str, Any]) -> None:
        """Forget what the queue has."""
        for name, pending in self.pending.items():
            if name in body:
                size = len(body[name])
                del pending[:size]
                self.sent[name] += size


class Worker:
    """A RESTServer's side of the conversation."""

    def __init__(self, place: Place, meta: Configmeta) -> None:
        self.place = place
        self.slots = int(os.environ.get("TRAINING_SLOTS", 2))
        self.incarnation = secrets.token_hex(8)
        self.running: dict[int, JobProcess] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        modules = os.environ.get("TRAINING_PRELOAD", PRELOAD).split(",")
        self.zygote = Zygote([m for m in modules if m])
        self.stopping = False
        self.session: aiohttp.ClientSession | None = None
        self.apply(meta)

    def apply(self, meta: Configmeta) -> None:
        """Take over what the configuration says."""
        self.meta = meta
        masters = meta.members("LoadBalancer")
        self.queue = f"http://{masters[0].host}:{PORT}" if masters else ""
        self.headers = {"X-Auth-Token": next(iter(sorted(meta.tokens())), "")}
        state = self.place.path("/var/lib/training-engine")
        self.env = spark_environment(meta, self.place, state) | mlflow_environment(meta, state)
        self.env |= {"PROJECT_REPO": str(self.place.repository), "MPLBACKEND": "Agg"}

    async def serve(self) -> None:
        """Ask for jobs until told to stop."""
        timeout = aiohttp.ClientTimeout(total=30, connect=5)
        async with aiohttp.ClientSession(timeout=timeout) as self.session:
            delay = 0.1
            while not self.stopping:
                try:
                    answer = await self.post("poll", slots=self.slots, jobs=list(self.running))
                    delay = 0.1
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    log.warning("The queue does not answer: %s", error or type(error).__name__)
                    await asyncio.sleep(delay)
                    delay = min(2.0, delay * 2)
                    continue
                for number in answer.get("cancel") or []:
                    if number in self.running:
                        self.running[number].end()
                if answer.get("job"):
                    self.start(answer["job"])

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        assert self.session is not None
        url = f"{self.queue}/workers/{self.meta.host}/{path}"
        body["incarnation"] = self.incarnation
        async with self.session.post(url, json=body, headers=self.headers) as reply:
            if reply.status == 409:
                return {"gone": True}
            reply.raise_for_status()
            found: dict[str, Any] = await reply.json()
            return found

    def start(self, job: dict[str, Any]) -> None:
        """Run a job beside the others."""
        process = JobProcess(job, self.env, self.place.mappings())
        self.running[job["id"]] = process
        task = asyncio.get_running_loop().create_task(self.carry(job, process))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def carry(self, job: dict[str, Any], process: JobProcess) -> None:
        """Run one job and report on it until the queue knows its end."""
        output = Output()
        teller = asyncio.create_task(self.tell(job["id"], process, output))
        try:
            report = await process.run(self.zygote, output.take)
        except (ForkError, OSError) as error:
            report = {"status": FAILED, "reason": f"The job could not be started: {error}"}
        teller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await teller
        if self.stopping and process.ending is not None and process.ending[1] == STOPPED:
            await self.deliver(job["id"], output, {"given_back": STOPPED})
        else:
            await self.deliver(job["id"], output, {"done": report})
        self.running.pop(job["id"], None)

    async def tell(self, number: int, process: JobProcess, output: Output) -> None:
        """Send output as it comes, a few times a second."""
        while True:
            await output.arrived.wait()
            output.arrived.clear()
            await self.send(number, process, output)
            await asyncio.sleep(FLUSH)

    async def send(self, number: int, process: JobProcess, output: Output) -> None:
        body = output.next()
        try:
            answer = await self.post(f"jobs/{number}", **body)
        except (aiohttp.ClientError, TimeoutError, OSError):
            output.arrived.set()
            return
        output.confirm(body)
        if answer.get("gone") or answer.get("cancel"):
            process.end()

    async def deliver(self, number: int, output: Output, ending: dict[str, Any]) -> None:
        """Report the end; a queue that is away for a while gets it when it is back."""
        delay = 0.05
        while True:
            body = output.next()
            last = (
                len(output.pending["stdout"]) <= BUFFER and len(output.pending["stderr"]) <= BUFFER
            )
            try:
                await self.post(f"jobs/{number}", **body, **(ending if last else {}))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("Job %d: its end cannot be reported yet: %s", number, error)
                await asyncio.sleep(delay)
                delay = min(2.0, delay * 2)
                continue
            output.confirm(body)
            if last:
                return

    async def stop(self, grace: float = 10.0) -> None:
        """Give back what runs, and end."""
        self.stopping = True
        for process in self.running.values():
            process.end(FAILED, STOPPED)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        await self.zygote.close()

    async def handle(self, request: Request) -> Reply:
        """Tell how this worker is."""
        if request.path.rstrip("/") in ("/health", ""):
            state = "stopping" if self.stopping else "ok"
            return Reply.json(
                {"status": state, "slots": self.slots, "jobs": sorted(self.running)},
                200 if state == "ok" else 503,
            )
        raise Problem(
            404,
            f"There is no {request.path} here: this is a worker.",
            expected=["GET /health"],
            hint=f"jobs are submitted to {self.queue}/train",
        )


STOPPED = "The worker was stopped while the job ran."


async def run(place: Place, meta: Configmeta) -> None:
    """Run jobs until SIGTERM."""
    worker = Worker(place, meta)
    await worker.zygote.start()
    tasks = [asyncio.create_task(_follow(place, worker)), asyncio.create_task(worker.serve())]
    try:
        await serve(reply_with(worker.handle), bind(place.listen, [place.port(PORT)]), grace=1)
    finally:
        worker.stopping = True
        await worker.stop()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _follow(place: Place, worker: Worker) -> None:
    async for meta in follow(place.path(CONFIGMETA)):
        worker.apply(meta)
        applied.report(place, meta.digest)
