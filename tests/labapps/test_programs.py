"""How the program of a pod ends: told to, by an error, or by its own word; always in order."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.labapps.pods import ROOT

pytestmark = pytest.mark.fast

PROGRAM = """
import asyncio, sys
from labapps.member.programs import until_told

async def work():
    print("works", flush=True)
    {work}

async def end():
    await asyncio.sleep(0)
    print("ended in order", flush=True)

asyncio.run(until_told(work(), end))
"""


def started(work: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM.format(work=work)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_that_is_told_to_stop_ends_in_order(number: signal.Signals) -> None:
    with started("await asyncio.Event().wait()") as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "works\n"
        program.send_signal(number)
        assert program.communicate(timeout=60) == ("ended in order\n", "")
    assert program.returncode == 0


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("raise OSError('no disk')", "OSError: no disk"),
        ("sys.exit('Expected a token; found none.')", "Expected a token; found none."),
    ],
    ids=["error", "exit"],
)
def test_program_that_breaks_off_ends_in_order_and_says_why(work: str, words: str) -> None:
    with started(work) as program:
        output, errors = program.communicate(timeout=60)
    assert output == "works\nended in order\n"
    assert errors.splitlines()[-1] == words
    assert program.returncode == 1
