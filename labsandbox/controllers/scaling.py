"""The autoscalers at work: every 15 seconds they read what pods use, and decide."""

from __future__ import annotations

import asyncio
import logging
import time
from decimal import Decimal
from typing import Any

import aiohttp

from labsandbox import quantity
from labsandbox.client import ApiError, Client, ClientError
from labsandbox.client.resources import HPAS, PODS
from labsandbox.controllers import autoscaling, objects
from labsandbox.controllers.cluster import SCALED
from labsandbox.controllers.engine import Controller, Engine, Key
from labsandbox.controllers.store import Store

log = logging.getLogger(__name__)

Object = dict[str, Any]

SECONDS = 15.0


class Scaling:
    """Looks at each autoscaler, again and again: usage has no watch."""

    def __init__(self, client: Client, store: Store, engine: Engine) -> None:
        self.client, self.store, self.engine = client, store, engine
        self._history: dict[Key, list[tuple[float, int]]] = {}
        self._controller = Controller("horizontal-pod-autoscaler", lambda *_: [], lambda *_: [])
        self._added = asyncio.Event()
        store[HPAS].listeners.append(lambda kind, *_: self._note(kind))

    def _note(self, kind: str) -> None:
        if kind == "ADDED":
            self._added.set()

    async def run(self) -> None:
        """Scale for ever."""
        while True:
            self._added.clear()
            there = self.store[HPAS].objects
            self._history = {key: self._history.get(key, []) for key in there}
            for key in list(there):
                try:
                    await self._scale(key)
                except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
                    log.info("autoscaler %s: %s", key, error)
            try:
                await asyncio.wait_for(self._added.wait(), SECONDS)
            except TimeoutError:
                continue

    async def _scale(self, key: Key) -> None:
        hpa = self.store[HPAS].objects.get(key)
        if hpa is None or objects.is_deleted(hpa):
            return
        usage = await self._usage(str(key[0]))
        history = self._history.setdefault(key, [])
        target = self._target(hpa)
        actions = autoscaling.reconcile(hpa, target, usage, history, time.time())
        await self.engine.do_all(self._controller, actions)

    def _target(self, hpa: Object) -> autoscaling.Target | None:
        named, namespace = hpa["spec"]["scaleTargetRef"], hpa["metadata"]["namespace"]
        for resource in SCALED:
            if resource.kind != named["kind"]:
                continue
            found = self.store[resource].objects.get((namespace, named["name"]))
            if found is None:
                return None
            selector = found["spec"].get("selector") or {}
            if resource.kind == "ReplicationController":
                selector = {"matchLabels": selector}
            pods = [
                pod
                for pod in self.store[PODS].of(namespace)
                if objects.matches(selector, pod["metadata"].get("labels"))
            ]
            return autoscaling.Target(resource, found, pods)
        return None

    async def _usage(self, namespace: str) -> autoscaling.Usage | None:
        """Return what the pods of a namespace use; None when nobody measures it."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        try:
            answer = await self.client.request("GET", path)
        except ApiError as error:
            if error.status in (404, 503):
                return None
            raise
        usage: autoscaling.Usage = {}
        for item in answer["items"]:
            total: dict[str, Decimal] = {}
            for container in item["containers"]:
                for name, amount in container["usage"].items():
                    total[name] = total.get(name, Decimal(0)) + quantity.amount(amount)
            usage[item["metadata"]["name"]] = total
        return usage
