"""Labs under hardship: two replays at once, a killed training engine, a taken port, a full disk.
Each lab ends well, or says in a sentence what happened and how to go on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from labhelpers.deadline import wait
from labrunner import sandbox
from labrunner.curriculum import load
from labrunner.hint import advice
from tests.labs.kernel import Desk, desk
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

CURRICULUM = load(ROOT)
PROGRAM = str(Path(sys.executable).with_name("labs"))
ROWS = 20_000
Environment = dict[str, str]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Return the environment of a learner who has signed in on a fresh platform."""
    folder = tmp_path_factory.mktemp("hardship")
    with sandbox.running(folder / "state") as found:
        environment = surroundings(folder / "home", found)
        run_lab("core/01", environment)
        yield environment


def surroundings(home: Path, settings: Mapping[str, str]) -> Environment:
    ours = {
        "LABS_HOME": str(home),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONPATH": str(ROOT),
    }
    return sandbox.merged(dict(os.environ) | ours, settings)


def run_lab(lab: str, environment: Mapping[str, str], before: str = "", rows: int = ROWS) -> None:
    """Run a lab's cells, up to the one that begins so."""
    with desk(CURRICULUM, CURRICULUM.get(lab), environment) as learner:
        run_until(learner, before, rows)


def run_until(learner: Desk, before: str, rows: int = ROWS) -> None:
    for cell in learner.cells:
        if before and cell.text.startswith(before):
            return
        learner.do(cell)
        if cell.text.startswith("rows:"):
            learner.do(f"rows = {rows}")


def processes_of(module: str, host: str, environment: Mapping[str, str]) -> list[psutil.Process]:
    """Return what runs in a pod of this platform: its server, and the jobs below it."""
    state = str(Path(environment["PROJECT_REPO"]).parent.parent)
    found = []
    for process in psutil.process_iter(["environ", "cmdline"]):
        around = process.info["environ"] or {}
        is_ours = around.get("POD_ROOT", "").startswith(state) and host in around.get(
            "HOSTNAME", ""
        )
        if is_ours and module in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


@pytest.mark.timeout(280)
def test_two_replays_with_a_platform_each_run_beside_each_other(tmp_path: Path) -> None:
    replays = [
        subprocess.Popen(
            [PROGRAM, "replay", "--only", "core/01,core/02", "--out", str(tmp_path / name)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "other")
    ]
    said = [replay.communicate(timeout=270)[0] for replay in replays]
    assert [replay.returncode for replay in replays] == [0, 0], "\n".join(said)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_training_engine_killed_under_a_job_is_told_and_the_hint_mends_it(
    platform: Environment,
) -> None:
    run_lab("core/03", platform)
    with desk(CURRICULUM, CURRICULUM.get("core/04"), platform) as learner:
        run_until(learner, "%%trainingengineshared")
        program = "(code / 'train_rides.py')"
        slow = "import time; print('begun', flush=True); time.sleep(60)"
        learner.do(f"text = {program}.read_text(); {program}.write_text({slow!r} + '\\n' + text);")
        learner.do(learner.begins("%%trainingengineshared"))

        def kill() -> None:
            forks = wait("the job to run", lambda: forks_of(platform), lambda all: len(all) > 1)
            for process in [*processes_of("labapps.training", "restserver", platform), *forks]:
                process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        followed = learner.do(learner.begins("%logs --follow"))
        killer.join()
        assert "Job Status: Failed" in followed.text
        assert "ended" in followed.text, "it says what happened to the worker"
        learner.do(f"{program}.write_text(text);")
        check = learner.begins("def read_card(")
        failed = [learner.run(check) for _ in range(3)]
        assert all("CheckFailed" in one.error for one in failed)
        hint = failed[2].records[0]["hint"]
        for _, words in advice(hint):
            learner.do(learner.begins(words))
        learner.do(check)


def forks_of(platform: Environment) -> list[psutil.Process]:
    """Return the process that jobs are forked from, and the jobs that run."""
    return processes_of("labapps.forks.zygote", "restserver", platform)


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_port_that_another_program_has_is_named_and_the_notebook_comes_up_without_it(
    platform: Environment,
) -> None:
    with socket.socket() as other:
        try:
            other.bind(("0.0.0.0", 8000))
        except OSError:
            pytest.skip("a pod of another platform listens on port 8000 of this machine")
        other.listen()
        with desk(CURRICULUM, CURRICULUM.get("core/02"), platform) as learner:
            run_until(learner, "file = workspace(")
            patient = "patient = wait_configured"
            learner.do(f"{patient}; wait_configured = lambda *a: patient(*a, deadline=20)")
            deploy = learner.begins("file = workspace(")
            told = learner.run(deploy).error
            assert told.startswith("WaitTimeout: Waited 20 s for kdcluster jupyter-notebook")
            assert "Expected port 8000 of 127.244." in told
            assert "ss -ltnp 'sport = :8000'" in told
            other.close()
            learner.do("wait_configured = patient")
            learner.do(deploy)
            learner.do(learner.begins('check(\n    "Your notebook is configured'))


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_disk_that_is_full_in_lab_03_is_told_and_the_lab_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    environment = surroundings(tmp_path / "home", {"PROJECT_REPO": str(tmp_path / "repository")})
    with desk(CURRICULUM, CURRICULUM.get("core/03"), environment) as learner:
        run_until(learner, "rides = fresh(")
        write = learner.begins("rides = fresh(")
        learner.do(write)  # once, so that Java has unpacked all it needs
        limit = (
            "import psutil, resource\n"
            "java = [one.pid for one in psutil.Process().children(True) if one.name() == 'java']\n"
            "for pid in java: resource.prlimit(pid, resource.RLIMIT_FSIZE, ({soft}, -1))"
        )
        learner.do(limit.format(soft=4096))
        told = learner.run(write).error
        assert told.startswith("NoRoomLeft: Expected room to write, found none")
        assert len(told.splitlines()) <= 3
        learner.do(limit.format(soft=-1))
        learner.do(write)
