"""The controllers' caches: own writes count at once, older versions and the dead do not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from labsandbox import loop
from labsandbox.client.resources import CONFIGMAPS, PODS
from labsandbox.controllers.cache import Cache
from labsandbox.controllers.work import Queue

pytestmark = pytest.mark.fast


def made(version: int, uid: str = "u", **meta: Any) -> dict[str, Any]:
    whole = {"name": "m", "namespace": "n", "uid": uid, "resourceVersion": str(version), **meta}
    return {"metadata": whole, "data": {"v": str(version)}}


def cache() -> Cache:
    async def build() -> Cache:
        return Cache(None, CONFIGMAPS)  # type: ignore[arg-type]

    return asyncio.run(build())


def value(held: Cache) -> str | None:
    found = held.objects.get(("n", "m"))
    return found["data"]["v"] if found else None


def test_note_counts_at_once_and_an_older_version_does_not_undo_it() -> None:
    held = cache()
    held.note(made(5))
    held._take("MODIFIED", made(4))
    assert value(held) == "5"
    held._take("MODIFIED", made(6))
    assert value(held) == "6"


def test_note_does_not_revive_what_has_gone() -> None:
    held = cache()
    held._take("ADDED", made(5))
    held._take("DELETED", made(6))
    held.note(made(5))
    assert value(held) is None
    held.note(made(7, uid="another"))
    assert value(held) == "7"


def test_indexes_follow_changes() -> None:
    held = cache()
    held._take("ADDED", made(1, ownerReferences=[{"uid": "o"}]))
    assert len(held.owned("o")) == len(held.of("n")) == 1
    held._take("MODIFIED", made(2))
    assert held.owned("o") == []
    held._take("DELETED", made(3))
    assert held.of("n") == []
    assert (held.by_uid, dict(held.by_namespace), dict(held.by_owner)) == ({}, {}, {})


def test_pods_are_held_without_what_no_controller_asks() -> None:
    async def build() -> Cache:
        return Cache(None, PODS)  # type: ignore[arg-type]

    held = asyncio.run(build())
    container = {"name": "c", "env": [{"name": "A"}], "ports": [{"containerPort": 80}]}
    spec = {"containers": [container], "nodeName": "x", "volumes": [{"name": "e", "emptyDir": {}}]}
    held._take("ADDED", {**made(1), "spec": spec, "status": {"phase": "Running"}})
    found = next(held.everything())
    assert found["spec"]["containers"] == [{"name": "c", "ports": [{"containerPort": 80}]}]
    assert found["spec"]["nodeName"] == "x"
    assert found["status"]["phase"] == "Running"


def test_queue_never_gives_a_key_twice_at_once() -> None:
    async def play() -> list[str]:
        queue: Queue[str] = Queue()
        queue.add("a")
        queue.add("a")
        first = await queue.get()
        queue.add("a")
        waiting = asyncio.create_task(queue.get())
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        queue.done(first)
        return [first, await waiting]

    assert asyncio.run(play()) == ["a", "a"]


def test_queue_waits_longer_after_each_failure() -> None:
    async def play() -> list[float]:
        queue: Queue[str] = Queue()
        queue.add("a")
        pauses = []
        for _ in range(3):
            pauses.append(queue.failed(await queue.get()))
        queue.close()
        return pauses

    assert asyncio.run(play()) == [0.02, 0.04, 0.08]


def test_queue_takes_a_key_that_is_due_at_once_on_the_loop_of_the_platform() -> None:
    async def work() -> list[str]:
        queue: Queue[str] = Queue()
        queue.add_later("a", 0.0)
        queue.add_later("a", 5.0)
        queue.add_later("b", 5.0)
        queue.add_later("b", 0.0)
        found = [await queue.get(), await queue.get()]
        queue.close()
        return found

    assert loop.run(work()) == ["a", "b"]
