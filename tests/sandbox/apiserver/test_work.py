"""Large objects are worked on in a thread, and nothing stops the others meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from labsandbox.apiserver import work

pytestmark = pytest.mark.fast


def test_collector_rests_until_the_last_thread_has_its_large_object() -> None:
    first_is_over, both = threading.Event(), threading.Barrier(2)

    def short() -> bool:
        both.wait(60)
        return gc.isenabled()

    def long() -> bool:
        both.wait(60)
        assert first_is_over.wait(60)
        return gc.isenabled()

    async def one(owner: str, size: int) -> bool:
        work.begin(owner)
        work.add(size)
        found = await work.run(short if owner == "a" else long)
        if owner == "a":
            first_is_over.set()
        return found

    async def all_of_them() -> list[bool]:
        return list(await asyncio.gather(one("a", work.LARGE), one("b", work.LARGE)))

    assert asyncio.run(all_of_them()) == [False, False]
    assert gc.isenabled()


def test_small_object_is_worked_on_where_it_is_asked_for() -> None:
    async def ask() -> tuple[str, bool]:
        work.begin("a")
        work.add(1)
        return await work.run(lambda: (threading.current_thread().name, gc.isenabled()))

    assert asyncio.run(ask()) == (threading.main_thread().name, True)
