"""Names of pods and services, for programs in pods and in the learner's notebook.

No root and no DNS server: a hosts file that Java reads by itself, a hook for Python's resolver
(`hook.py`, installed as sitecustomize), and a curlrc. Only *.svc.cluster.local is answered, any
other name is resolved as ever.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labsandbox import files
from labsandbox.client import Informer
from labsandbox.network import SPAN, first_port, loopback, shift

Object = dict[str, Any]

DOMAIN = "svc.cluster.local"
_PAUSE = 0.02


# differs: a service's name is the loopback address of its ready pods, so a client uses the port
# the pods listen on (targetPort), and a cluster IP answers nobody.
def names(pods: Iterable[Object], services: Iterable[Object]) -> list[tuple[str, str]]:
    """Return (name, loopback address) of every pod and service name, in a stable order."""
    found: set[tuple[str, str]] = set()
    by_namespace: dict[str, list[Object]] = {}
    for pod in pods:
        if (pod.get("status") or {}).get("podIP"):
            by_namespace.setdefault(pod["metadata"]["namespace"], []).append(pod)
    for service in services:
        meta, spec = service["metadata"], service["spec"]
        name, namespace = meta["name"], meta["namespace"]
        selector = spec.get("selector")
        for pod in by_namespace.get(namespace, []) if selector else []:
            labels = pod["metadata"].get("labels") or {}
            if any(labels.get(key) != value for key, value in selector.items()):
                continue
            if not (spec.get("publishNotReadyAddresses") or _is_ready(pod)):
                continue
            address = place_of(pod["status"]["podIP"])
            found.add((f"{name}.{namespace}.{DOMAIN}", address))
            if pod["spec"].get("subdomain") == name and pod["spec"].get("hostname"):
                found.add((f"{pod['spec']['hostname']}.{name}.{namespace}.{DOMAIN}", address))
    return sorted(found)


def place_of(address: str) -> str:
    """Return the address of a pod on this machine, with its ports where it has those instead."""
    first = first_port(address)
    return loopback(address) + (f"/{first}" if first is not None else "")


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def hosts_file(entries: list[tuple[str, str]], machine: str) -> str:
    """Return a hosts file: the machine's own lines first, for programs that read only this one."""
    lines = [line for line in machine.splitlines() if line.strip() and not line.startswith("#")]
    own = socket.gethostname()
    if own and not any(own in line.split()[1:] for line in lines):
        lines.append(f"127.0.0.1 {own}")
    return "\n".join([*lines, *(_line(name, address) for name, address in entries)]) + "\n"


def _line(name: str, place: str) -> str:
    address, _, first = place.partition("/")
    return f"{address} {name}" + (f" # {first}/{SPAN}" if first else "")


def curlrc(entries: list[tuple[str, str]], ports: Iterable[int] = ()) -> str:
    """Return a curlrc that sends each name's connections to its first address.

    `ports` are those that any pod has, for pods with ports of a shared address.
    """
    firsts: dict[str, str] = {}
    for name, address in entries:
        firsts.setdefault(name, address)
    lines = []
    for name, place in firsts.items():
        address, _, first = place.partition("/")
        if first:
            words = [f"{port}:{address}:{shift(port, int(first))}" for port in ports]
        else:
            words = [f":{address}:"]
        lines += [f'connect-to = "{name}:{word}"\n' for word in words]
    return "".join(lines)


def declared(pods: Iterable[Object]) -> list[int]:
    """Return the ports that containers of the pods name."""
    containers = (one for pod in pods for one in pod["spec"].get("containers") or [])
    return sorted({port["containerPort"] for one in containers for port in one.get("ports") or []})


def client_environment(state: Path) -> dict[str, str]:
    """Return the variables that make names resolve in a learner's shell or notebook."""
    folder = Path(state).resolve() / "resolver"
    before = os.environ.get("PYTHONPATH", "")
    parts = [str(folder), *(part for part in before.split(":") if part and part != str(folder))]
    return {
        "PYTHONPATH": ":".join(parts),
        "JDK_JAVA_OPTIONS": f"-Djdk.net.hosts.file={folder}/hosts",
        "CURL_HOME": str(folder),
    }


class Resolver:
    """Keeps `DIR/resolver` as the pods and services are."""

    def __init__(self, state: Path, pods: Informer, services: Informer) -> None:
        self.folder = state / "resolver"
        self.pods, self.services = pods, services
        self._wake = asyncio.Event()
        self._written: list[tuple[str, str]] | None = None

    def install(self) -> None:
        """Put the hook in place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(__file__).with_name("hook.py"), self.folder / "sitecustomize.py")
        if not (self.folder / "hosts").exists():
            self._write([])

    async def run(self) -> None:
        """Write the files again whenever names have changed, for ever."""
        for informer in (self.pods, self.services):
            informer.listeners.append(lambda *_: self._wake.set())
        while True:
            entries = names(self.pods.objects.values(), self.services.objects.values())
            if entries != self._written:
                self._write(entries)
                self._written = entries
            await self._wake.wait()
            await asyncio.sleep(_PAUSE)
            self._wake.clear()

    def _write(self, entries: list[tuple[str, str]]) -> None:
        try:
            machine = Path("/etc/hosts").read_text()
        except OSError:
            machine = "127.0.0.1 localhost\n"
        curl = curlrc(entries, declared(self.pods.objects.values()))
        for name, text in (("hosts", hosts_file(entries, machine)), (".curlrc", curl)):
            files.replace(self.folder / name, text)
