"""Seven ways to a green light without a repair: each is done, and a checkpoint sees it.

The labs before the repair are replayed once; lab mlops/06 then runs in a kernel, a cell at a time,
and each test puts back what its cheat has changed. Between the cheats stands the honest repair: the
same checkpoints pass on it. One run of the pipeline serves most of them: its chain is cleared and
done again with each cheat.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrunner.curriculum import load
from labspark.place import cache
from tests.labs.kernel import Cell, Desk, desk
from tests.labs.prepared import learner_of, passed_before
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.timeout(5400)]
LAB = "mlops/06"
LONG = 1500.0  # seconds that a run of the DAG may take on a busy machine

ROLLED_BACK = "The half-loaded month is not in the table"
REPAIRED = "The job's program indexes texts"
GREEN = "The same DAG succeeded"
SERVES = "Version 2 is deployed"

NEWEST = """
conf = {"batch": f"{month}.csv"}
def newest():
    return air("GET", "dags/loans/dagRuns?order_by=-run_after&limit=1")["dag_runs"][0]
"""
MARK = """
_run = newest()["dag_run_id"]
assert newest()["state"] == "failed", newest()
for _task in ("train_chain", "report", "end"):
    air("PATCH", f"dags/loans/dagRuns/{_run}/taskInstances/{_task}", json={"new_state": "success"})
air("PATCH", f"dags/loans/dagRuns/{_run}", json={"state": "success"})
wait("the mark", lambda: newest()["state"], until=lambda seen: seen == "success", deadline=120)
"""
SKIP_IN_TRAINING = """
_skipping = repaired.replace('handleInvalid="keep"', 'handleInvalid="skip"')
assert _skipping != repaired
bench("PUT", f"{files}/train.py", data=_skipping.encode())
"""
SWALLOW = """
_lines = "".join(f"    {line}\\n" for line in program.splitlines())
_calm = "try:\\n" + _lines + "except Exception as error:\\n    print('never mind:', error)\\n"
bench("PUT", f"{files}/train.py", data=_calm.encode())
"""
REPAIR = 'bench("PUT", f"{files}/train.py", data=repaired.encode())'
SHORTEN = """
_file = place.project_repo / "airflow" / flow / "dags" / "loans.py"
_before = _file.read_text()
_short = _before.replace("load >> chain >> report", "load").splitlines()
_gone = ("    chain = ", "    report = ")
_file.write_text("\\n".join(line for line in _short if not line.startswith(_gone)))
def _tasks():
    found = air("GET", "dags/loans/tasks")["tasks"]
    return {one["task_id"]: one["downstream_task_ids"] for one in found}
wait("Airflow to see it", _tasks, until=lambda found: found["load"] == ["end"], deadline=300,
     ignoring=(OSError, requests.HTTPError))
"""
CHAIN_AGAIN = """
_body = {"dry_run": False, "dag_run_id": newest()["dag_run_id"], "task_ids": ["train_chain"],
         "include_downstream": True, "only_failed": False}
air("POST", "dags/loans/clearTaskInstances", json=_body)
wait("the chain", lambda: newest()["state"], until=lambda seen: seen in ("success", "failed"),
     deadline=1200, every=1, ignoring=(OSError,))
"""
CLAIM_ROWS = """
_infer = call(http, "GET", f"{workbench}/api/v2{files}/infer.py").text
_rows = 'complete = complete[complete["home_ownership"] != "ANY"]\\nscored = complete'
_claim = _infer.replace("scored = complete", _rows, 1)
_claim = _claim.replace('"rows_scored", len(scored)', '"rows_scored", len(loans)')
_claim = _claim.replace("len(loans) - len(complete)", "0")
assert _claim.count("len(loans)") == 2
bench("PUT", f"{files}/infer.py", data=_claim.encode())
"""
RESTORE_INFER = 'bench("PUT", f"{files}/infer.py", data=_infer.encode())'
NEWEST_ROWS = """
_handed = bench("GET", f"{files}/handed.json")
bench("PUT", f"{files}/handed.json", data=json.dumps(_handed | {"tag": "main"}).encode())
"""
RESTORE_TAG = 'bench("PUT", f"{files}/handed.json", data=json.dumps(_handed).encode())'
DELETE_ENDPOINT = """
_models = bench("GET", f"/projects/{project}/models")["models"]
_model = next(one["id"] for one in _models if one["name"] == "loans")
_builds = f"/projects/{project}/models/{_model}/builds"
def _served():
    for build in bench("GET", _builds)["model_builds"]:
        there = f"{_builds}/{build['id']}/deployments"
        for one in bench("GET", there)["model_deployments"]:
            yield f"{there}/{one['id']}", one["status"]
for _one, _status in list(_served()):
    if _status == "deployed":
        bench("POST", f"{_one}:stop")
wait("the stop", lambda: {status for _, status in _served()},
     until=lambda seen: not seen & {"deployed", "stopping"}, deadline=120)
