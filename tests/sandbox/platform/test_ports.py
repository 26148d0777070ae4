"""Two platforms that start in the same moment do not take each other's ports."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

CHOOSE = "import sys; from labsandbox import ports; print(ports.choose({}), flush=True); input()"


def test_processes_that_choose_at_once_get_ports_of_their_own() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHOOSE.format("")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as first:  # fmt: skip
        assert first.stdout is not None
        taken = first.stdout.readline().strip()

        def choose(_: int) -> str:
            done = subprocess.run(
                [sys.executable, "-c", CHOOSE.format(taken)],
                cwd=ROOT, input="\n", capture_output=True, text=True, check=True,
            )  # fmt: skip
            return done.stdout.strip()

        with ThreadPoolExecutor(2) as pool:
            others = list(pool.map(choose, range(2)))
        assert taken.isdigit()
        assert taken not in others, "chosen by a process that has not begun to listen"
        first.communicate("\n")
    assert choose(0) == taken, "a claim ends with its process"
