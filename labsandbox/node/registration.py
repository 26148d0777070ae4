"""The Node object: what this machine offers, and the heartbeat that says it is there."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from labsandbox.client import ApiError, ClientError
from labsandbox.client.resources import LEASES, NAMESPACES, NODES
from labsandbox.node import landlock, pressure
from labsandbox.node.pressure import Condition
from labsandbox.node.roles import Node
from labsandbox.node.status import when

log = logging.getLogger(__name__)

Object = dict[str, Any]

_LEASE_NAMESPACE = "kube-node-lease"
_LEASE_SECONDS, _RENEW_SECONDS, _STATUS_SECONDS = 40, 10, 300
_MOST_PODS = 250


def capacity() -> dict[str, str]:
    """Return what the machine has."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    disk = os.statvfs("/")
    return {
        "cpu": str(len(os.sched_getaffinity(0))),
        "memory": f"{pages // 1024}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": str(_MOST_PODS),
    }


_PACKAGES = (
    "labapps", "labdata", "labhelpers", "labkube",
    "labregress", "labsandbox", "labshow", "labspark",
)  # fmt: skip


def link_packages(folder: Path) -> None:
    """Show our packages in a folder of their own, for the interpreters in pods.

    Kernels of a notebook pod use the labs' helpers, and kubectl its plugin. Their import path must
    not name the folder the packages lie in: it may hold anything else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PACKAGES:
        found = importlib.util.find_spec(name)
        place = folder / name
        for where in found.submodule_search_locations or [] if found else []:
            if place.is_symlink() and os.readlink(place) != where:
                place.unlink()
            if not place.is_symlink():
                place.symlink_to(where)


def confinement(version: int, has_view: bool) -> tuple[str, str, str]:
    """Return status, reason and message of the condition that says how pods are confined."""
    if not version:
        text = "this kernel has no Landlock: pods can read and write what you can"
        return "False", "NoLandlock", text
    text = "pods read and write only what is theirs"
    if not has_view:
        return (
            "True",
            "NoMountNamespace",
            f"{text}, but can change modes and times of your other files and write to your "
            "terminals: this machine refuses user namespaces",
        )
    if version < landlock.SCOPES:
        text += f", but can signal your processes: Landlock {version} is older than Linux 6.12's"
    return "True", "Landlock", text


def conditions(
    now: str, before: list[Object], has_view: bool, measured: list[Condition]
) -> list[Object]:
    """Return the node's conditions: those that were measured, and what holds as long as we run."""
    wanted = [
        *measured,
        Condition("PodsConfined", *confinement(landlock.abi(), has_view)),
        Condition("Ready", "True", "KubeletReady", "the node agent is posting ready status"),
    ]
    since = {(c["type"], c["status"]): c["lastTransitionTime"] for c in before}
    return [
        {
            "type": one.kind,
            "status": one.status,
            "reason": one.reason,
            "message": one.message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since.get((one.kind, one.status), now),
        }
        for one in wanted
    ]


class Registration:
    """Creates the Node and keeps it fresh."""

    def __init__(self, agent: Node, port: int) -> None:
        self.agent, self.port = agent, port
        self._written: list[str] = []  # the statuses of the measured conditions

    def _node(self) -> Object:
        name = self.agent.name
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                platform.machine(), platform.machine()
            ),
        }
        return {"metadata": {"name": name, "labels": labels}, "spec": {}}

    def _measured(self) -> list[Condition]:
        return pressure.judge(pressure.measure(self.agent.state), self.agent.settings.thresholds)

    def _status(self, before: list[Object], measured: list[Condition]) -> Object:
        release = platform.release()
        return {
            "capacity": self.agent.capacity,
            "allocatable": self.agent.surroundings.allocatable,
            "conditions": conditions(when(time.time()), before, self.agent.has_view, measured),
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self.agent.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "nodeInfo": {
                "machineID": _read("/etc/machine-id"),
                "systemUUID": "",
                "bootID": _read("/proc/sys/kernel/random/boot_id"),
                "kernelVersion": release,
                "osImage": _os_name(),
                "containerRuntimeVersion": "labsandbox://1",
                "kubeletVersion": "v1.32.0-labsandbox",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": self._node()["metadata"]["labels"]["kubernetes.io/arch"],
            },
        }

    async def register(self) -> None:
        """Create the Node or take over the one that is there; wait until the API lets us."""
        pause = 0.05
        while True:
            try:
                await self._write()
                return
            except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.info("the node cannot be registered yet: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5)

    async def _write(self) -> None:
        client, name = self.agent.client, self.agent.name
        with contextlib.suppress(ApiError):
            await client.create(NODES, self._node())
        node = await client.get(NODES, name)
        before = (node.get("status") or {}).get("conditions") or []
        measured = self._measured()
        status = self._status(before, measured)
        await client.patch(NODES, name, None, {"status": status}, subresource="status")
        # A control plane's own controllers taint nodes they have not heard of for a while.
        if (node.get("spec") or {}).get("taints"):
            kept = [
                taint
                for taint in node["spec"]["taints"]
                if not taint["key"].startswith("node.kubernetes.io/")
            ]
            await client.patch(NODES, name, None, {"spec": {"taints": kept or None}})
        self._uid = node["metadata"]["uid"]
        self._tell(node, measured)

    def _tell(self, node: Object, measured: list[Condition]) -> None:
        """Record an event for each condition that has changed."""
        before, self._written = self._written, [one.status for one in measured]
        for one, old in zip(measured, before or ["False"] * len(measured), strict=True):
            if one.status != old:
                text = f"Node {self.agent.name} status is now: {one.event}"
                self.agent.events.record({**node, "kind": "Node"}, "Normal", one.event, text)

    async def keep_alive(self) -> None:
        """Renew the lease every 10 seconds and the status when it changes or is 5 minutes old."""
        written = time.monotonic()
        renewed = time.time()
        while True:
            with contextlib.suppress(ClientError, aiohttp.ClientError, OSError, TimeoutError):
                await self._renew()
                # After a suspended laptop or an API server that was away the node counts as gone.
                was_silent = time.time() - renewed > _LEASE_SECONDS - _RENEW_SECONDS
                renewed = time.time()
                has_changed = [one.status for one in self._measured()] != self._written
                if was_silent or has_changed or time.monotonic() - written >= _STATUS_SECONDS:
                    await self._write()
                    written = time.monotonic()
            await asyncio.sleep(_RENEW_SECONDS)

    async def _renew(self) -> None:
        client, name = self.agent.client, self.agent.name
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": now,
        }
        try:
            await client.patch(LEASES, name, _LEASE_NAMESPACE, {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._uid}
            lease = {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec}
            with contextlib.suppress(ApiError):
                await client.create(NAMESPACES, {"metadata": {"name": _LEASE_NAMESPACE}})
            await client.create(LEASES, lease, _LEASE_NAMESPACE)


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_name() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return "Linux"