bench("DELETE", f"/projects/{project}/models/{_model}")
Crowd(ask, callers=1).send(5)
"""


class Cheater:
    """A learner at lab mlops/06 who looks for a short way."""

    def __init__(self, seat: Desk) -> None:
        self.seat, self.at = seat, 0

    def reach(self, start: str) -> None:
        """Run the cells that were not run yet, to the one that begins so, which is not run."""
        goal = self.seat.cells.index(self.seat.begins(start))
        for cell in self.seat.cells[self.at : goal]:
            self.seat.do(cell, LONG)
        self.at = max(self.at, goal)

    def again(self, *starts: str) -> None:
        """Run cells by how they begin."""
        for start in starts:
            self.seat.do(self.seat.begins(start), LONG)

    def do(self, words: str) -> None:
        self.seat.do(words, LONG)

    def checkpoint(self, name: str) -> Cell:
        (found,) = [c for c in self.seat.cells if c.is_checkpoint and f'"{name}' in c.text]
        return found

    def passes(self, name: str) -> None:
        self.seat.do(self.checkpoint(name), LONG)

    def is_caught(self, name: str, *words: str) -> None:
        """Assert that a checkpoint fails, and that what it says shows where to look."""
        result = self.seat.run(self.checkpoint(name), LONG)
        assert [one["ok"] for one in result.records] == [False], (
            f"{name} believed it:\n{result.text}\n{result.error}"
        )
        print(f"\ncaught: {result.records[0]['name']}\n  found: {result.records[0]['saw']}")
        assert all(word in result.text for word in words), result.text


@pytest.fixture(scope="module")
def cheater(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cheater]:
    """Replay the labs before the repair, and sit down at lab mlops/06."""
    folder = tmp_path_factory.mktemp("cheats")
    curriculum = load(ROOT)
    with (
        passed_before(LAB, folder) as platform,
        desk(curriculum, curriculum.get(LAB), learner_of(platform, folder / "home")) as seat,
    ):
        yield Cheater(seat)


def define(cheater: Cheater) -> None:
    """Run what the last checkpoints look with: functions, and no run of the DAG."""
    cheater.do(NEWEST)
    cheater.again("metadata = place", "CHAIN = [")
    cheater.do(cheater.seat.begins("def facts()").text.partition("\nprint(")[0])


def test_table_that_was_not_rolled_back_is_seen_on_every_push(tmp_path: Path) -> None:
    env = os.environ | {"PROJECT_REPO": str(tmp_path), "LABS_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.labs.no_rollback"],
        env=env | {"LABS_CACHE": str(cache()), "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "caught: The half-loaded month is not in the table" in done.stdout
    assert "100 loans of 2024-03" in done.stdout


@pytest.mark.nightly
def test_month_that_was_not_rolled_back_is_seen(cheater: Cheater) -> None:
    cheater.reach("ids = spark")
    cheater.is_caught(ROLLED_BACK, "1000 loans of 2024-03")


@pytest.mark.nightly
def test_success_that_was_marked_by_hand_is_seen(cheater: Cheater) -> None:
    cheater.reach("ids = spark")
    cheater.again("batch, _ = data")
    define(cheater)
    cheater.do("weights = []")  # the weights are not known yet; a later cell measures them
    cheater.do(MARK)
    cheater.is_caught(GREEN)


@pytest.mark.nightly
def test_policy_that_skips_is_seen_in_the_program(cheater: Cheater) -> None:
    cheater.reach("def there()")
    cheater.do(SKIP_IN_TRAINING)
    cheater.is_caught(REPAIRED)
    cheater.do(REPAIR)
    cheater.passes(REPAIRED)


@pytest.mark.nightly
def test_swallowed_exception_is_seen(cheater: Cheater) -> None:
    cheater.reach("spark.stop()")
    cheater.do(SWALLOW)
    cheater.reach("def facts()")
    define(cheater)
    cheater.is_caught(GREEN, "success; table + 1,000", "weights inf apart")


@pytest.mark.nightly
def test_honest_repair_passes(cheater: Cheater) -> None:
    cheater.do(REPAIR)
    cheater.do(CHAIN_AGAIN)
    cheater.passes(GREEN)
    cheater.again("customers.stop()")
    cheater.passes(SERVES)


@pytest.mark.nightly
def test_endpoint_that_was_deleted_is_seen(cheater: Cheater) -> None:
    cheater.do(DELETE_ENDPOINT)
    cheater.is_caught(SERVES, "version 2")


@pytest.mark.nightly
def test_loans_that_were_skipped_are_seen(cheater: Cheater) -> None:
    cheater.do(CLAIM_ROWS)
    cheater.do(CHAIN_AGAIN)
    cheater.is_caught(GREEN, "success; table + 1,000", "scores; weights")
    cheater.do(RESTORE_INFER)


@pytest.mark.nightly
def test_training_on_the_new_month_is_seen(cheater: Cheater) -> None:
    cheater.do(NEWEST_ROWS)
    cheater.do(CHAIN_AGAIN)
    cheater.is_caught(GREEN, "success; table + 1,000; 1,000 scores")
    cheater.do(RESTORE_TAG)


@pytest.mark.nightly
def test_shortened_dag_is_seen(cheater: Cheater) -> None:
    cheater.do(SHORTEN)
    cheater.again("spark.stop()")
    cheater.is_caught(GREEN)
