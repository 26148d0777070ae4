"""Run the gateway: watch services, keep one open port for each of theirs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from labsandbox import certificates, ports
from labsandbox.client import ApiError, Client, ClientError, Informer, Object
from labsandbox.client.resources import ENDPOINTSLICES, EVENTS, SERVICES
from labsandbox.crowd import Crowd
from labsandbox.gateway import mapping
from labsandbox.gateway.relay import Listener, places
from labsandbox.network import reach

log = logging.getLogger(__name__)

_HOSTS = ("localhost", "127.0.0.1", "::1")
_PAUSE = 1.0
_TRIED_AGAIN = (ClientError, aiohttp.ClientError, OSError, TimeoutError)
_SERVICE_OF = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How the gateway is run."""

    authority: Path  # folder with ca.crt and ca.key; the gateway's certificate is kept there
    host: str = "127.0.0.1"
    pods_on_loopback: bool = False  # pods are processes of this machine


class Gateway:
    """The open ports and what stands behind them."""

    def __init__(self, client: Client, settings: GatewaySettings) -> None:
        self._client = client
        self._settings = settings
        self._host = settings.host
        self._services = Informer(client, SERVICES, labels=f"{mapping.LABEL}=true")
        self._slices = Informer(client, ENDPOINTSLICES)
        self._listeners: dict[mapping.Target, Listener] = {}
        self._crowd = Crowd(places())
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        context = certificates.server_context(
            self._settings.authority, "gateway", (*_HOSTS, self._host)
        )
        self._services.listeners.append(lambda *_: self._changed.set())
        try:
            await asyncio.gather(self._services.start(), self._slices.start())
            while True:
                self._changed.clear()
                try:
                    await self._reconcile(context)
                except Exception:
                    # What is open stays open, whatever one service says.
                    log.exception("gateway: trying again in %.0f s", _PAUSE)
                    asyncio.get_running_loop().call_later(_PAUSE, self._changed.set)
                await self._changed.wait()
        finally:
            await asyncio.gather(*(open_.stop() for open_ in self._listeners.values()))
            await asyncio.gather(self._services.stop(), self._slices.stop())

    async def _reconcile(self, context: ssl.SSLContext) -> None:
        services = list(self._services.objects.values())
        held = {target: listener.port for target, listener in self._listeners.items()}
        assigned = mapping.assign(services, held, lambda port: ports.is_free(port, self._host))
        for target in [target for target in self._listeners if target not in assigned]:
            await self._listeners.pop(target).stop()
        failed: list[Exception] = []
        for target, port in assigned.items():
            if target not in self._listeners:
                listener = Listener(target, port, self._backends, self._crowd)
                try:
                    await listener.start(self._host, context)
                except (OSError, OverflowError, ValueError) as error:
                    log.warning("gateway: port %d of %s: %s", port, target.service, error)
                    failed.append(error)
                    continue
                self._listeners[target] = listener
        served = {target: assigned[target] for target in self._listeners}
        for service in services:
            try:
                await self._annotate(service, served)
            except _TRIED_AGAIN as error:
                log.warning("gateway: service %s: %s", service["metadata"]["name"], error)
                failed.append(error)
        if failed:
            asyncio.get_running_loop().call_later(_PAUSE, self._changed.set)

    def _backends(self, target: mapping.Target) -> list[tuple[str, int]]:
        slices = [
            piece
            for (namespace, _), piece in self._slices.objects.items()
            if namespace == target.namespace
            and (piece["metadata"].get("labels") or {}).get(_SERVICE_OF) == target.service
        ]
        found = mapping.backends(slices, target)
        if self._settings.pods_on_loopback:
            return [reach(address, port) for address, port in found]
        return found

    async def _annotate(self, service: Object, assigned: dict[mapping.Target, int]) -> None:
        changes = mapping.annotation_changes(service, assigned, self._host)
        if not changes:
            return
        meta = service["metadata"]
        with contextlib.suppress(ApiError):
            patch = {"metadata": {"annotations": changes}}
            await self._client.patch(SERVICES, meta["name"], meta["namespace"], patch)
            if not mapping.recorded(service):
                await self._tell(service)

    async def _tell(self, service: Object) -> None:
        meta = service["metadata"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "metadata": {"generateName": f"{meta['name']}."},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Service",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "reason": "HpeCp",
            "message": f"Created HPECP K8S service {meta['name']}",
            "type": "Normal",
            "source": {"component": "hpecp-agent"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._client.create(EVENTS, event, meta["namespace"])


async def run(client: Client, settings: GatewaySettings) -> None:
    """Serve until cancelled."""
    await Gateway(client, settings).run()
