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
from typing import TYPE_CHECKING, Any

import aiohttp

from labsandbox.client import ApiError, ClientError
from labsandbox.client.resources import LEASES, NAMESPACES, NODES
from labsandbox.node import landlock
from labsandbox.node.status import when

if TYPE_CHECKING:
    from labsandbox.node.agent import Agent

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


def link_packages(folder: Path) -> None:
    """Show our packages in a folder of their own, for the interpreters in pods.

    Kernels of a notebook pod use the labs' helpers, and kubectl its plugin. Their import path must
    not name the folder the packages lie in: it may hold anything else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("labapps", "labhelpers", "labsandbox"):
        found = importlib.util.find_spec(name)
        place = folder / name
        for where in found.submodule_search_locations or [] if found else []:
            if place.is_symlink() and os.readlink(place) != where:
                place.unlink()
            if not place.is_symlink():
                place.symlink_to(where)


def conditions(now: str, before: list[Object]) -> list[Object]:
    """Return the node's conditions."""
    has_landlock = landlock.abi() > 0
    wanted = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory is available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk is available"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "enough process ids are available"),
        (
            "PodsConfined",
            "True" if has_landlock else "False",
            "Landlock" if has_landlock else "NoLandlock",
            "pods read and write only what is theirs"
            if has_landlock
            else "this kernel has no Landlock: pods can read and write what you can",
        ),
        ("Ready", "True", "KubeletReady", "the node agent is posting ready status"),
    ]
    since = {c["type"]: c["lastTransitionTime"] for c in before if c["status"] == "True"}
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since.get(kind, now) if status == "True" else now,
        }
        for kind, status, reason, message in wanted
    ]


class Registration:
    """Creates the Node and keeps it fresh."""

    def __init__(self, agent: Agent, port: int) -> None:
        self.agent, self.port = agent, port

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

    def _status(self, before: list[Object]) -> Object:
        release = platform.release()
        return {
            "capacity": self.agent.capacity,
            "allocatable": self.agent.surroundings.allocatable,
            "conditions": conditions(when(time.time()), before),
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
        status = self._status(before)
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

    async def keep_alive(self) -> None:
        """Renew the lease every 10 seconds and the status every 5 minutes, for ever."""
        written = time.monotonic()
        while True:
            with contextlib.suppress(ClientError, aiohttp.ClientError, OSError, TimeoutError):
                await self._renew()
                if time.monotonic() - written >= _STATUS_SECONDS:
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
