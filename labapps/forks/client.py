"""The asynchronous end of a zygote: fork a worker, kill it, learn how it ended.

When the zygote itself dies its workers go on; the next fork starts a new zygote.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from labapps.forks.zygote import MESSAGE

__all__ = ["Child", "Exit", "ForkError", "Zygote"]

log = logging.getLogger(__name__)
_watching: set[asyncio.Task[None]] = set()


class ForkError(RuntimeError):
    """The zygote could not fork."""


@dataclass(frozen=True)
class Exit:
    """How a process ended, in words and numbers."""

    code: int | None
    signal: int | None
    maxrss: int = 0
    cpu: float = 0.0

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by signal {signal.Signals(self.signal).name}"
        return "ended" if self.code is None else f"ended with exit code {self.code}"


@dataclass
class Child:
    """A forked worker."""

    pid: int
    zygote: Zygote
    exited: asyncio.Future[Exit] = field(repr=False)

    def kill(self) -> None:
        """Kill the worker and its process group."""
        if not self.exited.done():
            self.zygote.kill(self.pid)


class Zygote:
    """A zygote process, or a zygote forked from one, that is started again when it dies."""

    def __init__(
        self,
        modules: Sequence[str] = (),
        parent: Zygote | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.modules = list(modules)
        self.parent = parent
        self.env = env
        self.missing: list[str] = []
        self._ids = itertools.count(1)
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._children: dict[int, Child] = {}
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._closed = False

    async def launch(self) -> asyncio.Future[None]:
        """Start the process unless it runs; the future is done once its modules are imported."""
        async with self._lock:
            if self._closed:
                raise ForkError("The zygote was closed.")
            if self._control is None:
                await self._spawn()
            assert self._ready is not None
            return self._ready

    async def start(self) -> None:
        """Start the process unless it runs; return once its modules are imported."""
        await asyncio.shield(await self.launch())

    async def _spawn(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            if self.parent is None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "labapps.forks.zygote",
                    str(theirs.fileno()),
                    *self.modules,
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                    env=self.env,
                )
            else:
                await self.parent.fork(
                    "labapps.forks.zygote:nest", {"modules": self.modules}, [theirs.fileno()]
                )
        self._control = ours
        self._ready = loop.create_future()
        loop.add_reader(ours.fileno(), self._receive, ours)

    async def fork(
        self, call: str, args: dict[str, Any], fds: Sequence[int] = (), *, tries: int = 2
    ) -> Child:
        """Fork a worker that calls `module:function(args, fds)`."""
        for left in reversed(range(tries)):
            await self.start()
            number = next(self._ids)
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._forks[number] = future
            message = {"op": "fork", "id": number, "call": call, "args": args}
            try:
                self._send(message, fds)
                pid = await future
            except (ForkError, OSError) as error:
                self._forks.pop(number, None)
                if left:
                    continue
                raise ForkError(f"No worker could be forked: {error}") from error
            return self._children[pid]
        raise ForkError("No worker could be forked.")

    async def preload(self, modules: Sequence[str]) -> None:
        """Import more into the zygote, for the forks to come."""
        new = [m for m in modules if m not in self.modules]
        if new:
            await self.start()
            self.modules += new
            with contextlib.suppress(OSError, ForkError):
                self._send({"op": "preload", "modules": new})

    def kill(self, pid: int) -> None:
        """Kill a worker with its process group."""
        try:
            self._send({"op": "kill", "pid": pid})
        except (OSError, ForkError):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the zygote and all it forked."""
        self._closed = True
        if self._control is not None:
            self._lose(self._control)
        if self._process is not None:
            await self._process.wait()

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        data = json.dumps(message).encode()
        if len(data) > MESSAGE:
            raise ForkError(
                f"A message of {len(data)} bytes is too long. This is a bug in labapps."
            )
        if self._control is None:
            raise ForkError("The zygote has ended.")
        socket.send_fds(self._control, [data], list(fds))

    def _receive(self, control: socket.socket) -> None:
        try:
            data = control.recv(MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(control)
            return
        message = json.loads(data)
        if "ready" in message:
            self.missing = message["ready"]
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
        elif "forked" in message:
            self._forked(message["forked"], message["pid"])
        elif "exited" in message:
            self._exited(message)

    def _forked(self, number: int, pid: int) -> None:
        exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._children[pid] = Child(pid, self, exited)
        future = self._forks.pop(number, None)
        if future is None or future.done():
            self.kill(pid)  # nobody waits for it any more
        else:
            future.set_result(pid)

    def _exited(self, message: dict[str, Any]) -> None:
        child = self._children.pop(message["exited"], None)
        if child is None or child.exited.done():
            return
        status = message["status"]
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        child.exited.set_result(Exit(code, number, message["maxrss"], message["cpu"]))

    def _lose(self, control: socket.socket) -> None:
        """The zygote is gone; its workers may live, but nobody will tell us how they end."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(control.fileno())
        control.close()
        self._control = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ForkError("The zygote ended while it started."))
            self._ready.exception()
        for future in self._forks.values():
            if not future.done():
                future.set_exception(ForkError("The zygote ended."))
        self._forks.clear()
        for child in self._children.values():
            if not child.exited.done():
                task = loop.create_task(_watch(child))
                _watching.add(task)
                task.add_done_callback(_watching.discard)
        self._children.clear()
        if not self._closed:
            log.warning("The process that forks workers ended; the next fork starts it again.")


async def _watch(child: Child) -> None:
    """Wait for a process that is not our child."""
    loop = asyncio.get_running_loop()
    try:
        fd = os.pidfd_open(child.pid)
    except ProcessLookupError:
        child.exited.set_result(Exit(None, None))
        return
    gone = asyncio.Event()
    loop.add_reader(fd, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    if not child.exited.done():
        child.exited.set_result(Exit(None, None))
