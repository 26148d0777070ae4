"""The operator at work: it watches, plans a pass for each kdcluster that changed, and acts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from labsandbox.catalogue import Catalogue
from labsandbox.client import ApiError, Client, ClientError, Resource
from labsandbox.client.resources import (
    CONFIGMAPS,
    KDAPPS,
    KDCLUSTERS,
    KDCONFIGS,
    SECRETS,
)
from labsandbox.kubedirector import install
from labsandbox.kubedirector.act import Actor
from labsandbox.kubedirector.admission.gather import Gatherer
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.certificate import make_context
from labsandbox.kubedirector.event import Recorder
from labsandbox.kubedirector.globalconfig import sync_config
from labsandbox.kubedirector.job import Deadlines
from labsandbox.kubedirector.model import (
    LABEL_CLUSTER,
    LABEL_CONFIGMAP_TYPE,
    LABEL_SECRET_TYPE,
    Object,
    labels_of,
)
from labsandbox.kubedirector.observe import dependents
from labsandbox.kubedirector.store import OF_CLUSTERS, Store
from labsandbox.kubedirector.webhook import Webhook
from labsandbox.kubedirector.work import Worker

log = logging.getLogger(__name__)

_POLL = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_TYPED = {
    CONFIGMAPS: ("configmaps", LABEL_CONFIGMAP_TYPE, "ConfigMap", "configmap"),
    SECRETS: ("secrets", LABEL_SECRET_TYPE, "Secret", "secret"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """How an operator is run."""

    webhook_host: str = "127.0.0.1"
    webhook_port: int = 0
    namespace: str = "kubedirector"
    authority: Path | None = None  # folder with ca.crt and ca.key
    advertise: str | None = None  # the host the API server reaches the webhook by
    catalogue: Catalogue | None = None  # configuration, and apps for KubeDirector's namespace
    deadlines: Deadlines = field(default_factory=Deadlines)
    poll: float = _POLL


class Operator:
    """One operator on one API server."""

    def __init__(self, client: Client, options: Options) -> None:
        self.client = client
        self.options = options
        self.codes = Codes()
        self.store = Store(client)
        self.recorder = Recorder(client)
        self.webhook = Webhook(Gatherer(client, self.store, options.namespace), self.codes)
        self.worker = Worker(
            client,
            self.store,
            Actor(client, self.store),
            self.recorder,
            self.codes,
            options.namespace,
            options.deadlines,
        )
        self._is_live = False
        self._configs_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Install what is needed and begin to work."""
        options = self.options
        await install.install_crds(self.client)
        host = options.advertise or options.webhook_host
        context, authority = await asyncio.to_thread(make_context, host, options.authority)
        self.store.listeners.append(self._notice)
        await self.store.start()
        port = await self.webhook.start(options.webhook_host, options.webhook_port, context)
        place = f"[{host}]" if ":" in host else host
        await install.install_webhook(self.client, f"https://{place}:{port}", authority)
        self._spawn(self.recorder.run())
        config = options.catalogue.config() if options.catalogue else None
        await install.install_config(self.client, options.namespace, config)
        if options.catalogue:
            await options.catalogue.install(self.client, options.namespace)
        self._is_live = True
        self.worker.begin()
        self._configs_changed.set()
        self._spawn(self._sync_configs())
        self._spawn(self._poll())
        log.info("kubedirector is ready; its webhook listens on %s:%d", host, port)

    async def stop(self) -> None:
        """Stop working; what was started in members goes on and is found again."""
        self._is_live = False
        await self.worker.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.stop()
        await self.webhook.stop()

    def _notice(self, resource: Resource, kind: str, old: Object | None, obj: Object) -> None:
        """Decide which kdclusters a change concerns."""
        meta = obj["metadata"]
        namespace, name = meta.get("namespace") or "", meta["name"]
        if resource == KDCLUSTERS:
            if kind == "DELETED":
                self.worker.forget(namespace, name, meta["uid"])
            else:
                self.worker.enqueue(namespace, name)
            if kind != "MODIFIED":
                self._enqueue_dependents(namespace, "clusters", name)
        elif resource in OF_CLUSTERS:
            self.worker.enqueue(namespace, labels_of(obj).get(LABEL_CLUSTER, ""))
        elif resource in _TYPED:
            self._notice_connected(resource, kind, old, obj)
        elif resource in (KDAPPS, KDCONFIGS):
            if resource == KDCONFIGS:
                self._configs_changed.set()
            self._enqueue_all()

    def _notice_connected(
        self, resource: Resource, kind: str, old: Object | None, obj: Object
    ) -> None:
        word, label, reason, noun = _TYPED[resource]
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        users = dependents(self.store, namespace, word, name)
        if not users or not self._is_live:
            return
        # An object without its type label is none of ours: its change shows in the hash alone.
        if kind != "DELETED" and label in labels_of(obj):
            for user in users:
                cluster = self.store.get(KDCLUSTERS, namespace, user)
                if cluster:
                    text = f"connected {noun} {{{name}}} has changed"
                    self.recorder.record(cluster, reason, text)
                text = f"connected to cluster {{{user}}}; updating it"
                self.recorder.record(obj, "Cluster", text)
                self._spawn(self._bump(namespace, user))
        self._enqueue_dependents(namespace, word, name)

    async def _bump(self, namespace: str, name: str) -> None:
        try:
            await self.worker.actor.bump(namespace, name)
        except (ApiError, aiohttp.ClientError, OSError) as error:
            # Only a counter for people to look at: the hash decides what is done.
            log.info("connUpdateCounter of %s/%s was not counted up: %s", namespace, name, error)

    async def _sync_configs(self) -> None:
        """Bring every configuration object into its proper state; what fails is tried again."""
        pause = _FIRST_PAUSE
        while True:
            await self._configs_changed.wait()
            self._configs_changed.clear()
            try:
                for config in list(self.store.all(KDCONFIGS)):
                    await self._sync_config(config)
                pause = _FIRST_PAUSE
            except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning(
                    "kd-global-config could not be updated, trying again in %.1f s: %s",
                    pause,
                    error,
                )
                self._configs_changed.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _sync_config(self, config: Object) -> None:
        try:
            self.store.put(KDCONFIGS, await sync_config(self.client, self.codes, config))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # One odd object must not keep the others from being brought into order.
            log.exception("configuration %s cannot be read", config["metadata"]["name"])

    async def _poll(self) -> None:
        """Look at everything now and then, in case something was missed."""
        while True:
            await asyncio.sleep(self.options.poll)
            self._enqueue_all()

    def _enqueue_all(self) -> None:
        for cluster in self.store.all(KDCLUSTERS):
            self.worker.enqueue(cluster["metadata"]["namespace"], cluster["metadata"]["name"])

    def _enqueue_dependents(self, namespace: str, kind: str, name: str) -> None:
        for user in dependents(self.store, namespace, kind, name):
            self.worker.enqueue(namespace, user)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve(client: Client, options: Options, ready: asyncio.Event | None = None) -> None:
    """Run an operator until cancelled; set `ready` when it works."""
    operator = Operator(client, options)
    try:
        await operator.start()
        if ready:
            ready.set()
        await asyncio.Event().wait()
    finally:
        await operator.stop()
