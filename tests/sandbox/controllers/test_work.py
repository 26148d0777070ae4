"""The queue of keys controllers work through, on the loop the platform runs on."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from labsandbox.controllers.work import Queue

pytestmark = pytest.mark.fast


def test_keys_wanted_at_once_and_later_come_once() -> None:
    async def run() -> list[object]:
        queue: Queue = Queue()
        queue.add_later("a", 60)
        queue.add_later("a", 0)
        queue.add_later("a", 0)
        queue.add_later("b", 0)
        return [await queue.get(), await queue.get()]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == ["a", "b"]
