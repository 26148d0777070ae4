"""Start the platform: the only file that knows all of its parts.

Two processes: the API server, and this one with the controllers, the operator, the node agent, the
front door and the gateway as tasks of one event loop. Each of these is a client of the API over
HTTPS and could run alone; together they fit the memory of a laptop.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import functools
import getpass
import importlib
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

from labsandbox import bounds, loop, ports, renewal
from labsandbox.catalogue import OURS, Catalogue, CatalogueError
from labsandbox.ezmeral.webhook import config_file
from labsandbox.files import write_private
from labsandbox.options import Options
from labsandbox.state import State, read_json

log = logging.getLogger("labsandbox.platform")

KUBERNETES_PORT, REST_PORT = 9500, 8080
_APISERVER_SECONDS = 90
_LONGEST_PAUSE = 10.0
_LOOK_SECONDS = 1.0


class Platform:
    """One running sandbox."""

    def __init__(self, state: State, options: Options) -> None:
        self.state = state
        self.options = options
        self._facts: dict[str, Any] = {"pid": os.getpid(), "user": getpass.getuser()}
        # Where this process began anew, its API server goes on.
        self._apiserver: subprocess.Popen[bytes] | renewal.Adopted | None
        self._apiserver = renewal.child(read_json(state.apiserver_json).get("pid"))
        self._tasks: list[asyncio.Task[None]] = []
        remembered = read_json(state.platform_json)
        self._rest_port = ports.choose(remembered.get("rest_port"), REST_PORT)
        if self._apiserver is not None:
            self._api_port = ports.keep(remembered["api_port"])
        else:
            self._api_port = ports.choose(remembered.get("api_port"), KUBERNETES_PORT)

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, say so, and serve until `stop` is set."""
        if self._apiserver is None:
            self._say("starting the API server")
            self._start_apiserver()
        # Imported while the API server starts: the second core would have nothing to do.
        # On a thread, for after an update it takes a second to compile all modules.
        await asyncio.to_thread(importlib.import_module, "labsandbox.components")
        from labsandbox import components

        parts = components.Parts(self.state, self.options.host, self._rest_port, self.options)
        try:
            await self._apiserver_ready()
            await parts.grant()
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
        try:
            write_private(self.state.platform_json, json.dumps(self._facts))
        except OSError as error:
            # A full disk, or a folder that was removed, must not keep the platform from its end.
            log.warning("%s cannot be written: %s", self.state.platform_json, error)

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


def hold(state: State, held: int | None = None) -> IO[str] | None:
    """Return the locked file that makes this process the one that runs the sandbox, or None.

    `held` is the file's descriptor where this process held it before it began anew.
    """
    state.make()
    if held is not None:
        os.set_inheritable(held, False)
        return os.fdopen(held, "a+")
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


async def _serve(state: State, options: Options, until_eof: bool, held: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if until_eof:
        _stop_at_eof(sys.stdin.fileno(), stop)
    looking = asyncio.create_task(_stop_without_folder(state, held, stop))
    try:
        await Platform(state, options).run(stop)
    finally:
        looking.cancel()


async def _stop_without_folder(state: State, held: int, stop: asyncio.Event) -> None:
    """Stop when the state folder is gone: no `labsandbox down` would find this process again."""
    while _is_held_by(state, held):
        await asyncio.sleep(_LOOK_SECONDS)
    log.critical("%s was removed; this platform ends", state.root)
    stop.set()


def _is_held_by(state: State, held: int) -> bool:
    try:
        return os.path.samestat(os.stat(state.lock), os.fstat(held))
    except FileNotFoundError:
        return False


def _stop_at_eof(source: int, stop: asyncio.Event) -> None:
    """Stop when the last writer of a pipe is gone: also one that was killed with -9 closes it."""
    running = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(source, 4096):
            running.remove_reader(source)
            log.info("who started this has gone")
            stop.set()

    running.add_reader(source, read)


def main(words: list[str] | None = None) -> int:
    """Run the platform in the foreground of this process; what `labsandbox up` starts."""
    parser = argparse.ArgumentParser(prog="python -m labsandbox.platform")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--students", type=int, default=Options.students)
    parser.add_argument("--seats", type=int, default=Options.seats)
    parser.add_argument("--session-seconds", type=float, default=Options.session_seconds)
    parser.add_argument("--catalog", type=Path, default=OURS.folder)
    parser.add_argument("--directory", action="store_true", help="people of an LDAP server, too")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin is closed")
    parser.add_argument(renewal.HELD, type=int, help=argparse.SUPPRESS)
    words = sys.argv[1:] if words is None else words
    given = parser.parse_args(words)
    state = State.at(given.state)
    lock = hold(state, given.held)
    if lock is None:
        print(f"Another process runs the sandbox in {state.root}.", file=sys.stderr)
        return 3
    _log_to(state)
    bounds.protect()
    try:
        catalogue = Catalogue(given.catalog.absolute()).check()
    except CatalogueError as error:
        print(error, file=sys.stderr)
        return 2
    options = Options(
        given.students,
        given.seats,
        given.session_seconds,
        catalogue=catalogue,
        has_directory=given.directory,
    )
    begin_anew = functools.partial(renewal.begin, words, lock.fileno())
    try:
        loop.run(_serve(state, options, given.until_eof, lock.fileno()), begin_anew)
    except MemoryError:
        log.critical("%s; this process ends, to begin anew", bounds.REACHED)
        begin_anew()
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
