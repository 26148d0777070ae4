"""Jobs in members: start a script in a container, and stay with it until it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from labsandbox.client import ApiError, Client
from labsandbox.kubedirector import script
from labsandbox.kubedirector.model import APP_CONTAINER, Object
from labsandbox.kubedirector.reconcile.plan import Job, Report

log = logging.getLogger(__name__)

_FIRST_LOOK, _NEXT_LOOKS = 2, 15
_PATIENCE = 30
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_COMPLAINTS = (3, 30, 300)
_KILLED = (137, 143)  # by SIGKILL, by SIGTERM


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds after which a start script that still runs is reported."""

    configure: float = 300
    others: float = 60


@dataclass(frozen=True, slots=True)
class Task:
    """A job with all it needs to be carried out."""

    job: Job
    namespace: str
    generation: int
    configmeta: str
    package_url: str
    wants_configure: bool
    log_size: int
    injections: tuple[Object, ...] = ()
    deadlines: Deadlines = field(default_factory=Deadlines)


class _Interrupted(Exception):
    """The member cannot be reached now."""


async def carry_out(
    client: Client,
    task: Task,
    is_current: Callable[[], bool],
    deliver: Callable[[Report], None],
    complain: Callable[[str], None],
) -> None:
    """Run a job to its end, delivering reports; give up silently when its container is gone."""
    started, failures, pause = time.monotonic(), 0, _FIRST_PAUSE
    seconds, next_alarm = _FIRST_LOOK, _deadline(task)
    last: script.Answer | None = None
    is_injected = False
    while is_current():
        try:
            if task.job.kind == "setup" and not is_injected:
                problem = await _inject(client, task)
                if problem:
                    deliver(_report(task, script.Answer("failed", None, None, "", "", problem)))
                    return
                is_injected = True
            answer = await _ask(client, task, seconds)
        except _Interrupted as error:
            failures += 1
            if failures in _COMPLAINTS:
                complain(f"{task.job.kind} of member{{{task.job.pod}}} cannot start: {error}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            continue
        failures, pause = 0, _FIRST_PAUSE
        if answer.state != "running":
            deliver(_report(task, answer))
            return
        elapsed = time.monotonic() - started
        if elapsed >= next_alarm:
            next_alarm *= 2
            deliver(_report(task, answer, overdue=elapsed))
            if task.job.kind != "setup":
                return  # whoever waits for this goes on without it
        elif answer != last:
            deliver(_report(task, answer))
        last = answer
        seconds = _look(task, elapsed, next_alarm)


def _deadline(task: Task) -> float:
    return task.deadlines.configure if task.job.kind == "setup" else task.deadlines.others


def _look(task: Task, elapsed: float, next_alarm: float) -> int:
    """Return how long to watch next: not much longer than until the next alarm."""
    return max(1, min(_NEXT_LOOKS, int(next_alarm - elapsed) + 1))


async def _ask(client: Client, task: Task, seconds: int) -> script.Answer:
    seconds = min(seconds, max(1, int(_deadline(task))))
    job, size = task.job, task.log_size
    if job.kind == "setup":
        command = script.setup(
            task.configmeta,
            job.container,
            task.generation,
            job.persistent,
            job.attempt,
            task.package_url,
            task.wants_configure,
            size,
            seconds,
        )
    elif job.kind == "update":
        command = script.update(
            task.configmeta,
            job.container,
            job.version,
            task.generation,
            job.reconnect,
            size,
            seconds,
        )
    else:
        words = " ".join(job.arguments).split(" ")
        command = script.notify(f"{job.container}={task.generation}", words, size, seconds)
    stdout, stderr, code = await _run(client, task, command, seconds + _PATIENCE)
    return script.read(stdout, stderr, code, size)


async def _inject(client: Client, task: Task) -> str | None:
    """Download the files a role wants in its members; return what went wrong."""
    for injection in task.injections:
        _, stderr, code = await _run(client, task, script.inject(injection), 120)
        if code:
            text = stderr.decode(errors="replace").strip()[-200:]
            return f"failed requested file injections: {injection['srcURL']}: {text or code}"
    return None


async def _run(
    client: Client, task: Task, command: script.Command, timeout: float
) -> tuple[bytes, bytes, int]:
    try:
        result = await client.exec(
            task.namespace,
            task.job.pod,
            command.words,
            container=APP_CONTAINER,
            stdin=command.stdin,
            timeout=timeout,
        )
    except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
        log.debug("exec in %s failed", task.job.pod, exc_info=True)
        raise _Interrupted(str(error) or type(error).__name__) from error
    if result.exit_code in _KILLED and not result.stdout:
        # Not an answer of the start script: the container was ending, or has no memory left.
        raise _Interrupted(f"its shell was killed ({result.exit_code})")
    return result.stdout, result.stderr, result.exit_code


def _report(task: Task, answer: script.Answer, overdue: float = 0) -> Report:
    job = task.job
    version = job.version if job.reconnect or job.kind == "setup" else 0
    return Report(job.kind, job.pod, job.container, answer, version, job.arguments, overdue)
