"""JupyterLab on a lifeline: it begins beside the sandbox and ends with whoever started it.

Standard input is a pipe from `labs lab`. Its first line holds the platform's settings; until they
are there kernels and terminals wait, pages do not. When the pipe is closed `labs lab` has gone,
be it by `kill -9`, and JupyterLab shuts down, its kernels with it. Standard output gets one line
of JSON, the address, as soon as pages are answered; all other words go to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from typing import IO, Any

from labpanel import gate
from labrunner import sandbox

GRACE = 15.0  # for kernels to end
PLATFORM_SECONDS = 120.0
TELLS_NAMES = "--IPKernelApp.extra_extensions=labshow.trouble"


def main(arguments: list[str]) -> None:
    """Run JupyterLab until it is shut down, or until standard input is closed."""
    source, answers = _take_pipes()
    gate.shut()
    threading.Thread(target=_follow, args=(source,), daemon=True).start()
    from jupyter_server.serverapp import ServerApp
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    server: ServerApp = LabApp.initialize_server(
        argv=arguments, kernel_manager_class=kernel_manager()
    )
    _gate_terminals(server.web_app.settings)
    server.io_loop.add_callback(_answer, server, answers)
    server.start()


def _take_pipes() -> tuple[IO[str], IO[str]]:
    """Keep both pipes for ourselves: kernels inherit neither."""
    source = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return source, answers


def _follow(source: IO[str]) -> None:
    """Take the settings, then wait for the end of the one who sent them."""
    if settings := source.readline():
        os.environ.update(sandbox.merged(dict(os.environ), json.loads(settings)))
        gate.unlock()
    source.read()
    os.kill(os.getpid(), signal.SIGTERM)
    timer = threading.Timer(GRACE, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def _answer(server: Any, answers: IO[str]) -> None:
    local = server.ip in ("localhost", "127.0.0.1", "::1", "", "0.0.0.0", "::", "*")
    address = server.local_url if local else server.public_url
    with answers:
        json.dump({"address": address, "pid": os.getpid()}, answers)
        answers.write("\n")


def kernel_manager() -> type:
    """Return the class of managers whose kernels find the platform's settings.

    The labs' own kernel also tells a missing name in a sentence before any cell has run.
    """
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

    class GatedKernelManager(AsyncMappingKernelManager):
        async def start_kernel(self, *words: Any, **more: Any) -> str:  # type: ignore[override]
            await asyncio.to_thread(gate.wait, PLATFORM_SECONDS)
            if more.get("kernel_name") in (None, "python3"):
                more["extra_arguments"] = [*more.get("extra_arguments", ()), TELLS_NAMES]
            return str(await super().start_kernel(*words, **more))

    return GatedKernelManager


def _gate_terminals(settings: dict[str, Any]) -> None:
    """Let a terminal wait, too; nobody opens one in the first second, but a page may restore it."""
    manager = settings.get("terminal_manager")
    if manager is None:
        return
    spawn = manager.new_terminal

    def new_terminal(*words: Any, **more: Any) -> Any:
        gate.wait(PLATFORM_SECONDS)
        return spawn(*words, **more)

    manager.new_terminal = new_terminal
