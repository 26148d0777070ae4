"""Run a command beside a container, with the container's environment, root and confinement."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any

from labsandbox.node import launch, processes
from labsandbox.node.roles import Container

Object = dict[str, Any]

_numbers = itertools.count(1)


class Command:
    """A started command: its process and its end."""

    def __init__(self, runner: Container, identifier: str, pid: int) -> None:
        self.runner, self.identifier, self.pid = runner, identifier, pid
        self.end: asyncio.Future[Object] = runner.pod.agent.supervisor.exit_of(identifier)

    async def code(self) -> int:
        """Return the exit code once the command has ended."""
        outcome = await asyncio.shield(self.end)
        return 137 if outcome.get("code") is None else int(outcome["code"])

    def kill(self) -> None:
        """End the command and what it started that is still its child."""
        if not self.end.done():
            processes.send(processes.descendants(self.pid), 9)


async def start(
    runner: Container, argv: list[str], descriptors: tuple[int, int, int], tty: bool = False
) -> Command:
    """Start a command with these as its standard streams; the caller still closes them."""
    identifier = f"{runner.identifier}/exec-{os.getpid()}-{next(_numbers)}"
    cwd = launch.working_folder(runner.spec, runner.place.root, runner.mounts)
    spec = runner.spec_for(identifier, argv, cwd)
    spec["tty"] = tty
    if tty:
        spec["env"] = {"TERM": "xterm", **spec["env"]}
    path = runner.place.folder / f"{identifier.rpartition('/')[2]}.json"
    launch.write_spec(path, spec)
    try:
        answer = await runner.pod.agent.supervisor.ask(
            {"op": "exec", "spec": str(path)}, descriptors
        )
    finally:
        path.unlink(missing_ok=True)
    return Command(runner, identifier, answer["pid"])


async def read_pipe(number: int, limit: int) -> bytes:
    """Read a pipe to its end, keeping the first `limit` bytes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(number, "rb", 0)
    )
    kept = bytearray()
    try:
        while chunk := await reader.read(65536):
            kept += chunk[: max(0, limit - len(kept))]
    finally:
        transport.close()
    return bytes(kept)


async def run(
    runner: Container, argv: list[str], seconds: float, limit: int = 10240
) -> tuple[int, str]:
    """Run a command to its end; return exit code and output. TimeoutError kills it."""
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        command = await start(runner, argv, (null, writing, writing))
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(null)
        os.close(writing)
    output = asyncio.create_task(read_pipe(reading, limit))
    try:
        async with asyncio.timeout(seconds):
            code = await command.code()
        # Something left in the background may hold the pipe open: do not wait for it.
        await asyncio.wait([output], timeout=0.5)
        text = output.result().decode(errors="replace") if output.done() else ""
        return code, text
    finally:
        command.kill()
        output.cancel()
