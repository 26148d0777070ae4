"""Startup, readiness and liveness probes, and the hooks after start and before stop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from labsandbox.network import reach
from labsandbox.node import commands
from labsandbox.node.launch import CannotRun
from labsandbox.node.roles import Container
from labsandbox.node.supervisor import KeeperError

Object = dict[str, Any]

_NAMES = {"startup": "Startup", "readiness": "Readiness", "liveness": "Liveness"}


class ProbeFailed(Exception):
    """A probe or hook says no; the text is what the event shows."""


class Prober:
    """The probes of one container while it runs."""

    def __init__(self, runner: Container) -> None:
        self.runner = runner
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to probe a container that has just started (or was found again)."""
        self.stop()
        spec = self.runner.spec
        has_hook = "postStart" in (spec.get("lifecycle") or {})
        if any(f"{kind}Probe" in spec for kind in _NAMES) or has_hook:
            self._task = asyncio.create_task(self._run(), name=f"probes of {self.runner.name}")
        else:
            self.runner.record.is_started = self.runner.record.is_ready = True

    def stop(self) -> None:
        """End all probing."""
        if self._task:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        runner, spec = self.runner, self.runner.spec
        record = runner.record
        hook = (spec.get("lifecycle") or {}).get("postStart")
        if hook and not record.is_started and not await self.run_hook("postStart", hook, None):
            await self._kill("FailedPostStartHook")
            return
        startup = None if record.is_started else spec.get("startupProbe")
        if startup and not await self._await_startup(startup):
            await self._kill("failed startup probe, will be restarted", startup)
            return
        record.is_started = True
        if "readinessProbe" not in spec:
            record.is_ready = True
        runner.pod.changed()
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in spec:
                group.create_task(self._follow_readiness(spec["readinessProbe"]))
            if "livenessProbe" in spec:
                group.create_task(self._follow_liveness(spec["livenessProbe"]))

    async def _await_startup(self, probe: Object) -> bool:
        failures = 0
        async for _ in _ticks(probe):
            if await self._passes("startup", probe):
                return True
            failures += 1
            if failures >= (probe.get("failureThreshold") or 3):
                return False
        return False

    async def _follow_readiness(self, probe: Object) -> None:
        record = self.runner.record
        run = 0
        async for _ in _ticks(probe):
            passed = await self._passes("readiness", probe)
            run = run + 1 if passed != record.is_ready else 0
            needed = probe.get("successThreshold" if passed else "failureThreshold")
            if passed != record.is_ready and run >= (needed or (1 if passed else 3)):
                record.is_ready, run = passed, 0
                self.runner.pod.changed()

    async def _follow_liveness(self, probe: Object) -> None:
        failures = 0
        async for _ in _ticks(probe):
            failures = 0 if await self._passes("liveness", probe) else failures + 1
            if failures >= (probe.get("failureThreshold") or 3):
                await self._kill("failed liveness probe, will be restarted", probe)
                return

    async def _kill(self, why: str, probe: Object | None = None) -> None:
        grace = (probe or {}).get("terminationGracePeriodSeconds")
        if grace is None:
            grace = self.runner.pod.pod["spec"].get("terminationGracePeriodSeconds", 30)
        stop = self.runner.stop(grace, f"Container {self.runner.name} {why}")
        # In a task of its own: the container's end stops this one.
        self._killing = asyncio.create_task(stop)
        await asyncio.shield(self._killing)

    async def _passes(self, kind: str, probe: Object) -> bool:
        try:
            await self.check(probe, probe.get("timeoutSeconds") or 1)
        except ProbeFailed as error:
            text = f"{_NAMES[kind]} probe failed: {error}"
            self.runner.pod.event("Warning", "Unhealthy", text, self.runner.name)
            return False
        return True

    async def check(self, action: Object, seconds: float) -> None:
        """Do what a probe or hook says; raise ProbeFailed when it does not work."""
        if "exec" in action:
            await self._run_command(action["exec"].get("command") or [], seconds)
        elif "httpGet" in action:
            await self._get(action["httpGet"], seconds)
        elif "tcpSocket" in action:
            await self._dial(action["tcpSocket"], seconds)
        elif "sleep" in action:
            await self.runner.pod.rest_unless_forced(action["sleep"]["seconds"])
        elif "grpc" in action:
            raise ProbeFailed(
                "grpc probes are not supported on this platform; use httpGet, tcpSocket or exec"
            )

    async def _run_command(self, argv: list[str], seconds: float) -> None:
        try:
            code, output = await commands.run(self.runner, argv, seconds)
        except TimeoutError:
            raise ProbeFailed(
                f'command timed out: "{" ".join(argv)}" timed out after {seconds:g}s'
            ) from None
        except (CannotRun, KeeperError) as error:
            raise ProbeFailed(f"error executing command in container: {error}") from error
        if code:
            raise ProbeFailed(output)

    def _target(self, action: Object) -> tuple[str, int, tuple[str, int]]:
        """Return the address and the port shown, and those dialled."""
        shown = action.get("host") or self.runner.pod.record.address
        port = action["port"]
        if not isinstance(port, int) and not str(port).isdigit():
            named = {p.get("name"): p["containerPort"] for p in self.runner.spec.get("ports") or []}
            if port not in named:
                raise ProbeFailed(f"couldn't find port: {port!r} in the container's ports")
            port = named[port]
        return shown, int(port), reach(shown, int(port))

    async def _get(self, action: Object, seconds: float) -> None:
        shown, port, (host, dialled) = self._target(action)
        scheme = (action.get("scheme") or "HTTP").lower()
        path = "/" + (action.get("path") or "").lstrip("/")
        url = f"{scheme}://{shown}:{port}{path}"
        headers = {h["name"]: h["value"] for h in action.get("httpHeaders") or []}
        headers.setdefault("User-Agent", "kube-probe/1.32")
        context: ssl.SSLContext | bool = True
        if scheme == "https":
            # differs: a kubelet accepts any certificate; here it is the platform's for localhost.
            context = self.runner.pod.agent.probe_tls()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
                session.get(
                    f"{scheme}://{host}:{dialled}{path}",
                    headers=headers,
                    ssl=context,
                    server_hostname="localhost" if scheme == "https" else None,
                ) as answer,
            ):
                if not 200 <= answer.status < 400:
                    raise ProbeFailed(f"HTTP probe failed with statuscode: {answer.status}")
        except TimeoutError:
            raise ProbeFailed(
                f'Get "{url}": context deadline exceeded '
                "(Client.Timeout exceeded while awaiting headers)"
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise ProbeFailed(
                f'Get "{url}": dial tcp {shown}:{port}: connect: {_cause(error.os_error)}'
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ProbeFailed(f'Get "{url}": {error}') from error

    async def _dial(self, action: Object, seconds: float) -> None:
        shown, port, dialled = self._target(action)
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(*dialled)
        except TimeoutError:
            raise ProbeFailed(f"dial tcp {shown}:{port}: i/o timeout") from None
        except OSError as error:
            raise ProbeFailed(f"dial tcp {shown}:{port}: connect: {_cause(error)}") from error
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def run_hook(self, kind: str, hook: Object, seconds: float | None) -> bool:
        """Run a lifecycle hook; tell an event and return False when it fails."""
        try:
            async with asyncio.timeout(seconds):
                await self.check(hook, seconds or 3600)
        except (ProbeFailed, TimeoutError) as error:
            reason = "Failed" + kind[0].upper() + kind[1:] + "Hook"
            text = f"{kind[0].upper()}{kind[1:]}Hook failed: {error or 'timed out'}"
            self.runner.pod.event("Warning", reason, text, self.runner.name)
            return False
        return True


async def _ticks(probe: Object) -> AsyncIterator[None]:
    """Yield when the probe is due, for ever."""
    seconds = probe.get("initialDelaySeconds") or 0
    while True:
        await asyncio.sleep(seconds)
        yield
        seconds = probe.get("periodSeconds") or 10


def _cause(error: OSError) -> str:
    return "connection refused" if error.errno == 111 else (error.strerror or str(error)).lower()
