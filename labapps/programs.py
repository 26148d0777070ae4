"""Keep a program of a pod running, its output in the pod's log."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Program", "stopped"]

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Program:
    """A child process that is started again when it ends."""

    def __init__(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self.name, self.argv, self.env, self.folder = name, list(argv), dict(env), folder
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
            )
            code = await self.process.wait()
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
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            process.kill()
            await process.wait()


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def stopped() -> None:
    """Return when the pod is told to stop."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    await event.wait()
