"""The node agent: follows the API's pods and gives each one a worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labsandbox.client import Client, Informer
from labsandbox.client.resources import PODS
from labsandbox.node import (
    addresses,
    landlock,
    launch,
    memory,
    mounting,
    processes,
    records,
    registration,
    resolver,
    shm,
    storage,
    tmpdir,
)
from labsandbox.node.events import Recorder
from labsandbox.node.images import Images
from labsandbox.node.objects import Objects
from labsandbox.node.pod import PodWorker
from labsandbox.node.records import RUNNING
from labsandbox.node.roles import Pod
from labsandbox.node.scheduler import Scheduler
from labsandbox.node.server import Server
from labsandbox.node.settings import NodeSettings
from labsandbox.node.supervisor import KeeperError, Supervisor
from labsandbox.node.tokens import Tokens
from labsandbox.node.usage import Usage

log = logging.getLogger(__name__)

Object = dict[str, Any]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


def cause_of(error: BaseException) -> str:
    """Return what an error says; of several at once, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError | KeeperError | MemoryError):
        return f"The pod cannot be kept: {str(error) or type(error).__name__}"
    return f"This is a bug in labsandbox; please report it with `labsandbox logs`: {error!r}"


class Agent:
    """One node."""

    def __init__(self, client: Client, state: Path, settings: NodeSettings) -> None:
        self.client, self.state, self.settings = client, state.resolve(), settings
        self.name = settings.name
        self.folder = self.state / "node"
        self.pods_folder = self.folder / "pods"
        self.pods_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.images = Images(settings.images)
        self.events = Recorder(client, "kubelet", self.name)
        self.objects = Objects(client)
        self.tokens = Tokens(client)
        self.supervisor = Supervisor(self.folder, processes.mark_of(state))
        self.supervisor.on_new_keeper = self._adopt_all
        self.workers: dict[str, PodWorker] = {}
        self.usage = Usage(self)
        self.allowed_host_paths = list(settings.allowed_host_paths)
        self.capacity = registration.capacity()
        server = urlsplit(client.access.server)
        self.surroundings = launch.Surroundings(
            self.state,
            processes.mark_of(state),
            (server.hostname or "127.0.0.1", str(server.port or 443)),
            landlock.abi() > 0,
            {**self.capacity, **settings.allocatable},
        )
        fields = None if settings.is_scheduling else f"spec.nodeName={self.name}"
        self.pods = Informer(client, PODS, fields=fields)
        self.resolver = resolver.Resolver(self.state, self.pods, self.objects.service_objects)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._subnet = 0
        self.has_view = False
        self._hint = addresses.FIRST

    def probe_tls(self) -> ssl.SSLContext:
        """Return the TLS context probes use: the platform's authority."""
        return ssl.create_default_context(cadata=self.client.access.ca_pem)

    async def run(self) -> None:
        """Work until cancelled; pods go on running."""
        registration.link_packages(self.folder / "lib")
        self.resolver.install()
        await self.supervisor.connect()
        answer = await self.supervisor.ask(
            {"op": "claim", "subnets": addresses.candidates(self.state)}
        )
        if answer["subnet"] is None:
            raise KeeperError(
                f"All {addresses.count()} pod subnets of this machine are in use by other "
                "sandboxes; end one with `labsandbox down --state ITS_FOLDER`."
            )
        self._subnet = answer["subnet"]
        self.has_view = bool(answer.get("view"))  # not from a keeper of an earlier release
        server = Server(self, self.usage)
        port = await server.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.events.run(), name="node events")
                node = registration.Registration(self, port)
                await node.register()
                group.create_task(node.keep_alive(), name="node heartbeat")
                await self._follow_objects()
                self.pods.listeners.append(self._take)
                await self.pods.start()
                await self._remove_orphans()
                group.create_task(memory.watch(self), name="memory limits")
                group.create_task(storage.watch(self), name="storage limits")
                group.create_task(self.usage.run(), name="usage of containers")
                group.create_task(self.resolver.run(), name="names")
                if self.settings.is_scheduling:
                    scheduler = Scheduler(self.client, self.pods)
                    group.create_task(scheduler.run(), name="scheduler")
        finally:
            await server.stop()
            await self.pods.stop()
            await self.objects.stop()
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self.supervisor.close()

    async def _follow_objects(self) -> None:
        for informer in (self.objects.configmaps, self.objects.secrets):
            informer.listeners.append(self._config_changed)
        await self.objects.start()

    def _config_changed(self, kind: str, old: Object | None, new: Object) -> None:
        namespace = new["metadata"]["namespace"]
        for worker in self.workers.values():
            if worker.record.namespace == namespace:
                worker.config_changed()

    def _take(self, kind: str, old: Object | None, new: Object) -> None:
        """Take a change of a pod from the watch."""
        uid = new["metadata"]["uid"]
        if old is not None and old["metadata"]["uid"] != uid:
            self._vanish(old["metadata"]["uid"])
        if kind == "DELETED":
            self._vanish(uid)
        elif new["spec"].get("nodeName") != self.name:
            return
        elif uid in self.workers:
            self.workers[uid].update(new)
        elif uid not in self._tasks:
            worker = self.workers[uid] = PodWorker(self, new)
            name = f"{new['metadata']['namespace']}/{new['metadata']['name']}"
            self._tasks[uid] = asyncio.create_task(self._work(worker), name=f"pod {name}")

    async def _work(self, worker: PodWorker) -> None:
        """Keep one pod to its end; whatever goes wrong with it is said, and tried again later."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await worker.run()
                return
            except Exception as error:
                log.exception("pod %s", worker.record.name)
                worker.event("Warning", "FailedSync", f"{cause_of(error)}; again in {pause:.0f} s")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _vanish(self, uid: str) -> None:
        if uid in self.workers:
            self.workers[uid].vanish()
        self._tasks = {u: task for u, task in self._tasks.items() if not task.done()}

    def forget(self, worker: Pod) -> None:
        """Drop a pod that is gone."""
        self.workers.pop(worker.uid, None)
        self.tokens.forget(worker.uid)

    async def _remove_orphans(self) -> None:
        """End what belongs to pods the API no longer knows."""
        orphans = [f for f in self.pods_folder.iterdir() if f.name not in self.workers]
        for folder in orphans:
            record = records.load(folder)
            for container in record.containers.values() if record else ():
                if record and container.attempt >= 0:
                    await asyncio.to_thread(
                        processes.kill_members,
                        container.identifier(record.uid),
                        container.first,
                        str(folder),
                    )
            await asyncio.to_thread(tmpdir.remove, folder)
            await asyncio.to_thread(shm.remove, self.surroundings.mark, folder.name)
        await mounting.remove_trees(orphans)

    async def _adopt_all(self) -> None:
        await self.supervisor.ask({"op": "claim", "subnets": [self._subnet]})
        for worker in list(self.workers.values()):
            for runner in worker.runners.values():
                if runner.record.state == RUNNING:
                    with contextlib.suppress(KeeperError):
                        await runner.adopt()

    def new_address(self) -> str:
        """Return a free pod address."""
        taken = [worker.record.address for worker in self.workers.values()]
        address = addresses.choose(self._subnet, taken, self._hint)
        if address is None:
            raise OSError(f"all pod addresses of 10.244.{self._subnet}.0/24 are in use")
        # Not the one just given back: clients may still hold connections to it.
        self._hint = int(address.rpartition(".")[2]) + 1
        return address


async def run(client: Client, state: Path, settings: NodeSettings | None = None) -> None:
    """Run the node agent until cancelled; its pods go on running."""
    os.umask(os.umask(0o022) | 0o022)
    await Agent(client, Path(state), settings or NodeSettings()).run()
