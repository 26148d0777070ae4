"""The deployment engine serves what an alias of MLflow's registry means, also while it moves."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.labapps.pods import ROOT, TOKEN, Cluster, call, eventually, running

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(400)]
API = "api/2.0/mlflow"
NAMES = ["acid", "sugar", "alcohol"]
ROWS = [[0.1, 2.0, 7.0], [0.9, 1.0, 9.0]]
SAFE = ("linear", "boosting", "columns", "xgboost", "booster", "classes", "onnx")
NUMBERS = {name: str(n) for n, name in enumerate([*SAFE, "pickled", "code"], 1)}


@dataclass
class House:
    """A tracking server with its models, and an engine that is connected to it."""

    mlflow: Cluster
    engine: Cluster
    canary: Path
    answers: dict[str, list[float]]

    def ask_mlflow(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return call(f"http://{self.mlflow.pods['controller'][0].ip}:5000/{path}", body, **more)

    def move(self, name: str, alias: str = "champion") -> None:
        body = {"name": "wine", "alias": alias, "version": NUMBERS[name]}
        status, answer = self.ask_mlflow(f"{API}/registered-models/alias", body)
        assert status == 200, answer

    def ask(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return call(f"http://{self.engine.pods['LoadBalancer'][0].ip}:32700/{path}", body, **more)

    def predict(self, label: str = "champion") -> tuple[int, Any]:
        rows = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
        return self.ask(f"wine/{label}/predict", {"scoring_args": rows})

    def lines(self, configmap: str = "wine") -> list[dict[str, Any]]:
        """Return what each RESTServer says of a ConfigMap."""
        found = []
        for pod in self.engine.pods["RESTServer"]:
            models = call(f"http://{pod.ip}:10001/models")[1]["models"]
            found += [one for one in models if one["configmap"] == configmap]
        return found

    def wait(self, name: str) -> None:
        """Wait until both servers serve a version, and complain of nothing."""
        wanted = {(NUMBERS[name], "")}
        eventually(
            f"version {NUMBERS[name]} ({name})",
            lambda: {(one.get("registered"), one["error"]) for one in self.lines()} == wanted,
        )

    def wait_refused(self, words: str) -> None:
        eventually(words, lambda: all(words in one["error"] for one in self.lines()))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(tmp_path_factory.mktemp("registered")) as found:
        yield found


@contextmanager
def opened(folder: Path, servers: int = 2, **engine_env: str) -> Iterator[House]:
    """Start a tracking server with models of every kind, and an engine that is connected to it."""
    mlflow = Cluster(folder / "mlflow", "mlflow", {"controller": 1})
    with running(mlflow):
        mlflow.settle(120)
        url = f"http://{mlflow.pods['controller'][0].ip}:5000"
        env = os.environ | {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": TOKEN}
        env |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        program = [sys.executable, "-m", "tests.labapps.registry", str(folder / "canary")]
        program.append(json.dumps(ROWS))
        done = subprocess.run(program, env=env, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]
        answers = json.loads(done.stdout.splitlines()[-1])
        roles = {"LoadBalancer": 1, "RESTServer": servers}
        engine = Cluster(folder / "engine", "deployment", roles, **engine_env)
        service = {"endpoints": [url], "authToken": TOKEN}
        connected = {"controller": {"services": {"mlflow-server": service}}}
        engine.clusters = {"mlflow-maya": {"nodegroups": {"1": {"roles": connected}}}}
        engine.configmaps["model"] = [
            {"metadata": {"name": "wine"}, "data": {"model-uri": "models:/wine@champion"}}
        ]
        found = House(mlflow, engine, folder / "canary", answers)
        found.move("linear")
        with running(engine):
            assert engine.settle(120) == []
            yield found
            # The server ends although two engines wait for its news.
            assert mlflow.pods["controller"][0].stop() == 0


@pytest.mark.parametrize("name", SAFE)
def test_alias_serves_the_numbers_that_mlflow_predicts(house: House, name: str) -> None:
    house.move(name)
    house.wait(name)
    status, body = house.predict()
    assert status == 200, body
    assert body["predictions"] == pytest.approx(house.answers[name], abs=1e-6)
    assert (body["version"], body["registered"]) == ("champion", NUMBERS[name])
    split = {"columns": NAMES, "data": ROWS}
    status, old = house.ask("wine/champion/invocations", split)
    assert (status, old) == (200, pytest.approx(house.answers[name], abs=1e-6))


def test_no_request_fails_while_the_alias_moves(house: House) -> None:
    house.move("linear")
    house.wait("linear")
    seen: Counter[tuple[int, Any]] = Counter()
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            status, body = house.predict()
            seen[status, body.get("registered")] += 1

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for name in ("xgboost", "onnx", "boosting", "linear") * 2:
            house.move(name)
            house.wait(name)
            goal = seen.total() + 100
            while seen.total() < goal:
                time.sleep(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1", "2", "4", "7"}
    assert seen.total() >= 800


@pytest.mark.parametrize(
    ("name", "words"),
    [("pickled", "a pickle runs code of its author"), ("code", "python_function alone")],
)
def test_model_that_would_run_code_is_refused_and_the_old_one_serves(
    house: House, name: str, words: str
) -> None:
    house.move("linear")
    house.wait("linear")
    house.move(name)
    house.wait_refused(words)
    assert {one["status"] for one in house.lines()} == {"serving, successor broken"}
    assert house.predict()[1]["registered"] == NUMBERS["linear"]
    assert not house.canary.exists()
    house.move("linear")
    house.wait("linear")


def test_files_that_were_changed_after_registration_are_not_served(house: House) -> None:
    house.move("linear", "other")
    uri = f"{API}/model-versions/get-download-uri?name=wine&version={NUMBERS['xgboost']}"
    path = house.ask_mlflow(uri)[1]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    (folder,) = (house.mlflow.repository / "mlflow").glob(f"*/{path}")
    file = folder / "model.ubj"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole + b"\0")
        for pod in house.engine.pods["RESTServer"]:  # copies of the true file are thrown away
            for copy in (pod.root / "run/labapps/models").glob("*/model.ubj"):
                copy.write_bytes(b"")
        house.move("xgboost")
        house.wait_refused("They were changed since")
        assert house.predict()[1]["registered"] == NUMBERS["linear"]
    finally:
        file.write_bytes(whole)
    house.move("linear")
    house.wait("linear")
    house.move("xgboost")
    house.wait("xgboost")


def test_damaged_copy_beside_the_engine_is_fetched_again(house: House) -> None:
    house.move("linear")
    house.wait("linear")
    copies = [
        file
        for pod in house.engine.pods["RESTServer"]
        for file in (pod.root / "run/labapps/models").glob("*/model.ubj")
    ]
    for file in copies:
        file.write_bytes(b"nonsense")
    house.move("classes")
    house.wait("classes")
    house.move("xgboost")
    house.wait("xgboost")
    assert house.predict()[1]["predictions"] == pytest.approx(house.answers["xgboost"], abs=1e-6)


def test_history_says_who_moved_what_from_where_to_where(house: House) -> None:
    house.move("linear", "told")
    body = {"name": "wine", "alias": "told", "version": NUMBERS["onnx"]}
    maya = {"X-Auth-Token": "", "Authorization": basic("maya", TOKEN)}
    path = f"{API}/registered-models/alias"
    assert house.ask_mlflow(path, body, headers=maya, token=None)[0] == 200
    assert house.ask_mlflow(path, body, headers=maya, token=None)[0] == 200  # moves nothing
    gone = {"name": "wine", "alias": "told"}
    assert house.ask_mlflow(path, gone, method="DELETE")[0] == 200
    assert house.ask_mlflow(path, body | {"version": "999"})[0] == 404
    found = house.ask_mlflow("labs/moves?name=wine&alias=told")[1]["moves"]
    onnx, linear = NUMBERS["onnx"], NUMBERS["linear"]
    assert [(m["who"], m["from"], m["to"]) for m in found] == [
        ("", None, linear),
        ("maya", linear, onnx),
        ("", onnx, None),
    ]
    assert sorted(m["at"] for m in found) == [m["at"] for m in found]


@pytest.mark.parametrize("query", ["after=x", "after=-1", "wait=nan", "wait=inf"])
def test_history_refuses_numbers_that_are_none(house: House, query: str) -> None:
    assert house.ask_mlflow(f"labs/moves?{query}")[0] == 400
    assert house.ask_mlflow("labs/moves", token=None)[0] == 401


def test_digest_of_a_version_is_the_servers(house: House) -> None:
    tag = {"name": "wine", "version": "1", "key": "sha256", "value": "0" * 64}
    for path, method in (("set-tag", "POST"), ("delete-tag", "DELETE")):
        status, body = house.ask_mlflow(f"{API}/model-versions/{path}", tag, method=method)
        assert (status, body["error_code"]) == (403, "PERMISSION_DENIED")
    other = tag | {"key": "reviewed", "value": "yes"}
    assert house.ask_mlflow(f"{API}/model-versions/set-tag", other)[0] == 200


def test_engine_serves_on_without_its_server_and_follows_again(house: House) -> None:
    house.move("linear")
    house.wait("linear")
    server = house.mlflow.pods["controller"][0]
    server.stop()
    assert house.predict()[0] == 200
    server.start()
    eventually("the server", lambda: house.ask_mlflow("health")[0] == 200, 120)
    house.move("onnx")
    house.wait("onnx")


def test_configmap_without_alias_server_or_sense_is_told_what_is_wrong(house: House) -> None:
    wrong = {
        "none": ({"model-uri": "models:/wine@none"}, "set_registered_model_alias"),
        "stage": ({"model-uri": "models:/wine/Production"}, "models:/<name>@<alias>"),
        "both": ({"model-uri": "models:/wine@champion", "path": "x"}, "not both"),
        "digest": (
            {"model-uri": "models:/wine/1", "name": "fixed", "sha256": "0" * 64},
            "expected 0000",
        ),
        "fixed": ({"model-uri": "models:/wine/1"}, ""),
    }
    house.engine.configmaps["model"] += [
        {"metadata": {"name": name}, "data": data} for name, (data, _) in wrong.items()
    ]
    house.engine.write()
    complaints = house.engine.settle()
    for name, (_, words) in wrong.items():
        found = [line for line in complaints if f"ConfigMap {name}" in line]
        assert bool(found) == bool(words)
        assert all(words in line for line in found), found
    assert house.predict("1")[1]["predictions"] == pytest.approx(house.answers["linear"], abs=1e-6)
    house.move("linear", "none")
    eventually("the new alias", lambda: all(not one["error"] for one in house.lines("none")))
    assert house.predict("none")[0] == 200
    kept, house.engine.clusters = house.engine.clusters, {}
    house.engine.write()
    assert any("spec.connections.clusters" in line for line in house.engine.settle())
    assert house.predict()[0] == 200
    house.engine.clusters = kept
    del house.engine.configmaps["model"][1:]
    house.engine.write()
    assert house.engine.settle() == []


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
