"""A stand-in kubelet, as in the recordings: it binds every pod and says it runs at once.

Its logs and streams are in ``endpoint``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labsandbox.client import ApiError, Client, Informer
from labsandbox.client.resources import NODES, PODS
from tests.golden.endpoint import HOST, Endpoint

NODE = "fake"
JOB_SECONDS = 1.0
ROOT = Path(__file__).resolve().parents[2]
_addresses = itertools.count(1)


def now() -> str:
    """The time as statuses carry it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def running(pod: dict[str, Any], *, is_done: bool) -> dict[str, Any]:
    """The status of a pod whose containers run, or have run."""
    known = pod.get("status") or {}
    started = known.get("startTime") or now()
    address = known.get("podIP") or f"10.244.0.{next(_addresses)}"
    state: dict[str, Any] = {"running": {"startedAt": started}}
    if is_done:
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now()}
        state = {"terminated": ended}
    statuses = []
    for index, one in enumerate(pod["spec"]["containers"]):
        statuses.append(
            {
                "name": one["name"],
                "state": state,
                "lastState": {},
                "ready": not is_done,
                "restartCount": 0,
                "image": one["image"],
                "imageID": f"fake://{one['image']}",
                "containerID": f"fake://{pod['metadata']['uid']}-{index}",
                "started": not is_done,
            }
        )
    conditions = []
    for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled"):
        condition = {
            "type": kind,
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": started,
        }
        if is_done and kind in ("Ready", "ContainersReady"):
            condition |= {"status": "False", "reason": "PodCompleted"}
        conditions.append(condition)
    return {
        "phase": "Succeeded" if is_done else "Running",
        "conditions": conditions,
        "hostIP": HOST,
        "hostIPs": [{"ip": HOST}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": started,
        "containerStatuses": statuses,
    }


class Kubelet:
    """Watches pods and writes what a kubelet would."""

    def __init__(self, kubeconfig: Path, pki: Path) -> None:
        self._kubeconfig = kubeconfig
        self._endpoint = Endpoint(pki)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        if not self._ready.wait(20):
            raise RuntimeError("The stand-in kubelet could not list pods within 20 s.")

    def close(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        if self._thread.is_alive():
            raise RuntimeError("The stand-in kubelet did not end within 60 s.")

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        port = await self._endpoint.start()
        async with Client.from_kubeconfig(self._kubeconfig) as client:
            with contextlib.suppress(ApiError):
                await client.create(NODES, _node(port))
            informer = Informer(client, PODS)
            informer.listeners.append(lambda _kind, _old, new: self._look(client, new))
            await informer.start()
            self._ready.set()
            await self._stop.wait()
            await informer.stop()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._endpoint.stop()
        await asyncio.sleep(0.2)  # pause: a TLS transport closes its socket a few turns later

    def _look(self, client: Client, pod: dict[str, Any] | None) -> None:
        if pod is None:
            return
        task = self._loop.create_task(self._act(client, pod))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _act(self, client: Client, pod: dict[str, Any]) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        key = (metadata["uid"], _stage(pod))
        if key in self._busy or not key[1]:
            return
        self._busy.add(key)
        name, namespace = metadata["name"], metadata["namespace"]
        with contextlib.suppress(ApiError):
            if key[1] == "bind":
                target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
                body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
                path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
                await client.request("POST", path, json={**body, "target": target})
            elif key[1] == "end":
                await client.delete(PODS, name, namespace, grace=0, uid=metadata["uid"])
            else:
                await self._write(client, pod, is_done=False)
                if spec.get("restartPolicy") != "Always":
                    await asyncio.sleep(JOB_SECONDS)  # pause: a stand-in job works so long
                    fresh = await client.get(PODS, name, namespace)
                    await self._write(client, fresh, is_done=True)

    async def _write(self, client: Client, pod: dict[str, Any], *, is_done: bool) -> None:
        metadata = pod["metadata"]
        await client.patch(
            PODS,
            metadata["name"],
            metadata["namespace"],
            {"status": running(pod, is_done=is_done)},
            kind="merge",
            subresource="status",
        )


def _stage(pod: dict[str, Any]) -> str:
    """What is to be done with a pod; "" when nothing is."""
    if pod["metadata"].get("deletionTimestamp"):
        return "end"
    if not pod["spec"].get("nodeName"):
        return "" if pod["spec"].get("schedulingGates") else "bind"
    return "run" if (pod.get("status") or {}).get("phase") == "Pending" else ""


def _node(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "addresses": [{"type": "InternalIP", "address": HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    }


class Controllers:
    """`python -m labsandbox.controllers` beside the server under test."""

    def __init__(self, kubeconfig: Path, state: Path) -> None:
        command = [sys.executable, "-m", "labsandbox.controllers"]
        with (state / "controllers.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--kubeconfig", str(kubeconfig), "--state", str(state)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )

    def close(self) -> None:
        """Stop the program."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
