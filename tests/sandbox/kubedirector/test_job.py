"""A job whose shell is killed is begun again; what the start script says is taken as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from labsandbox.client import Client
from labsandbox.client.exec import ExecResult
from labsandbox.kubedirector.job import Task, carry_out
from labsandbox.kubedirector.reconcile.plan import Job, Report

pytestmark = pytest.mark.fast

DONE = ExecResult(b"exited 0 4\n", b"", 0)


class Answers(Client):
    """A client whose containers answer, one after the other, what a test says."""

    def __init__(self, *answers: ExecResult) -> None:
        self.answers = list(answers)

    async def exec(self, *words: Any, **more: Any) -> ExecResult:
        return self.answers.pop(0)


def carried_out(client: Answers, looks: int = 99) -> list[Report]:
    """Carry a setup out while its container is the current one, for so many looks at most."""
    job = Job("setup", "pod-0", "containerd://1", "one")
    task = Task(job, "ns", 4, "{}", "http://somewhere/a.tgz", True, 100)
    reports: list[Report] = []
    left = iter(range(looks))
    asyncio.run(
        carry_out(
            client, task, lambda: next(left, None) is not None, reports.append, lambda _: None
        )
    )
    return reports


@pytest.mark.parametrize("status", [137, 143])
def test_setup_whose_shell_was_killed_is_begun_again(status: int) -> None:
    killed = ExecResult(b"", b"", status)
    (report,) = carried_out(Answers(killed, killed, DONE))
    assert (report.answer.state, report.answer.code) == ("exited", 0)


def test_setup_of_a_container_that_is_gone_is_given_up() -> None:
    client = Answers(*[ExecResult(b"", b"", 137)] * 3)
    assert carried_out(client, looks=2) == []
    assert len(client.answers) == 1


@pytest.mark.parametrize("status", [1, 126, 137])
def test_start_script_that_failed_is_not_called_again(status: int) -> None:
    said = ExecResult(f"exited {status} 4\nno such library\n".encode(), b"", 0)
    (report,) = carried_out(Answers(said))
    assert (report.answer.state, report.answer.code) == ("exited", status)
