"""Start the platform: the only file that knows all of its parts.

Two processes: the API server, and this one with the controllers, the operator, the node agent, the
front door and the gateway as tasks of one event loop. Each of these is a client of the API over
HTTPS and could run alone; together they fit the memory of a laptop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import getpass
import json
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

from labsandbox import ports
from labsandbox.ezmeral.webhook import config_file
from labsandbox.options import Options
from labsandbox.state import State, read_json, write_private

log = logging.getLogger("labsandbox.platform")

KUBERNETES_PORT, REST_PORT = 9500, 8080
_APISERVER_SECONDS = 30
_LONGEST_PAUSE = 10.0


class Platform:
    """One running sandbox."""

    def __init__(self, state: State, options: Options) -> None:
        self.state = state
        self.options = options
        self._facts: dict[str, Any] = {"pid": os.getpid(), "user": getpass.getuser()}
        self._apiserver: subprocess.Popen[bytes] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        remembered = read_json(state.platform_json)
        self._rest_port = ports.choose(remembered.get("rest_port"), REST_PORT)
        self._api_port = ports.choose(remembered.get("api_port"), KUBERNETES_PORT)

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, say so, and serve until `stop` is set."""
        self._say("starting the API server")
        self._start_apiserver()
        # Imported while the API server starts: the second core would have nothing to do.
        from labsandbox import components

        parts = components.Parts(self.state, self.options.host, self._rest_port, self.options)
        try:
            await self._apiserver_ready()
            self._tasks.append(asyncio.create_task(self._keep_apiserver()))
            self._say("starting the front door, the controllers, the operator and the node")
            for name, start in parts.programs().items():
                self._tasks.append(asyncio.create_task(_keep(name, start), name=name))
            await parts.fill()
            await parts.ready()
            write_private(self.state.platform_env, parts.environment())
            self._say("ready", ready=True)
            await stop.wait()
        finally:
            self._say("stopping")
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await parts.close()
            self._stop_apiserver()
            self._say("stopped")

    def _say(self, phase: str, ready: bool = False) -> None:
        log.info("%s", phase)
        self._facts |= {
            "phase": phase,
            "ready": ready,
            "rest_port": self._rest_port,
            "api_port": self._api_port,
            "time": time.time(),
        }
        write_private(self.state.platform_json, json.dumps(self._facts))

    # the API server

    def _start_apiserver(self) -> None:
        self.state.apiserver_json.unlink(missing_ok=True)
        words = [sys.executable, "-m", "labsandbox.apiserver", "--state", str(self.state.root)]
        words += ["--host", self.options.host, "--port", str(self._api_port)]
        webhook = config_file(self.state, self.options.host, self._rest_port)
        words += ["--authentication-token-webhook-config-file", str(webhook)]
        words += ["--parent-pid", str(os.getpid())]
        with open(self.state.logs / "apiserver.log", "ab") as out:
            self._apiserver = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    async def _apiserver_ready(self) -> None:
        deadline = time.monotonic() + _APISERVER_SECONDS
        while not self.state.apiserver_json.exists():
            if self._apiserver is None or self._apiserver.poll() is not None:
                raise RuntimeError(
                    f"The API server ended at once; {self.state.logs / 'apiserver.log'} says why."
                )
            if time.monotonic() > deadline:
                raise RuntimeError(f"The API server was not ready in {_APISERVER_SECONDS} s.")
            await asyncio.sleep(0.01)

    async def _keep_apiserver(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            if self._apiserver and self._apiserver.poll() is not None:
                log.warning("the API server ended with %s; again", self._apiserver.returncode)
                self._start_apiserver()
                await self._apiserver_ready()

    def _stop_apiserver(self) -> None:
        if self._apiserver and self._apiserver.poll() is None:
            self._apiserver.terminate()
            try:
                self._apiserver.wait(5)
            except subprocess.TimeoutExpired:
                self._apiserver.kill()
                self._apiserver.wait()


async def _keep(name: str, start: Callable[[], Awaitable[None]]) -> None:
    """Run a part for ever; a part that breaks is started again, ever more slowly."""
    pause = 0.2
    while True:
        begun = time.monotonic()
        try:
            await start()
        except Exception:
            log.exception("%s broke; starting it again in %.1f s", name, pause)
        if time.monotonic() - begun > 60:
            pause = 0.2
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def hold(state: State) -> IO[str] | None:
    """Return the locked file that makes this process the one that runs the sandbox, or None."""
    state.make()
    handle = open(state.lock, "a+")  # noqa: SIM115 - held open for the life of the process
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        return None
    return handle


def _log_to(state: State) -> None:
    handler = logging.handlers.RotatingFileHandler(
        state.logs / "platform.log", maxBytes=5 << 20, backupCount=2
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("stamina").setLevel(logging.WARNING)


async def _serve(state: State, options: Options, until_eof: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        _stop_at_eof(sys.stdin.fileno(), stop)
    await Platform(state, options).run(stop)


def _stop_at_eof(source: int, stop: asyncio.Event) -> None:
    """Stop when the last writer of a pipe is gone: also one that was killed with -9 closes it."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(source, 4096):
            loop.remove_reader(source)
            log.info("who started this has gone")
            stop.set()

    loop.add_reader(source, read)


def main(words: list[str] | None = None) -> int:
    """Run the platform in the foreground of this process; what `labsandbox up` starts."""
    parser = argparse.ArgumentParser(prog="python -m labsandbox.platform")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--students", type=int, default=Options.students)
    parser.add_argument("--seats", type=int, default=Options.seats)
    parser.add_argument("--session-seconds", type=float, default=Options.session_seconds)
    parser.add_argument("--catalog", type=Path, default=Options.catalog)
    parser.add_argument("--until-eof", action="store_true", help="end when stdin is closed")
    given = parser.parse_args(words)
    state = State.at(given.state)
    lock = hold(state)
    if lock is None:
        print(f"Another process runs the sandbox in {state.root}.", file=sys.stderr)
        return 3
    _log_to(state)
    options = Options(given.students, given.seats, given.session_seconds, catalog=given.catalog)
    try:
        with contextlib.suppress(ImportError):
            import uvloop

            uvloop.install()
        asyncio.run(_serve(state, options, given.until_eof))
    except Exception as error:
        log.exception("the platform could not go on")
        failure = {"phase": f"failed: {error}", "ready": False}
        write_private(state.platform_json, json.dumps(failure))
        return 1
    finally:
        lock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
