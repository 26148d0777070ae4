"""One pod on this node: from its first sight to the removal of its last file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp

from labsandbox import tree
from labsandbox.client import ApiError, ClientError
from labsandbox.client.resources import PODS
from labsandbox.network import loopback
from labsandbox.node import limits, mounting, records, shm, storage, tmpdir
from labsandbox.node import status as pod_status
from labsandbox.node.container import Runner
from labsandbox.node.records import PodRecord, Record
from labsandbox.node.roles import Node
from labsandbox.tree import Route

log = logging.getLogger(__name__)

Object = dict[str, Any]

_API_ERRORS = (ClientError, aiohttp.ClientError, OSError, TimeoutError)


class PodWorker:
    """Keeps one pod as its object says, and the object's status as the pod is."""

    def __init__(self, agent: Node, pod: Object) -> None:
        self.agent, self.pod = agent, pod
        self.uid: str = pod["metadata"]["uid"]
        self.folder: Path = agent.pods_folder / self.uid
        self.record = self._load()
        self.sources: dict[str, tuple[Route, bool]] = {}
        self.runners: dict[str, Runner] = {}
        self._leaving = asyncio.Event()  # the object is being deleted
        self._vanished = asyncio.Event()  # the object is gone
        self.shm: str | None = None
        self._evicted = asyncio.Event()
        self._eviction = ""  # the reason
        self._config_waiters: set[asyncio.Future[None]] = set()
        self._dirty = asyncio.Event()
        self._sent: Object | None = None
        self._pusher: asyncio.Task[None] | None = None
        self.update(pod)
        self._make_runners()

    def _load(self) -> PodRecord:
        meta = self.pod["metadata"]
        found = records.load(self.folder)
        return found or PodRecord(self.uid, meta["namespace"], meta["name"], started_at=time.time())

    @property
    def is_leaving(self) -> bool:
        """Say whether the pod's object is being deleted, or gone."""
        return self._leaving.is_set()

    @property
    def listen_address(self) -> str:
        """Return the address the pod's programs listen on."""
        return loopback(self.record.address)

    def repository(self) -> Path:
        """Return the project repository of the pod's tenant."""
        folder = self.agent.state / "projects" / str(self.pod["metadata"]["namespace"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def pod_with_address(self) -> Object:
        """Return the pod as the downward API sees it."""
        ips = {"podIP": self.record.address, "podIPs": [{"ip": self.record.address}]}
        host = {"hostIP": "127.0.0.1", "hostIPs": [{"ip": "127.0.0.1"}]}
        return {**self.pod, "status": {**(self.pod.get("status") or {}), **ips, **host}}

    def update(self, pod: Object) -> None:
        """Take a newer version of the object."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._leaving.set()
        self.config_changed()

    def vanish(self) -> None:
        """Take notice that the object no longer exists."""
        self._vanished.set()
        self._leaving.set()

    def event(self, kind: str, reason: str, message: str, container: str | None = None) -> None:
        """Record an event about the pod or one of its containers."""
        field = f"spec.containers{{{container}}}" if container else None
        if container and container in {
            c["name"] for c in self.pod["spec"].get("initContainers") or []
        }:
            field = f"spec.initContainers{{{container}}}"
        self.agent.events.record(self.pod, kind, reason, message, field)

    def save(self) -> None:
        """Remember the containers on disk."""
        with contextlib.suppress(FileNotFoundError):
            self.record.save(self.folder)

    def changed(self) -> None:
        """Save and report a new state of some container."""
        self.save()
        self._dirty.set()
        if self._pusher is None or self._pusher.done():
            self._pusher = asyncio.create_task(self._push(), name=f"status of {self.record.name}")

    def config_changed(self) -> None:
        """Take notice that a ConfigMap, a Secret or the pod itself changed."""
        for waiter in self._config_waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for_config(self, seconds: float) -> None:
        """Return when something the pod refers to may have changed, or after some seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._config_waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            self._config_waiters.discard(waiter)

    async def rest(self, seconds: float) -> None:
        """Return after some seconds, or soon when the pod is to go."""
        # A wait for an event that is set does not yield; whoever rests in a loop has to.
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()

    async def rest_unless_forced(self, seconds: float) -> None:
        """Return after some seconds, or at once when the object is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._vanished.wait()

    async def _push(self) -> None:
        """Send the status until the API has the latest."""
        pause = 0.1
        while self._dirty.is_set():
            self._dirty.clear()
            status = pod_status.compute(self.pod, self.record, time.time())
            if status == self._sent:
                continue
            meta = self.pod["metadata"]
            try:
                patch = {"metadata": {"uid": self.uid}, "status": status}
                answer = await self.agent.client.patch(
                    PODS, meta["name"], meta["namespace"], patch, subresource="status"
                )
                self._sent, pause = status, 0.1
                # The next status is computed from these conditions, not from the watch's.
                self.pod = {**self.pod, "status": answer.get("status") or {}}
            except ApiError as error:
                if error.status in (404, 422):
                    log.debug("status of %s not accepted: %s", meta["name"], error)
                    return
                self._dirty.set()  # A conflict too: somebody wrote at the same moment.
            except _API_ERRORS:
                self._dirty.set()
            if self._dirty.is_set():
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5)

    async def run(self) -> None:
        """Live the pod's whole life on this node."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.shm = shm.make(self.agent.surroundings.mark, self.uid)
        if not self.record.address:
            self.record.address = self.agent.new_address()
        self.save()
        life = asyncio.create_task(self._live(), name=f"pod {self.record.name}")
        leaving = asyncio.create_task(_wait_for(self._leaving))
        try:
            await asyncio.wait([life, leaving], return_when=asyncio.FIRST_COMPLETED)
            if life.done() and not life.cancelled() and (error := life.exception()):
                raise error  # The agent says so and tries again.
            await leaving
            await self._leave(life)
        finally:
            for task in (life, leaving, self._pusher):
                if task:
                    task.cancel()

    def _make_runners(self) -> None:
        spec = self.pod["spec"]
        for kind, word in (("init", "initContainers"), ("container", "containers")):
            for container in spec.get(word) or []:
                name = container["name"]
                if name not in self.record.containers:
                    reason = "PodInitializing" if spec.get("initContainers") else None
                    record = Record(name, kind, image=container["image"])
                    record.reason = reason or "ContainerCreating"
                    self.record.containers[name] = record
                self.runners[name] = Runner(self, container, self.record.containers[name])

    async def _live(self) -> None:
        self.changed()
        if self.record.phase:
            return
        await self._wait_while_too_large()
        mounter = mounting.Mounter(self)
        await mounter.mount()
        refresher = asyncio.create_task(mounter.follow(), name=f"volumes of {self.record.name}")
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        left = None if seconds is None else seconds - (time.time() - self.record.started_at)
        try:
            async with asyncio.timeout(left):
                await self._run_unless_evicted()
        except TimeoutError:
            text = "Pod was active on the node longer than the specified deadline"
            self.event("Normal", "DeadlineExceeded", text)
            await self._fail("DeadlineExceeded", text)
        finally:
            refresher.cancel()
        self._end()

    async def _wait_while_too_large(self) -> None:
        """Keep a pod beyond the node's limits pending until it is deleted, and say why."""
        problem = limits.problem(self.pod["spec"])
        if problem is None:
            return
        self.event("Warning", "Failed", f"Error: {problem}")
        for record in self.record.containers.values():
            record.wait("CreateContainerConfigError", problem)
        self.changed()
        await self._leaving.wait()
        raise asyncio.CancelledError

    async def _run_containers(self) -> None:
        """Run init containers one after the other, then all others together."""
        spec = self.pod["spec"]
        mains = [self.runners[c["name"]] for c in spec["containers"]]
        has_begun = any(runner.record.attempt >= 0 for runner in mains)
        async with asyncio.TaskGroup() as group:
            sidecars = []
            for container in spec.get("initContainers") or []:
                runner = self.runners[container["name"]]
                if pod_status.is_sidecar(container):
                    sidecars.append((runner, group.create_task(runner.run())))
                    await self._await_start(runner)
                elif not has_begun and not (
                    runner.record.ending and runner.record.ending.code == 0
                ):
                    await runner.run()
                    if runner.record.ending is None or runner.record.ending.code != 0:
                        await self._stop_sidecars(sidecars)
                        return
            await asyncio.gather(*(runner.run() for runner in mains))
            await self._stop_sidecars(sidecars)

    async def _await_start(self, runner: Runner) -> None:
        while not runner.record.is_started:
            await asyncio.sleep(0.05)

    async def _stop_sidecars(self, sidecars: list[tuple[Runner, asyncio.Task[None]]]) -> None:
        for runner, task in reversed(sidecars):
            runner.is_stopping = True
            await runner.stop(self.grace)
            task.cancel()

    @property
    def grace(self) -> float:
        """Return how long containers may take to end."""
        if self._vanished.is_set() or self._evicted.is_set():
            return 0
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if grace is None:
            grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        return float(grace)

    async def _fail(self, reason: str, message: str) -> None:
        record = self.record
        record.phase, record.reason, record.message = "Failed", reason, message
        await self._stop_all()

    def evict(self, message: str) -> None:
        """End the pod's containers at once and for good, and free what they have written."""
        self._eviction = message
        self._evicted.set()

    async def _run_unless_evicted(self) -> None:
        running = asyncio.create_task(self._run_containers(), name=f"pod {self.record.name}")
        evicted = asyncio.create_task(self._evicted.wait())
        try:
            await asyncio.wait([running, evicted], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                return
        finally:
            running.cancel()
            evicted.cancel()
            await asyncio.gather(running, evicted, return_exceptions=True)
        self.event("Warning", "Evicted", self._eviction)
        await self._fail("Evicted", self._eviction)
        await asyncio.to_thread(storage.free, self.folder, self.shm)

    async def _stop_all(self) -> None:
        runners = list(self.runners.values())
        for runner in runners:
            runner.is_stopping = True
        await asyncio.gather(*(runner.finish_launch() for runner in runners))
        graceful = asyncio.create_task(_stop_each(runners, self.grace))
        vanished = asyncio.create_task(_wait_for(self._vanished))
        await asyncio.wait([graceful, vanished], return_when=asyncio.FIRST_COMPLETED)
        vanished.cancel()
        if graceful.done():
            graceful.result()
        else:
            # Forced: the object is gone, so nobody waits for a graceful end any more.
            graceful.cancel()
            await _stop_each(runners, 0)

    def _end(self) -> None:
        """Keep the result of a pod none of whose containers runs again."""
        phase = pod_status.compute(self.pod, self.record, time.time())["phase"]
        if phase in ("Succeeded", "Failed"):
            self.record.phase = phase
        self.changed()

    async def _leave(self, life: asyncio.Task[None]) -> None:
        """End the containers, then the object, then the folder."""
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        await self._stop_all()
        for runner in self.runners.values():
            await asyncio.to_thread(runner.end_all)
        self.save()
        if not self._vanished.is_set():
            self.changed()
            if self._pusher:
                await asyncio.wait([self._pusher], timeout=1)
            await self._delete_object()
        await asyncio.to_thread(tree.remove, str(self.folder))
        await asyncio.to_thread(tmpdir.remove, self.folder)
        await asyncio.to_thread(shm.remove, self.agent.surroundings.mark, self.uid)
        self.agent.forget(self)

    async def _delete_object(self) -> None:
        meta = self.pod["metadata"]
        while not self._vanished.is_set():
            try:
                await self.agent.client.delete(
                    PODS, meta["name"], meta["namespace"], grace=0, uid=self.uid
                )
                return
            except ApiError as error:
                if error.status in (404, 409):
                    return
                log.warning("pod %s cannot be deleted yet: %s", meta["name"], error)
            except _API_ERRORS:
                pass
            await asyncio.sleep(0.5)


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def _stop_each(runners: list[Runner], grace: float) -> None:
    await asyncio.gather(*(runner.stop(grace) for runner in runners))
