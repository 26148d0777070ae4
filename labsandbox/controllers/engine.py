"""Do what the controllers decide: queues, workers, writes and events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from labsandbox.client import ApiError, Client, ClientError, Resource
from labsandbox.client.resources import EVENTS, NAMESPACES
from labsandbox.controllers.actions import (
    Action,
    Again,
    Create,
    Delete,
    DeleteAll,
    Event,
    Finalize,
    Patch,
    Replace,
)
from labsandbox.controllers.objects import when
from labsandbox.controllers.store import Store
from labsandbox.controllers.work import Queue

log = logging.getLogger(__name__)

Object = dict[str, Any]
Key = tuple[str | None, str]

_RETRIED = (ClientError, aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True)
class Controller:
    """A decision function and what makes it look again.

    `decide` returns the actions for the object with this key, from what the store holds; `wakes`
    returns the keys to look at when an object of any followed resource changes.
    """

    name: str
    decide: Callable[[Store, Key], list[Action]]
    wakes: Callable[[Resource, Object], list[Key]]


class Engine:
    """Runs controllers over one store."""

    def __init__(self, client: Client, store: Store, controllers: list[Controller]) -> None:
        self.client, self.store = client, store
        self.controllers = controllers
        self.queues: dict[str, Queue[Key]] = {c.name: Queue() for c in controllers}
        self._events: asyncio.Queue[tuple[str, Event]] = asyncio.Queue(2000)
        self._told: dict[tuple[str, ...], Object] = {}
        store.watchers.append(self._wake)

    def _wake(self, resource: Resource, kind: str, old: Object | None, new: Object) -> None:
        for controller in self.controllers:
            queue = self.queues[controller.name]
            try:
                keys = controller.wakes(resource, new)
                if old is not None and old is not new:
                    keys = [*keys, *controller.wakes(resource, old)]
            except Exception:
                # What one controller cannot read, the others still see.
                log.exception("%s cannot read %s", controller.name, new["metadata"].get("name"))
                continue
            for key in keys:
                queue.add(key)

    async def run(self) -> None:
        """Work for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_events(), name="controller events")
                for controller in self.controllers:
                    group.create_task(self._work(controller), name=controller.name)
        finally:
            for queue in self.queues.values():
                queue.close()

    async def _work(self, controller: Controller) -> None:
        queue = self.queues[controller.name]
        while True:
            key = await queue.get()
            try:
                again = await self.do_all(controller, controller.decide(self.store, key))
            except _RETRIED as error:
                if _is_too_late(error):
                    queue.done(key)
                    continue
                pause = queue.failed(key)
                level = logging.DEBUG if _is_expected(error) else logging.INFO
                log.log(level, "%s of %s again in %.2f s: %s", controller.name, key, pause, error)
            except Exception:
                # One object's surprise must not stop the controller for all others.
                pause = queue.failed(key)
                log.exception("%s of %s failed; again in %.2f s", controller.name, key, pause)
            else:
                queue.done(key)
                if again is not None:
                    queue.add_later(key, again)

    async def do_all(self, controller: Controller, actions: list[Action]) -> float | None:
        """Do the actions in order; return after how many seconds to look again."""
        again: float | None = None
        for action in actions:
            if isinstance(action, Again):
                again = min(action.seconds, again if again is not None else action.seconds)
            elif isinstance(action, Event):
                self._tell(controller, action)
            else:
                await self._do(controller, action)
        return again

    async def _do(self, controller: Controller, action: Action) -> None:
        if isinstance(action, Create):
            await self._create(controller, action)
        elif isinstance(action, Replace):
            answer = await self.client.replace(
                action.resource, action.obj, subresource=action.subresource
            )
            self.store[action.resource].note(answer)
        elif isinstance(action, Patch):
            answer = await self.client.patch(
                action.resource,
                action.name,
                action.namespace,
                action.patch,
                subresource=action.subresource,
            )
            self._note(action.resource, answer)
            self._tell_all(controller, action.on_success)
        elif isinstance(action, Delete):
            await self._delete(controller, action)
        elif isinstance(action, DeleteAll):
            await self.client.delete_all(action.resource, action.namespace)
        elif isinstance(action, Finalize):
            path = NAMESPACES.path(None, action.obj["metadata"]["name"], "finalize")
            await self.client.request("PUT", path, json=action.obj)

    def _note(self, resource: Resource, answer: Object) -> None:
        cache = self.store.caches.get((resource.group, resource.plural))
        if cache is not None and answer.get("kind") == resource.kind:
            cache.note(answer)

    async def _create(self, controller: Controller, action: Create) -> None:
        try:
            answer = await self.client.create(action.resource, action.obj)
        except ApiError as error:
            if error.status == 409 and action.is_patient:
                return
            if action.on_success and error.status != 409 and not _is_too_late(error):
                event = action.on_success[0]
                what = action.obj["metadata"].get("name") or ""
                text = (
                    f"Error creating: {error.message}"
                    if not what
                    else (
                        f"create {action.resource.kind} {what} in {event.obj.get('kind')} "
                        f"{event.obj['metadata']['name']} failed error: {error.message}"
                    )
                )
                self._tell(controller, Event(event.obj, "Warning", "FailedCreate", text))
            raise
        self._note(action.resource, answer)
        name = answer["metadata"]["name"]
        for event in action.on_success:
            text = event.message.replace("{name}", name)
            self._tell(controller, Event(event.obj, event.kind, event.reason, text))

    async def _delete(self, controller: Controller, action: Delete) -> None:
        try:
            answer = await self.client.delete(
                action.resource,
                action.name,
                action.namespace,
                propagation=action.propagation,
                grace=action.grace,
                uid=action.uid,
            )
        except ApiError as error:
            if error.status == 404:
                return
            raise
        self._note(action.resource, answer)
        self._tell_all(controller, action.on_success)

    def _tell_all(self, controller: Controller, events: tuple[Event, ...]) -> None:
        for event in events:
            self._tell(controller, event)

    def _tell(self, controller: Controller, event: Event) -> None:
        if not self._events.full():
            self._events.put_nowait((controller.name, event))

    async def _send_events(self) -> None:
        while True:
            component, event = await self._events.get()
            try:
                await self._send(component, event)
            except _RETRIED as error:
                log.debug("event %s not sent: %s", event.reason, error)
            except Exception:
                log.exception("event %s of %s not sent", event.reason, component)

    async def _send(self, component: str, event: Event) -> None:
        meta = event.obj["metadata"]
        key = (meta["uid"], event.kind, event.reason, event.message)
        now = when(time.time())
        before = self._told.get(key)
        if before is not None:
            count = before["count"] + 1
            where = before["metadata"]
            patch = {"count": count, "lastTimestamp": now}
            await self.client.patch(EVENTS, where["name"], where["namespace"], patch)
            before["count"] = count
            return
        namespace = meta.get("namespace") or "default"
        body: Object = {
            "metadata": {"name": f"{meta['name']}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": {
                "kind": event.obj["kind"],
                "namespace": meta.get("namespace"),
                "name": meta["name"],
                "uid": meta["uid"],
                "apiVersion": event.obj["apiVersion"],
                "resourceVersion": meta.get("resourceVersion"),
            },
            "type": event.kind,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "reportingComponent": component,
            "reportingInstance": "",
        }
        await self.client.create(EVENTS, body, namespace)
        where = {"name": body["metadata"]["name"], "namespace": namespace}
        self._told[key] = {"metadata": where, "count": 1}
        if len(self._told) > 1000:
            self._told.pop(next(iter(self._told)))


def _is_expected(error: BaseException) -> bool:
    """Say whether a write only lost a race."""
    return isinstance(error, ApiError) and error.status in (404, 409)


def _is_too_late(error: BaseException) -> bool:
    """Say whether a write was refused because its namespace is going."""
    return (
        isinstance(error, ApiError)
        and error.status == 403
        and "because it is being terminated" in error.message
    )
