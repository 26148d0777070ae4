"""A small cluster for tests: API server, controllers and node, programs that can be killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from labsandbox import node
from labsandbox.client import ApiError, Client, ExecResult, Resource
from labsandbox.client.resources import EVENTS, NAMESPACES, PODS, SERVICEACCOUNTS
from labsandbox.loop import BLOCKED
from labsandbox.node import processes
from tests.sandbox.conftest import ROOT, ApiServer, missing_rights

Object = dict[str, Any]
T = TypeVar("T")

DEADLINE = 30.0
IMAGES = ROOT / "catalog" / "images.toml"


class Cluster:
    """The programs and a client."""

    def __init__(self, server: ApiServer) -> None:
        self.server, self.state = server.grant(), server.state
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self._runner = asyncio.Runner()
        self._client: Client | None = None
        self._numbers = itertools.count(1)

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client.from_kubeconfig(self.server.kubeconfig)
        return self._client

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def start(self, name: str, *arguments: str) -> None:
        """Start `controllers` or `node`."""
        kubeconfig = self.state / "kubeconfigs" / f"{name}.conf"
        words = [sys.executable, "-m", f"labsandbox.{name}", "--kubeconfig", str(kubeconfig)]
        with (self.state / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                [*words, "--state", str(self.state), *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a program and wait for it."""
        program = self.programs.pop(name)
        program.send_signal(number)
        program.wait(15)

    def close(self) -> None:
        """End everything, the pods too."""
        for name in list(self.programs):
            self.end(name)
        self.run(node.stop(self.state))
        if self._client:
            self.run(self._client.close())
        self._runner.close()
        self.server.stop()
        for log in {*self.state.glob("*.log")} - {self.state / "server.log"}:
            assert BLOCKED not in log.read_text(errors="replace"), f"see {log}"
        assert missing_rights(self.state) == [], "see deploy/kubernetes/rights/parts"

    def node_pids(self) -> list[int]:
        """Return the keeper and all processes of pods."""
        return processes.find_marked(processes.NODE_MARK, processes.mark_of(self.state))

    def keeper(self) -> int:
        """Return the keeper's process id."""

        def find() -> int | None:
            for pid in self.node_pids():
                if b"labsandbox.node.keeper" in _read(f"/proc/{pid}/cmdline"):
                    return pid
            return None

        return self.until(find, "a keeper runs")

    def log_of(self, name: str) -> str:
        return (self.state / f"{name}.log").read_text(errors="replace")

    # objects

    def namespace(self, prefix: str = "t") -> str:
        """Make a namespace and wait for its service account."""
        name = f"{prefix}{next(self._numbers)}"
        self.run(self.client.create(NAMESPACES, {"metadata": {"name": name}}))
        self.until(lambda: self.get(SERVICEACCOUNTS, "default", name), "a service account")
        return name

    def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        return self.run(self.client.create(resource, obj, namespace))

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        try:
            return self.run(self.client.get(resource, name, namespace))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, resource: Resource, namespace: str | None = None, **options: Any
    ) -> list[Object]:
        return self.run(self.client.list(resource, namespace, **options))

    def delete(self, resource: Resource, name: str, namespace: str | None, **options: Any) -> None:
        self.run(self.client.delete(resource, name, namespace, **options))

    def patch(self, resource: Resource, name: str, namespace: str | None, patch: Object) -> Object:
        return self.run(self.client.patch(resource, name, namespace, patch))

    def exec(self, namespace: str, pod: str, *command: str, **options: Any) -> ExecResult:
        return self.run(self.client.exec(namespace, pod, list(command), **options))

    def shell(self, namespace: str, pod: str, script: str) -> str:
        """Run a shell command in a pod and return what it printed."""
        done = self.exec(namespace, pod, "sh", "-c", script)
        return (done.stdout + done.stderr).decode().strip()

    def logs(self, namespace: str, pod: str, **params: Any) -> str:
        """Return a pod's log; nothing while there is none yet."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            return str(self.run(self.client.request("GET", path, params=params)))
        except ApiError as error:
            if error.status == 400 and "waiting to start" in error.message:
                return ""
            raise

    def reasons(self, namespace: str, name: str) -> list[str]:
        """Return the reasons of an object's events."""
        found = self.list(EVENTS, namespace, fields=f"involvedObject.name={name}")
        return [event["reason"] for event in found]

    def messages(self, namespace: str, name: str) -> list[str]:
        found = self.list(EVENTS, namespace, fields=f"involvedObject.name={name}")
        return [event["message"] for event in found]

    # waiting

    def until(self, look: Callable[[], T | None], what: str, seconds: float = DEADLINE) -> T:
        """Return what `look` returns once that is true; say what it saw last when it never is."""
        deadline = time.monotonic() + seconds
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > deadline:
                logs = "\n".join(self.log_of(name)[-2000:] for name in self.programs)
                raise AssertionError(f"expected that {what}; last seen: {found!r}\n{logs}")
            self.run(asyncio.sleep(0.03))

    def running(self, namespace: str, name: str, ready: bool = True) -> Object:
        """Wait until a pod runs and is ready."""

        def look() -> Object | None:
            pod = self.get(PODS, name, namespace)
            conditions = (pod or {}).get("status", {}).get("conditions") or []
            is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            runs = pod is not None and pod["status"].get("phase") == "Running"
            return pod if runs and (is_ready or not ready) else None

        return self.until(look, f"pod {name} runs")

    def phase(self, namespace: str, name: str, phase: str) -> Object:
        """Wait until a pod has a phase."""

        def look() -> Object | None:
            pod = self.get(PODS, name, namespace)
            return pod if pod and pod["status"].get("phase") == phase else None

        return self.until(look, f"pod {name} is {phase}")

    def container(self, namespace: str, name: str, look: Callable[[Object], Any]) -> Object:
        """Wait until the status of a pod's first container is as wanted."""

        def find() -> Object | None:
            pod = self.get(PODS, name, namespace) or {}
            statuses = pod.get("status", {}).get("containerStatuses") or []
            return statuses[0] if statuses and look(statuses[0]) else None

        return self.until(find, f"the container of {name} is as wanted")

    def gone(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        """Wait until an object is gone."""
        self.until(lambda: self.get(resource, name, namespace) is None, f"{name} is gone")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def pod(name: str, script: str | None = None, **container: Any) -> Object:
    """Return a pod that runs a shell script (or whatever its container says)."""
    spec = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 1}
    for key in ("restartPolicy", "volumes", "initContainers", "terminationGracePeriodSeconds"):
        if key in container:
            spec[key] = container.pop(key)
    if script is not None:
        container["command"] = ["sh", "-c", script]
    one = {"name": "c", "image": "busybox:1.36", **container}
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {**spec, "containers": [one]},
    }
