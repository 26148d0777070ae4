"""A task that runs a job: whatever becomes of the run, the task says so, deferred or not."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from labapps.airflow.provider import follow
from labapps.airflow.provider.client import Jobs, Unreachable
from labapps.airflow.provider.follow import Follower, Target, conclude
from tests.labapps.jobs_stub import KEY, SCRIPTS, Script, run, served
from tests.labapps.orchestrator import PYTHON, needs_airflow
from tests.repo.tree import ROOT

CASES = [(name, mode) for name in SCRIPTS for mode in ("blocking", "deferrable")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of each task, run by Airflow's own classes."""
    folder = tmp_path_factory.mktemp("operator")
    told = folder / "found.json"
    env = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    env |= {"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(PYTHON), "-m", "tests.labapps.operator_run", str(told)],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert KEY not in done.stdout + done.stderr
    return dict(json.loads(told.read_text()))


@needs_airflow
@pytest.mark.sandbox
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_task_ends_as_its_runs_did(found: dict[str, Any], name: str, mode: str) -> None:
    outcome, sentence = found[f"{name}/{mode}"]
    assert outcome == SCRIPTS[name].outcome, sentence
    assert SCRIPTS[name].sentence in sentence


@needs_airflow
@pytest.mark.sandbox
@pytest.mark.parametrize("mode", ["blocking", "deferrable"])
def test_task_that_takes_too_long_stops_its_run(found: dict[str, Any], mode: str) -> None:
    outcome, sentence, *stopped = found[f"too slow/{mode}"]
    assert (outcome, stopped) == ("failure", ["r-j0"])
    assert "exceeded the timeout" in sentence


@needs_airflow
@pytest.mark.sandbox
@pytest.mark.parametrize("mode", ["blocking", "deferrable"])
def test_retry_adopts_the_run_of_the_same_task_only(found: dict[str, Any], mode: str) -> None:
    assert found[f"adopted/{mode}"][0::2] == ["success", "0"]
    assert found[f"not mine/{mode}"][0::2] == ["success", "1"]


@needs_airflow
@pytest.mark.sandbox
@pytest.mark.parametrize("event", ["none", "text", "empty", "odd"])
def test_malformed_event_fails_with_a_sentence(found: dict[str, Any], event: str) -> None:
    outcome, sentence = found[f"event {event}"]
    assert outcome == "failure"
    assert len(sentence) > 20


@needs_airflow
@pytest.mark.sandbox
def test_killed_task_stops_what_still_runs(found: dict[str, Any]) -> None:
    assert found["killed"] == ["r-j1", "r-j1"]


@pytest.mark.fast
@pytest.mark.parametrize("name", SCRIPTS)
def test_follower_judges_the_whole_tree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "CHILD_SECONDS", 0.1)
    monkeypatch.setattr("labapps.airflow.provider.client.PAUSE", 0.01)
    script = SCRIPTS[name]
    expected: dict[str, Any] = {"job": "j0", "name": "train", "children": []}
    at = expected
    for number, child in enumerate(script.children, start=1):
        at["children"] = [{"job": f"j{number}", "name": child, "children": []}]
        at = at["children"][0]
    with served(script) as url:
        follower = Follower(Jobs(url, KEY), Target("jobs", "p", "j0", "r-j0", "train"), expected)
        seen: list[str] = []
        while True:
            lines, event = follower.look()
            seen += lines
            if event is not None:
                break
            time.sleep(0.01)
    is_success, sentence, _ = conclude(event)
    assert is_success is (script.outcome == "success")
    assert script.sentence in sentence
    if is_success:
        assert seen[:3] == ["[train] one", "[train] two", "[train] last words"]
        assert {f"[{name}] one" for name in ("train", *script.children)} <= set(seen)


@pytest.mark.fast
def test_server_that_stays_away_is_named_after_a_while(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"to GET /projects.*; found Conn"):
        Jobs("http://127.0.0.1:1", KEY, patience=0.1).project("loans")


@pytest.mark.fast
def test_facts_of_all_runs_are_in_the_event() -> None:
    script = Script([run("SUCCEEDED", run("SUCCEEDED", job="j1"))], "success")
    with served(script) as url:
        expected = {"job": "j0", "name": "a", "children": [{"job": "j1", "name": "b"}]}
        _, event = Follower(Jobs(url, KEY), Target("jobs", "p", "j0", "r-j0"), expected).look()
    assert event is not None
    assert event["facts"] == {"fact_j0": 1, "fact_j1": 1}
    assert event["tree"] == ["a r-j0: SUCCEEDED", "   └─ b r-j1: SUCCEEDED"]
