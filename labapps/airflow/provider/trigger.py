"""Follow a run in the triggerer: no worker waits, and a restart goes on where it was.

A failure is an event, never an exception: only so do the task's retries apply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from labapps.airflow.provider.follow import FAILURE, Follower, Target, stop_all
from labapps.airflow.provider.hook import jobs_of

__all__ = ["RunTrigger"]


class RunTrigger(BaseTrigger):
    """Yields one event when a run and all that it caused are over."""

    def __init__(
        self, target: dict[str, Any], expected: dict[str, Any], poll: float, deadline: float
    ) -> None:
        super().__init__()
        self.target, self.expected = target, expected
        self.poll, self.deadline = poll, deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what is stored in the database."""
        return "labapps.airflow.provider.trigger.RunTrigger", {
            "target": self.target,
            "expected": self.expected,
            "poll": self.poll,
            "deadline": self.deadline,
        }

    async def _jobs(self) -> Any:
        name = self.target["connection"]
        return jobs_of(await BaseHook.aget_connection(name), name)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the run until it is over; its new lines go to the task's log."""
        try:
            jobs = await self._jobs()
            follower = Follower(jobs, Target(**self.target), self.expected, self.deadline)
            while True:
                lines, event = await asyncio.to_thread(follower.look)
                for line in lines:
                    self.log.info("%s", line)
                if event is not None:
                    break
                await asyncio.sleep(self.poll)
        except Exception as error:
            self.log.exception("The trigger failed")
            event = {"outcome": FAILURE, "message": f"{type(error).__name__}: {error}"}
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """Stop the run: somebody cleared the task or set its state."""
        jobs = await self._jobs()
        await asyncio.to_thread(stop_all, jobs, Target(**self.target))
