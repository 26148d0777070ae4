"""Keep a program of a pod running, its output in the pod's log."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path

__all__ = ["Program", "end_with_parent", "until_told"]

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Program:
    """A child process that is started again when it ends."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        folder: Path | None = None,
        *,
        is_group: bool = False,
        ending: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name, self.argv, self.env, self.folder = name, list(argv), dict(env), folder
        self.is_group = is_group  # it has a process group of its own, which ends with it
        self.ending = ending  # what asks it to end; PostgreSQL waits for its clients on SIGTERM
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start the program and keep it running."""
        self.task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        delay = 0.5
        while True:
            began = asyncio.get_running_loop().time()
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                env=self.env,
                stdin=asyncio.subprocess.DEVNULL,
                cwd=self.folder,
                preexec_fn=end_with_parent,
                start_new_session=self.is_group,
            )
            code = await self.process.wait()
            self._signal_group(signal.SIGKILL)  # what it left behind would hold its port
            lived = asyncio.get_running_loop().time() - began
            delay = 0.5 if lived > 60 else min(30.0, delay * 2)
            self.restarts += 1
            log.error("%s ended with %s; it starts again in %g s", self.name, code, delay)
            await asyncio.sleep(delay)

    async def stop(self, grace: float = 10.0) -> None:
        """End the program."""
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(self.ending)
        self._signal_group(self.ending)
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            process.kill()
            await process.wait()
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        if self.is_group and self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def until_told(work: Coroutine[None, None, None], end: Callable[[], Awaitable[None]]) -> None:
    """Work until the pod is told to stop, then `end` what runs; raise what broke the work off."""
    told = asyncio.create_task(when_stopped().wait())
    keeper = asyncio.create_task(work)
    try:
        await asyncio.wait({keeper, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:  # a `sys.exit` in the work cancels this, too
        keeper.cancel()
        told.cancel()
        await asyncio.wait({keeper, told})
        await end()
    if not keeper.cancelled():
        keeper.result()


def when_stopped() -> asyncio.Event:
    """Return what is set when the pod is told to stop; a signal ends nothing from now on."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event
