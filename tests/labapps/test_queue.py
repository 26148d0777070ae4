"""The queue as a library: any application may hold one; it needs no server and no engine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labapps.queue.dispatch import Dispatcher
from labapps.queue.job import CANCELLED, FAILED, FINISHED, QUEUED, RUNNING, Limits
from labapps.queue.record import Records
from labapps.queue.store import Store

pytestmark = pytest.mark.fast


def fields(user: str, **more: Any) -> dict[str, Any]:
    """Return what an application has checked about one submission."""
    size = {"memory": 1 << 20, "cpu": 1.0, "seconds": 5.0}
    plain = {"user": user, "name": "job", "env": {}, "args": [], "rerun": False, "code": "1"}
    return plain | size | more


def open_queue(folder: Path) -> Dispatcher:
    return Dispatcher(Store(folder / "queue.db"), Records(folder / "jobs"), Limits())


def test_queue_gives_jobs_in_turn_and_keeps_how_they_ended(tmp_path: Path) -> None:
    async def run() -> None:
        queue = open_queue(tmp_path)
        first, second = queue.submit(fields("ann")), queue.submit(fields("ann"))
        other = queue.submit(fields("bob"))
        given = []
        jobs: set[int] = set()
        for _ in range(2):
            answer = await queue.poll("worker", "a", 2, jobs)
            given.append(answer["job"]["id"])
            jobs.add(answer["job"]["id"])
        assert given == [first.id, other.id], "the second user comes before the first one's second"
        for number, status in ((first.id, FINISHED), (other.id, FAILED)):
            job = queue.owned("worker", "a", number)
            assert job is not None
            queue.finish(job, {"status": status, "reason": "no such file", "exit_code": 1})
        assert queue.cancel(second).status == CANCELLED
        queue.store.close()

        again = open_queue(tmp_path)
        found = {job.id: job.status for job in again.store.last(10)}
        assert found == {first.id: FINISHED, second.id: CANCELLED, other.id: FAILED}
        again.store.close()

    asyncio.run(run())


@pytest.mark.parametrize(("rerun", "status"), [(False, FAILED), (True, QUEUED)])
def test_job_of_a_worker_that_restarted_is_lost_or_waits_again(
    tmp_path: Path, rerun: bool, status: str
) -> None:
    async def run() -> None:
        queue = open_queue(tmp_path)
        job = queue.submit(fields("ann", rerun=rerun))
        await queue.poll("worker", "a", 1, set())
        found = queue.store.get(job.id)
        assert found is not None
        assert found.status == RUNNING
        queue.drop_jobs(queue.workers["worker"], "Worker worker ended.")
        found = queue.store.get(job.id)
        assert found is not None
        assert (found.status, found.reason) == (status, "Worker worker ended.")
        queue.store.close()

    asyncio.run(run())


def test_queue_brings_no_application_and_no_server_with_it() -> None:
    program = (
        "import sys, labapps.queue.dispatch\n"
        "ours = {name.split('.')[1] for name in sys.modules if name.startswith('labapps.')}\n"
        "print(sorted(ours), 'uvicorn' in sys.modules, 'aiohttp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "['files', 'queue'] False False\n", done.stderr


def test_jobs_of_an_earlier_release_are_kept(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    job = queue.submit(fields("ann"))
    queue.store.base.execute("ALTER TABLE jobs DROP COLUMN code_digest")
    queue.store.close()
    again = open_queue(tmp_path)
    found = again.store.get(job.id)
    assert found is not None
    assert (found.user, found.code_digest) == ("ann", "")
    again.store.close()
