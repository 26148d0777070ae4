"""A replay is killed with -9 while a lab of it has programs running: after the next start in the
same folder no process, no port and no platform of it is left."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from labhelpers.deadline import wait
from labrunner.environments import find
from labrunner.worker import MARK
from tests.repo.tree import ROOT

pytestmark = [
    pytest.mark.labs,
    pytest.mark.nightly,
    pytest.mark.timeout(3600),
]
needs_h2o = pytest.mark.skipif(
    not find(ROOT, "h2o").is_installed, reason="H2O is not installed: labs setup h2o"
)


def replay(out: Path, *labs: str) -> list[str]:
    """Return a command line; the program lies beside this Python."""
    program = Path(sys.executable).with_name("labs")
    return [str(program), "replay", "--only", ",".join(labs), "--out", str(out)]


def belonging(out: Path) -> set[psutil.Process]:
    """Return all processes that name the folder of a replay: its labs, its platform, its pods."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            if any(str(out) in word for word in words):
                found.add(process)
    return found


def programs(out: Path, word: str) -> list[psutil.Process]:
    """Return the programs that a lab started, with this word or file in their command line."""
    found = []
    for process in belonging(out):
        with contextlib.suppress(psutil.Error):
            is_labs = process.environ().get(MARK, "").startswith(str(out))
            if (
                any(one == word or one.endswith(f"/{word}") for one in process.cmdline())
                and is_labs
            ):
                found.append(process)
    return found


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Return where processes listen."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    found.add((one.laddr.ip, one.laddr.port))
    return found


@pytest.mark.parametrize(
    ("labs", "word"),
    [
        # the programs that hold the lab's namespaces
        pytest.param(["core/01", "mlflow/10"], "cat", id="mlflow/10"),
        # H2O's server, in a session of its own; Spark of lab mlflow-01 is Java, too
        pytest.param(
            ["core/01", "mlflow/01", "mlflow/04", "mlflow/05"], "h2o.jar", id="mlflow/05",
            marks=needs_h2o,
        ),
    ],
)  # fmt: skip
def test_killed_replay_leaves_no_process_and_no_port_after_the_next_start(
    tmp_path: Path, labs: list[str], word: str
) -> None:
    out = tmp_path / "replay"
    with (tmp_path / "first.log").open("w") as log:
        killed = subprocess.Popen(replay(out, *labs), cwd=ROOT, stdout=log, stderr=log)
    with killed:
        wait(
            f"the program {word}",
            lambda: programs(out, word) or killed.poll() is not None,
            deadline=3000,
            every=0.5,
        )
        assert killed.poll() is None, (tmp_path / "first.log").read_text()[-3000:]
        before = belonging(out)
        ports = listening(before)
        end = time.time()
        killed.kill()
    assert len(before) > 10
    assert len(ports) > 3
    done = subprocess.run(replay(out, "core/01"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one for one in before if one.is_running()] == []
    assert belonging(out) == set()
    old = [one for one in psutil.process_iter(["create_time"]) if one.info["create_time"] < end]
    assert listening(old).isdisjoint(ports)
