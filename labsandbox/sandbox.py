"""Start, ask and stop the sandbox of one state folder, from outside its process."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from cryptography import x509

from labsandbox import network
from labsandbox.state import State, read_json

_UP_SECONDS = 90
_DOWN_SECONDS = 30
_ROOT = Path(__file__).resolve().parents[1]
# One heap for all threads, given back early: glibc's usual habits cost the platform 10 MB.
_THRIFTY = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}


class SandboxError(Exception):
    """Base class of what can go wrong with the sandbox as a whole."""


class NotStarted(SandboxError):
    """The sandbox could not be started."""


class NotRunning(SandboxError):
    """There is no running sandbox in the state folder."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the platform says of itself."""

    pid: int
    user: str
    phase: str
    ready: bool
    rest_port: int
    api_port: int


def facts(state: State) -> Facts | None:
    """Return what the running platform last said, or None when nothing runs."""
    if not is_held(state):
        return None
    said = read_json(state.platform_json)
    return Facts(
        int(said.get("pid", 0)),
        str(said.get("user", "somebody")),
        str(said.get("phase", "starting")),
        bool(said.get("ready")),
        int(said.get("rest_port", 0)),
        int(said.get("api_port", 0)),
    )


def is_held(state: State) -> bool:
    """Say whether a process runs the sandbox in this folder."""
    try:
        with open(state.lock, "a+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def start(state: State, words: list[str], tell: Callable[[str], None]) -> Facts:
    """Start the platform unless it runs, and return when it is ready."""
    running = facts(state)
    child = None
    if running and running.phase == "stopping":
        tell("waiting for the one before it to end")
        _await_end(state)
        running = None
    if running is None:
        _check_folder(state)
        _check_clock(state)
        sweep(state)
        state.make()
        child = _spawn(state, words)
    return _await_ready(state, child, tell)


def _await_end(state: State) -> None:
    deadline = time.monotonic() + _DOWN_SECONDS
    while is_held(state) and time.monotonic() < deadline:
        time.sleep(0.02)


def shared_address() -> str:
    """Return what does not work where pods share one address; nothing where they have their own."""
    # differs: where this machine has one loopback address, pods get ports of it; a program that
    # chooses its ports itself, as Spark's do, is not found by others there.
    if network.has_addresses():
        return ""
    return (
        "This machine has 127.0.0.1 and no other loopback address, so pods share it: each has "
        f"{network.SPAN} ports, {network.PODS} pods fit. Notebooks, engines, MLflow and git "
        "run; Spark clusters, Airflow, PostgreSQL and deployments of the workbench need "
        "`sudo ip addr add 127.0.0.0/8 dev lo`, or the container: deploy/images."
    )


def _check_folder(state: State) -> None:
    try:
        state.make()
    except OSError as error:
        raise NotStarted(
            f"Expected a folder to write to at {state.root}, found: {error}. "
            "Choose another with --state."
        ) from error
    free = shutil.disk_usage(state.root).free
    if free < 200 << 20:
        raise NotStarted(
            f"Expected 200 MB of free disk at {state.root}, found {free >> 20} MB. "
            "Free some, or choose another place with --state."
        )


def _check_clock(state: State) -> None:
    """Refuse to start outside the time the platform's certificates are valid for."""
    try:
        authority = x509.load_pem_x509_certificate(state.ca.read_bytes())
    except (OSError, ValueError):
        return  # a first start makes them
    now = datetime.now(UTC)
    begin, end = authority.not_valid_before_utc, authority.not_valid_after_utc
    if begin <= now <= end:
        return
    raise NotStarted(
        f"Expected the clock of this machine between {begin:%Y-%m-%d %H:%M} and "
        f"{end:%Y-%m-%d %H:%M} UTC, for which the certificates in {state.pki} are valid; found "
        f"{now:%Y-%m-%d %H:%M} UTC. Correct the clock (`timedatectl`), or start anew with another "
        "--state."
    )


def _spawn(state: State, words: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "labsandbox.platform", "--state", str(state.root), *words]
    env = os.environ | {"PYTHONPATH": _with_root(os.environ.get("PYTHONPATH", "")), **_THRIFTY}
    with open(state.logs / "platform.out", "ab") as out:
        return subprocess.Popen(
            command,
            stdin=None if "--until-eof" in words else subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=env,
            cwd="/",
        )


def _with_root(path: str) -> str:
    return os.pathsep.join([str(_ROOT), *filter(None, path.split(os.pathsep))])


def _await_ready(
    state: State, child: subprocess.Popen[bytes] | None, tell: Callable[[str], None]
) -> Facts:
    deadline = time.monotonic() + _UP_SECONDS
    begun = time.time()
    told = ""
    while time.monotonic() < deadline:
        said = read_json(state.platform_json)
        current = said.get("time", 0) >= begun or child is None
        phase = str(said.get("phase", "starting"))
        if current and phase != told:
            tell(phase)
            told = phase
            deadline = time.monotonic() + _UP_SECONDS  # it gets on; a busy machine takes its time
        if current and said.get("ready") and (found := facts(state)):
            return found
        if child is not None and child.poll() is not None:
            if child.returncode == 3:
                child = None
                continue
            raise NotStarted(
                f"The platform ended while starting ({phase}). Read {state.logs / 'platform.log'} "
                "or type `labsandbox logs`."
            )
        time.sleep(0.02)
    holder = facts(state)
    who = f"process {holder.pid} of {holder.user} holds the folder" if holder else "nobody runs it"
    raise NotStarted(
        f"The sandbox in {state.root} got no further for {_UP_SECONDS} s: {who}, "
        f"it last said {told!r}. Type `labsandbox doctor`."
    )


def stop(state: State) -> bool:
    """Stop the sandbox and everything it started; say whether there was one."""
    running = facts(state)
    if running:
        _end(running.pid, _DOWN_SECONDS)
    left = sweep(state)
    return running is not None or left > 0


def _end(pid: int, seconds: float) -> None:
    try:
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
        process.wait(seconds)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(5)


def sweep(state: State) -> int:
    """End what a sandbox that was killed left behind; return how many processes that were."""
    if not state.root.exists():
        return 0
    ended = 0
    pid = read_json(state.apiserver_json).get("pid")
    if isinstance(pid, int) and _is_our_apiserver(pid, state):
        _end(pid, 5)
        ended += 1
    if (state.root / "node").exists():
        import asyncio

        from labsandbox import node

        asyncio.run(node.stop(state.root))
    return ended


def _is_our_apiserver(pid: int, state: State) -> bool:
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    return "labsandbox.apiserver" in words and str(state.root) in words
