"""One job's process: forked from the zygote, limited, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from labapps.forks.client import Child, Zygote
from labapps.queue.job import CANCELLED, FAILED, FINISHED, TIMED_OUT

__all__ = ["JobProcess"]

WATCH = 0.25
PIECE = 1 << 16


class JobProcess:
    """Runs one job to its end."""

    def __init__(self, job: dict[str, Any], env: dict[str, str], mappings: dict[str, str]) -> None:
        self.job, self.env, self.mappings = job, env, mappings
        self.ending: tuple[str, str] | None = None
        self.child: Child | None = None
        self.peak = 0
        self.mark = secrets.token_hex(8)
        self.members: dict[int, psutil.Process] = {}

    async def run(self, zygote: Zygote, take: Callable[[str, bytes], None]) -> dict[str, Any]:
        """Run the job; `take` gets its output; return the report of its end."""
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        ends = {name: os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for name in ("stdout", "stderr")}
        result = os.memfd_create("result")
        open_ends: set[str] = set(ends)
        drained = asyncio.Event()

        def read(name: str) -> None:
            try:
                piece = os.read(ends[name][0], PIECE)
            except BlockingIOError:
                return
            if piece:
                take(name, piece)
                return
            loop.remove_reader(ends[name][0])
            open_ends.discard(name)
            if not open_ends:
                drained.set()

        try:
            os.set_blocking(ends["stdout"][1], True)
            os.set_blocking(ends["stderr"][1], True)
            fds = [ends["stdout"][1], ends["stderr"][1], result]
            self.child = await zygote.fork("labapps.training.child:run", self._arguments(), fds)
            for name, (ours, theirs) in ends.items():
                os.close(theirs)
                loop.add_reader(ours, read, name)
            watcher = asyncio.create_task(self._watch(began))
            ended = await self.child.exited
            watcher.cancel()
            await asyncio.to_thread(self._kill_rest)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(drained.wait(), 2.0)
            code = os.pread(result, 16, 0)
            exit_code = int(code) if code else ended.code
            how = (
                f"The job {ended}.".replace("job killed", "job was killed")
                if not code
                else f"The job ended with exit code {exit_code}."
            )
            status, reason = FINISHED, ""
            if self.ending is not None:
                status, reason = self.ending
            elif exit_code != 0:
                status, reason = FAILED, how
            return {
                "status": status,
                "reason": reason,
                "exit_code": exit_code,
                "usage": {
                    "seconds": round(time.monotonic() - began, 3),
                    "cpu_seconds": ended.cpu,
                    "memory": self.peak,
                },
            }
        finally:
            for name in open_ends:
                loop.remove_reader(ends[name][0])
            for ours, _ in ends.values():
                os.close(ours)
            os.close(result)

    def end(self, status: str = CANCELLED, reason: str = "") -> None:
        """End the job, with everything it started."""
        if self.ending is None:
            self.ending = status, reason
        if self.child is not None:
            self.child.kill()

    def _arguments(self) -> dict[str, Any]:
        return {
            "folder": self.job["folder"],
            "args": self.job["args"],
            "memory": self.job["memory"],
            "cpu": self.job["cpu"],
            "code_digest": self.job["code_digest"],
            "env": self.env | self.job["env"] | self._identity(),
            "mappings": self.mappings,
        }

    def _identity(self) -> dict[str, str]:
        """Return what a job's program may write into its results, so that they can be traced."""
        folder = Path(self.job["folder"])
        return {
            "JOB_ID": str(self.job["id"]),
            "JOB_USER": self.job["user"],
            "JOB_CODE_DIGEST": self.job["code_digest"],
            "JOB_RECORD": "/".join(folder.parts[-3:]),  # jobs/<engine>/<n>, on the repository
            "JOB_MARK": self.mark,
        }

    async def _watch(self, began: float) -> None:
        """Hold the job to its time and memory."""
        limit, seconds = self.job["memory"], self.job["seconds"]
        shared = 0
        while self.child is not None:
            used = await asyncio.to_thread(self._memory, self.child.pid)
            # What it shares with the process it was forked from is not the job's.
            shared = shared or min(used, 256 << 20)
            self.peak = max(self.peak, used - shared)
            if used - shared > limit:
                mib = (used - shared) >> 20
                self.end(FAILED, f"The job took {mib} MiB of memory; its limit is {limit >> 20}.")
            if time.monotonic() - began > seconds:
                self.end(TIMED_OUT, f"The job ran longer than its limit of {seconds:g} s.")
            await asyncio.sleep(WATCH)

    def _memory(self, pid: int) -> int:
        """Return what the job and all its descendants hold, in bytes."""
        total = 0
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(pid)
            for process in [top, *top.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    self.members[process.pid] = process
                    total += process.memory_info().rss
        return total

    def _kill_rest(self) -> None:
        """Kill what the job started and left behind, also in sessions of its own."""
        top = self.child.pid if self.child is not None else 0
        for process in self.members.values():
            if process.pid != top:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        # What was started since the last look has the mark of this attempt in its environment.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("JOB_MARK") == self.mark:
                    process.kill()
