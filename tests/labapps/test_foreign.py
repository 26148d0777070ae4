"""The engine serves a model that is code, or that needs other libraries, in a process apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labrunner.environments import find
from tests.labapps.pods import ROOT, TOKEN, eventually
from tests.labapps.test_registered import NAMES, NUMBERS, ROWS, House, opened
from tests.processes import words_of

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]
CODE = {"model-uri": f"models:/wine/{NUMBERS['code']}", "name": "acid", "model-version": "1"}
H2O = find(ROOT, "h2o")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    known = f"own={sys.executable} h2o={H2O.folder}/bin/python"
    folder = tmp_path_factory.mktemp("foreign")
    with opened(folder, 1, MODEL_ENVIRONMENTS=known, LOAD_TIMEOUT="600") as found:
        yield found


def connect(house: House, configmap: str, data: dict[str, str]) -> list[str]:
    """Connect a ConfigMap, or replace it; return the complaints."""
    kept = [one for one in house.engine.configmaps["model"] if one["metadata"]["name"] != configmap]
    house.engine.configmaps["model"] = [*kept, {"metadata": {"name": configmap}, "data": data}]
    house.engine.write()
    return house.engine.settle(600)


def programs(house: House) -> list[psutil.Process]:
    """Return the processes of models in other environments, and what these started."""
    (pod,) = house.engine.pods["RESTServer"]
    assert pod.process is not None
    below = psutil.Process(pod.process.pid).children(recursive=True)
    return [one for one in below if any(word.endswith("pyfunc.py") for word in words_of(one))]


def ask(house: House, row: dict[str, Any]) -> tuple[int, Any]:
    return house.ask("acid/1/predict", {"scoring_args": row})


def test_code_is_served_by_a_process_of_the_environment_that_the_configmap_names(
    house: House,
) -> None:
    (refused,) = connect(house, "acid", CODE)
    assert "name the environment that it needs in the ConfigMap's key environment" in refused
    assert programs(house) == []
    (unknown,) = connect(house, "acid", CODE | {"environment": "old"})
    assert "expected one of this engine's environments, h2o, own; found 'old'" in unknown
    assert connect(house, "acid", CODE | {"environment": "own"}) == []
    status, body = ask(house, dict(zip(NAMES, ROWS[0], strict=True)))
    assert (status, body["predictions"]) == (200, [{"acid": ROWS[0][0]}])  # as MLflow's scorer
    old = {"columns": NAMES[::-1], "data": [row[::-1] for row in ROWS]}
    status, answers = house.ask("acid/1/invocations", old)
    assert (status, answers) == (200, [{"acid": row[0]} for row in ROWS])
    (program,) = programs(house)
    assert program.cmdline()[:2] == [sys.executable, "-I"]


def test_row_that_does_not_fit_the_signature_is_refused_and_spoils_no_other(house: House) -> None:
    status, body = ask(house, dict(zip(NAMES, ["sour", 1.0, 1.0], strict=True)))
    assert (status, "The model refused the rows" in str(body)) == (422, True), body
    assert ask(house, {"acid": 1.0})[0] == 422
    status, body = ask(house, dict(zip(NAMES, ROWS[1], strict=True)))
    assert (status, body["predictions"]) == (200, [{"acid": ROWS[1][0]}])


def test_model_whose_process_was_killed_answers_again(house: House) -> None:
    (program,) = programs(house)
    program.kill()
    row = dict(zip(NAMES, ROWS[0], strict=True))
    eventually("an answer", lambda: ask(house, row)[0] == 200, 120)
    assert program not in programs(house)


def test_process_ends_with_the_connection(house: House) -> None:
    (program,) = programs(house)
    house.engine.disconnect("acid")
    house.engine.write()
    assert house.engine.settle() == []
    eventually("its end", lambda: not program.is_running())
    assert house.predict()[0] == 200


@pytest.mark.nightly
@pytest.mark.skipif(not H2O.is_installed, reason="H2O is not installed: labs setup h2o")
def test_forest_of_h2o_is_served_with_its_own_java_which_ends_with_it(
    house: House, tmp_path: Path
) -> None:
    url = f"http://{house.mlflow.pods['controller'][0].ip}:5000"
    env = os.environ | {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": TOKEN}
    program = [str(H2O.folder / "bin" / "python"), str(ROOT / "tests/labapps/h2o_model.py")]
    words = [json.dumps(NAMES), json.dumps(ROWS)]
    done = subprocess.run(
        [*program, *words], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = json.loads(done.stdout.splitlines()[-1])
    data = {"model-uri": "models:/grades/1", "environment": "h2o"}
    assert connect(house, "grades", data) == []
    rows = {"dataframe_split": {"columns": NAMES, "data": ROWS}}
    status, body = house.ask("grades/1/invocations", rows)
    assert status == 200, body
    assert [one["predict"] for one in body["predictions"]] == pytest.approx(expected, abs=1e-6)
    (model,) = programs(house)
    java = [one for one in model.children(recursive=True) if one.name() == "java"]
    assert len(java) == 1
    house.engine.disconnect("grades")
    house.engine.write()
    assert house.engine.settle() == []
    eventually("the end of Java", lambda: not java[0].is_running())
