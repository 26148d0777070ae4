"""Run one container of a pod: start it, wait for its end, start it again as its pod wishes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import time
from typing import Any

from labsandbox import tree
from labsandbox.node import guard, launch, processes, restart, termination, volumes
from labsandbox.node.environment import ConfigError
from labsandbox.node.images import Image, UnknownImage
from labsandbox.node.launch import CannotRun, ContainerFolder
from labsandbox.node.probes import Prober
from labsandbox.node.records import RUNNING, TERMINATED, WAITING, Ending, Record
from labsandbox.node.roles import Pod
from labsandbox.node.supervisor import KeeperError
from labsandbox.node.volumes import Mount, MountError, mounts_of
from labsandbox.tree import Route

log = logging.getLogger(__name__)

Object = dict[str, Any]

_UNKNOWN = Ending(
    137,
    "ContainerStatusUnknown",
    0,
    0,
    message="The container ended while nobody could be told its exit code.",
)
_RETRY_SECONDS = 5.0


class Runner:
    """One container's life within its pod."""

    def __init__(self, pod: Pod, spec: Object, record: Record) -> None:
        self.pod, self.spec, self.record = pod, spec, record
        self.name: str = spec["name"]
        self.place = ContainerFolder(pod.folder / f"c-{self.name}")
        self.env: dict[str, str] = {}
        self.mounts: list[Mount] = []
        self.image = Image(spec["image"])
        self.prober = Prober(self)
        self.is_stopping = False
        self._future: asyncio.Future[Object] | None = None
        self._launching: asyncio.Task[None] | None = None

    @property
    def policy(self) -> str:
        """Return the restart policy that holds for this container."""
        policy: str = self.pod.pod["spec"].get("restartPolicy", "Always")
        if self.record.kind == "init":
            own: str | None = self.spec.get("restartPolicy")
            return own or ("Never" if policy == "Never" else "OnFailure")
        return policy

    @property
    def identifier(self) -> str:
        """Return the mark of the current run."""
        return self.record.identifier(self.pod.uid)

    @property
    def is_ending(self) -> bool:
        """Say whether the container is not to be started again: it is stopped, its pod deleted."""
        return self.is_stopping or self.pod.is_leaving

    async def run(self) -> None:
        """Run until the container has ended and is not to be started again."""
        if self.record.attempt >= 0 and self.record.state != TERMINATED:
            await self._resume()
        while not self.is_ending:
            if self.record.state == RUNNING:
                await self._watch_over()
            if self.is_ending:
                return
            if self.record.ending is not None:
                if not restart.should_restart(self.policy, self.record.ending.code):
                    return
                await self._back_off()
            await self._start()

    async def _resume(self) -> None:
        """Find out what became of a container an earlier agent started."""
        self.place.folder.mkdir(parents=True, exist_ok=True)
        attempt = self.record.attempt
        if self.place.exit(attempt).exists():
            if self.record.state == WAITING and self.record.ending is None:
                if self.record.last and self.record.last.attempt == attempt:
                    return  # It had ended and been recorded before; its restart was due.
                self.record.run(0, 0, self.place.log(attempt).stat().st_ctime)
            self._finish(self._outcome())
            return
        if self.record.state == WAITING:
            if self.record.last and self.record.last.attempt == attempt:
                return
            found = await self.pod.agent.supervisor.ask({"op": "find", "id": self.identifier})
            if not found["pid"]:
                members = processes.find_marked(processes.CONTAINER_MARK, self.identifier)
                processes.send(members, signal.SIGKILL)
                self.record.attempt -= 1  # It was never started: this run does not count.
                return
            self.record.run(found["pid"], found["start"], time.time())
        with contextlib.suppress(ConfigError, MountError, UnknownImage):
            await self._prepare()  # What is missing by now is missed at the next start.
        await self.adopt()

    async def adopt(self) -> None:
        """Have the (new) keeper watch over a running container; record its end if it is gone."""
        future = self._future = self.pod.agent.supervisor.exit_of(self.identifier)
        request = {
            "op": "adopt",
            "id": self.identifier,
            "folder": str(self.place.folder),
            "exit": str(self.place.exit(self.record.attempt)),
            "log": str(self.place.log(self.record.attempt)),
            "pid": self.record.pid,
            "start": self.record.start,
        }
        answer = await self.pod.agent.supervisor.ask(request)
        if answer["state"] == "gone" and not future.done():
            self.pod.agent.supervisor.forget(self.identifier)
            await asyncio.to_thread(
                processes.kill_members, self.identifier, self.record.first, str(self.place.folder)
            )
            future.set_result(self._read_exit())
        elif answer["state"] == "adopted":
            self.pod.event(
                "Normal", "Adopted", f"Container {self.name} went on running and was found again"
            )

    def _read_exit(self) -> Object:
        with contextlib.suppress(OSError, ValueError):
            outcome: Object = json.loads(self.place.exit(self.record.attempt).read_bytes())
            return outcome
        return {"code": None, "signal": None, "finished": time.time()}

    def _outcome(self) -> Ending:
        return self._ending(self._read_exit())

    def _ending(self, outcome: Object) -> Ending:
        started, code = self.record.started_at, outcome.get("code")
        finished = outcome.get("finished") or time.time()
        if code is None:
            return Ending(
                _UNKNOWN.code,
                _UNKNOWN.reason,
                started,
                finished,
                message=_UNKNOWN.message,
                attempt=self.record.attempt,
            )
        reason = "OOMKilled" if self.record.is_oom else "Error" if code else "Completed"
        return Ending(
            code,
            reason,
            started,
            finished,
            outcome.get("signal"),
            self._termination_message(code),
            self.record.attempt,
        )

    def _termination_message(self, code: int) -> str | None:
        path = str(self.spec.get("terminationMessagePath") or "/dev/termination-log")
        route = volumes.inside(self.place.root, self.mounts, path)
        data = tree.read_end(route, termination.LONGEST)
        if not data and code and self.spec.get("terminationMessagePolicy") == termination.FALLBACK:
            data = termination.last_lines(self.place.log(self.record.attempt))
        return termination.text(data or b"", termination.share(self.pod.pod["spec"]))

    def _finish(self, ending: Ending) -> None:
        self.record.end(ending)
        self.pod.changed()

    async def _back_off(self) -> None:
        """Wait before a restart, showing CrashLoopBackOff when there is something to wait for."""
        record = self.record
        record.backoff = restart.current_backoff(record)
        seconds = restart.delay(record, time.time())
        following = restart.next_backoff(record)
        if seconds > 0:
            duration = restart.write_duration(record.backoff)
            meta = self.pod.pod["metadata"]
            who = f"container={self.name} pod={meta['name']}_{meta['namespace']}({self.pod.uid})"
            record.wait("CrashLoopBackOff", f"back-off {duration} restarting failed {who}")
            self.pod.event(
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {self.name} in pod "
                f"{meta['name']}_{meta['namespace']}({self.pod.uid})",
                self.name,
            )
            self.pod.changed()
            await self.pod.rest(seconds)
        record.backoff = following

    async def _start(self) -> None:
        """Start the container, waiting as long as something it needs is missing."""
        pause = restart.FIRST
        while not self.is_ending:
            try:
                with guard.attempt(self.pod.folder / f"preparing-{self.name}"):
                    await self._prepare()
                break
            except UnknownImage as error:
                await self._wait_for_image(str(error), pause)
                pause = min(pause * 2, restart.LONGEST)
            except (ConfigError, MountError) as error:
                self.record.wait("CreateContainerConfigError", str(error))
                self.pod.event("Warning", "Failed", f"Error: {error}", self.name)
                self.pod.changed()
                await self.pod.wait_for_config(_RETRY_SECONDS)
        if self.is_ending:
            return
        image = self.spec["image"]
        self.pod.event(
            "Normal",
            "Pulled",
            f'Container image "{image}" already present on machine',
            self.name,
        )
        # Shielded: a pod that is deleted now waits for the answer and then ends the container.
        self._launching = asyncio.create_task(self._launch(), name=f"start {self.name}")
        await asyncio.shield(self._launching)

    async def finish_launch(self) -> None:
        """Wait for a start that is under way."""
        if self._launching:
            await asyncio.gather(self._launching, return_exceptions=True)

    async def _wait_for_image(self, message: str, pause: float) -> None:
        image = self.spec["image"]
        self.record.wait("ErrImagePull", message)
        self.pod.event("Normal", "Pulling", f'Pulling image "{image}"', self.name)
        self.pod.event("Warning", "Failed", f'Failed to pull image "{image}": {message}', self.name)
        self.pod.event("Warning", "Failed", "Error: ErrImagePull", self.name)
        self.pod.changed()
        await self.pod.rest(min(pause, 2))
        self.record.wait("ImagePullBackOff", f'Back-off pulling image "{image}": {message}')
        self.pod.event("Normal", "BackOff", f'Back-off pulling image "{image}"', self.name)
        self.pod.event("Warning", "Failed", "Error: ImagePullBackOff", self.name)
        self.pod.changed()
        await self.pod.rest(pause)

    async def _prepare(self) -> None:
        """Resolve image, environment and mounts; raise what keeps the container from starting."""
        agent, pod = self.pod.agent, self.pod.pod
        self.image = agent.images.find(self.spec["image"])
        find = await agent.objects.finder(pod)
        self.env = launch.environment(
            self.pod.pod_with_address(),
            self.spec,
            self.image,
            self.place,
            agent.surroundings,
            self.pod.listen_address,
            find,
            agent.objects.services(pod["metadata"]["namespace"]),
        )
        mounts = mounts_of(self.spec, self.pod.sources, self.env)
        self.mounts = launch.with_repository(mounts, self.pod.repository())

    async def _launch(self) -> None:
        try:
            await self._ask_to_start()
        except CannotRun as error:
            self._fail(str(error), error.code)
        except KeeperError as error:
            if error.number is None:
                log.warning("start of %s: %s", self.identifier, error)
                await self._look_for_it()
            else:
                self._fail(str(error), 126 if error.number == errno.EACCES else 127)

    async def _look_for_it(self) -> None:
        """Find out whether a keeper that died in between had started the container."""
        await self.pod.rest(0.1)
        members = processes.find_marked(processes.CONTAINER_MARK, self.identifier)
        main = next((pid for pid in members if os.getsid(pid) == pid), None)
        started = processes.start_time(main) if main else None
        if main and started:
            self.record.run(main, started, time.time())
            self.pod.save()
            await self.adopt()
        else:
            processes.send(members, signal.SIGKILL)
            self.record.attempt -= 1

    async def _ask_to_start(self) -> None:
        record, agent = self.record, self.pod.agent
        record.attempt += 1
        record.restarts = record.attempt
        record.wait("ContainerCreating")
        record.image = self.spec["image"]
        self.pod.save()  # Before the start, so that a killed agent's successor looks for it.
        self.place.folder.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(
            launch.prepare_root, self.place, self.image, self.mounts, record.attempt
        )
        cwd = launch.working_folder(self.spec, self.place.root, self.mounts)
        argv = launch.arguments(self.spec, self.image, self.env)
        spec = self.spec_for(self.identifier, argv, cwd)
        spec |= {
            "log": str(self.place.log(record.attempt)),
            "exit": str(self.place.exit(record.attempt)),
        }
        self.pod.event("Normal", "Created", f"Created container: {self.name}", self.name)
        path = self.place.folder / "start.json"
        launch.write_spec(path, spec)
        answer = await agent.supervisor.ask({"op": "start", "spec": str(path)})
        self._future = agent.supervisor.exit_of(self.identifier)
        record.run(answer["pid"], answer["start"] or 0, time.time())
        self.pod.save()
        self.pod.event("Normal", "Started", f"Started container {self.name}", self.name)

    def spec_for(self, identifier: str, argv: list[str], cwd: Route) -> Object:
        """Return a request to start something with this container's view of the world."""
        env = launch.marked(self.env, self.pod.agent.surroundings, self.identifier)
        around = self.pod.agent.surroundings
        return launch.make_spec(
            identifier,
            argv,
            env,
            cwd,
            self.place,
            self.mounts,
            around,
            self.image,
            self.pod.shm,
        )

    def _fail(self, message: str, code: int) -> None:
        """Record a program that could not be started, as if it had ended at once."""
        text = f'failed to start container "{self.name}": {message}'
        self.pod.event("Warning", "Failed", f"Error: {text}", self.name)
        now = time.time()
        ending = Ending(code, "ContainerCannotRun", now, now, None, text, self.record.attempt)
        self._finish(ending)

    async def _watch_over(self) -> None:
        """Wait for the end of the running container, probing it meanwhile."""
        future = self._future
        assert future is not None
        self.prober.start()
        self.pod.changed()
        try:
            outcome = await asyncio.shield(future)
        finally:
            self.prober.stop()
        self._finish(self._ending(outcome))

    def end_all(self) -> None:
        """Kill whatever is left of the container, also what nobody watches over."""
        if self.record.attempt >= 0:
            processes.kill_members(self.identifier, self.record.first, str(self.place.folder))

    async def stop(self, grace: float, why: str | None = None) -> None:
        """End the running container: preStop hook, SIGTERM, and after the grace SIGKILL."""
        if self.record.state == RUNNING and self._future is None:
            await self.adopt()  # An agent that begins with the end of a pod has not met it yet.
        future = self._future
        if self.record.state != RUNNING or future is None:
            return
        self.pod.event("Normal", "Killing", why or f"Stopping container {self.name}", self.name)
        deadline = time.monotonic() + grace
        if grace > 0:
            hook = (self.spec.get("lifecycle") or {}).get("preStop")
            if hook and not future.done():
                await self.prober.run_hook("preStop", hook, grace)
                deadline = max(deadline, time.monotonic() + 2)
            if not future.done() and processes.is_alive(self.record.pid, self.record.start):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.record.pid, signal.SIGTERM)
            await asyncio.wait([future], timeout=max(0, deadline - time.monotonic()))
        if not future.done():
            await asyncio.to_thread(
                processes.kill_members, self.identifier, self.record.first, str(self.place.folder)
            )
            await asyncio.wait([future], timeout=10)
        if self.record.state == RUNNING and self.is_stopping:
            outcome = future.result() if future.done() else self._read_exit()
            self._finish(self._ending(outcome))
