"""Run published scoring scripts: JSON in argv[1], the answer printed.

Every request has a process of its own, forked ahead of time from one that has the script's
libraries imported and its source compiled. So a script that exits, hangs, crashes or leaves
something behind never meets the next request, and no request pays for an interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import orjson

from labapps.deployment import digest, formats
from labapps.deployment.spec import ModelSpec, SpecError
from labapps.forks.client import Child, ForkError, Zygote
from labapps.web.asgi import Problem

__all__ = ["Outcome", "ScriptPool"]

log = logging.getLogger(__name__)
SIZE = struct.Struct(">I")
CODE = struct.Struct(">i")
OUTPUT = 8 << 20
QUEUE = 512
LESSONS = 8


@dataclass(frozen=True)
class Outcome:
    """What one run printed and how it ended."""

    code: int | None
    output: bytes
    stderr: bytes
    seconds: float
    ending: str


@dataclass
class Runner:
    """A forked process that waits for its one request."""

    child: Child
    sock: socket.socket
    out: int
    err: int

    def discard(self) -> None:
        self.child.kill()
        self.sock.close()
        os.close(self.out)
        os.close(self.err)


class ScriptPool:
    """Warm processes for one scoring script."""

    def __init__(
        self,
        spec: ModelSpec,
        zygote: Zygote,
        mappings: dict[str, str],
        *,
        timeout: float = 30.0,
        warm: int = 2,
        limit: int = 4,
        memory: int = 2 << 30,
    ) -> None:
        self.spec, self.timeout, self.warm = spec, timeout, warm
        self.zygote = Zygote(list(spec.needs), parent=zygote)
        self.args = {
            "script": spec.scoring,
            "mappings": mappings,
            "memory": memory,
            "model": spec.path,
            "format": spec.format,
        }
        self.idle: deque[Runner] = deque()
        self.slots = asyncio.Semaphore(limit)
        self.queued = 0
        note = formats.PICKLE_NOTE if spec.format == "pickle" else ""
        self.about: dict[str, Any] = {"features": list(spec.features), "note": note}
        self.closed = False
        self.filling: asyncio.Task[None] | None = None
        self.learning: asyncio.Task[None] | None = None
        self.learned = 0
        self.quiet = asyncio.Event()
        self.quiet.set()

    async def start(self) -> None:
        """Fork the first runners; SpecError says that a file is not the registered one."""
        try:
            await asyncio.to_thread(digest.verify, self.spec.digests)
        except (digest.DigestMismatch, OSError) as error:
            raise SpecError(f"{self.spec.label} does not load: {error}") from error
        await self.zygote.start()
        self.idle.append(await self._fork())

    async def close(self, grace: float = 30.0) -> None:
        """Answer what is under way, then end every process of the script."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.quiet.wait(), grace)
        self.closed = True
        for task in (self.filling, self.learning):
            if task is not None:
                task.cancel()
        while self.idle:
            self.idle.popleft().discard()
        await self.zygote.close()

    async def submit(self, document: dict[str, Any]) -> tuple[int, bytes]:
        """Run the script with the request's arguments and word the reply."""
        argument = orjson.dumps(document.get("scoring_args", {}))
        if self.queued >= QUEUE:
            raise Problem(503, f"{QUEUE} requests wait for {self.spec.label}; try again later.")
        self.queued += 1
        self.quiet.clear()
        try:
            async with self.slots:
                outcome = await self.run(argument)
        finally:
            self.queued -= 1
            if not self.queued:
                self.quiet.set()
        return self.word(outcome)

    async def run(self, argument: bytes) -> Outcome:
        """Run the script once."""
        began = time.perf_counter()
        runner = self.idle.popleft() if self.idle else await self._fork()
        loop = asyncio.get_running_loop()
        try:
            try:
                await loop.sock_sendall(runner.sock, SIZE.pack(len(argument)) + argument)
                answer = await asyncio.wait_for(loop.sock_recv(runner.sock, 1 << 16), self.timeout)
            except TimeoutError:
                return self._collect(runner, None, began, f"ran longer than {self.timeout:g} s")
            except OSError:
                answer = b""
            if len(answer) >= CODE.size:
                self._learn(answer[CODE.size :])
                return self._collect(runner, CODE.unpack_from(answer)[0], began, "")
            with contextlib.suppress(TimeoutError):
                ended = await asyncio.wait_for(asyncio.shield(runner.child.exited), 2.0)
                return self._collect(runner, ended.code, began, str(ended))
            return self._collect(runner, None, began, "ended without a word")
        finally:
            runner.discard()
            # Only now: forking and warming the next one would compete with this one for a core.
            asyncio.get_running_loop().call_later(0.002, self._refill)

    def _learn(self, modules: bytes) -> None:
        """Have what the script imported late imported before the next fork."""
        if len(modules) > 2 and not self.learning:
            self.learning = asyncio.get_running_loop().create_task(self._import(modules))

    async def _import(self, modules: bytes) -> None:
        with contextlib.suppress(ValueError):
            await self.zygote.preload(orjson.loads(modules))
        old, self.idle = self.idle, deque()
        for runner in old:
            runner.discard()
        await self._fill()
        self.learned += 1
        if self.learned < LESSONS:
            self.learning = None

    def _collect(self, runner: Runner, code: int | None, began: float, ending: str) -> Outcome:
        seconds = time.perf_counter() - began
        texts = []
        for fd in (runner.out, runner.err):
            size = os.fstat(fd).st_size
            texts.append(os.pread(fd, min(size, OUTPUT), 0))
            if size > OUTPUT:
                code, ending = None, f"printed more than {OUTPUT >> 20} MiB"
        return Outcome(code, texts[0], texts[1], seconds, ending)

    async def _fork(self) -> Runner:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        out, err = os.memfd_create("stdout"), os.memfd_create("stderr")
        call = "labapps.deployment.runner:run_once"
        try:
            with theirs:
                child = await self.zygote.fork(call, self.args, [theirs.fileno(), out, err])
        except BaseException:
            ours.close()
            os.close(out)
            os.close(err)
            raise
        return Runner(child, ours, out, err)

    def _refill(self) -> None:
        if not self.closed and (self.filling is None or self.filling.done()):
            self.filling = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        try:
            while len(self.idle) < self.warm and not self.closed:
                runner = await self._fork()
                if self.closed:
                    runner.discard()
                else:
                    self.idle.append(runner)
        except (ForkError, OSError) as error:
            log.error("%s: no warm process: %s", self.spec.label, error)

    def word(self, outcome: Outcome) -> tuple[int, bytes]:
        """Word the reply: the script's standard output alone is `output`."""
        body: dict[str, Any] = {
            "output": "",
            "stderr": outcome.stderr.decode("utf-8", "replace"),
            "seconds": round(outcome.seconds, 6),
            "exit_code": outcome.code,
            "model": self.spec.name,
            "version": self.spec.version,
        }
        status, script = 200, os.path.basename(self.spec.scoring)
        try:
            body["output"] = outcome.output.decode()
        except UnicodeDecodeError:
            body["output"] = outcome.output.decode("utf-8", "replace")
            status, body["error"] = 500, f"{script} printed bytes that are not UTF-8 text."
        if outcome.ending.startswith("ran longer"):
            status, body["error"] = 504, f"{script} {outcome.ending}; it was stopped."
        elif outcome.code != 0:
            last = body["stderr"].strip().rpartition("\n")[2]
            how = outcome.ending or f"ended with exit code {outcome.code}"
            status, body["error"] = 500, f"{script} {how}. {last}".rstrip()
        if status != 200:
            body["expected"] = "a script that reads JSON from argv[1], prints text and ends with 0"
        return status, orjson.dumps(body)
