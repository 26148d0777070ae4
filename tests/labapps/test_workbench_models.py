"""Models that come from a registry, score a table, or need packages of their own."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from labsandbox.client.resources import JOBS
from tests.labapps import pods
from tests.labapps.pods import eventually
from tests.labapps.workbench import Workbench

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]
Json = Any

REGISTER = """
import mlflow, sys, warnings
warnings.simplefilter("ignore")
from mlflow.pyfunc import PythonModel

class Scale(PythonModel):
    def __init__(self, factor):
        self.factor = factor

    def predict(self, context, model_input, params=None):
        return model_input["x"] * self.factor

mlflow.set_experiment("scale")
for factor in (2, 3):
    with mlflow.start_run() as run:
        mlflow.pyfunc.log_model(name="model", python_model=Scale(factor), pip_requirements=[])
    print(run.info.run_id)
"""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a tracking server."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pods.running(pods.Cluster(folder, "mlflow", {"controller": 1})) as server:
        server.settle(120)
        yield {
            "MLFLOW_TRACKING_URI": f"http://{server.pods['controller'][0].ip}:5000",
            "MLFLOW_TRACKING_TOKEN": pods.TOKEN,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }


@pytest.fixture(scope="module")
def connected(
    bench: Workbench, tracking: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workbench]:
    """A workbench to which the tracking server is connected."""
    namespace = bench.cluster.namespace("connected")
    made = Workbench(bench.cluster, namespace, tmp_path_factory.mktemp("connected"), tracking)
    try:
        yield made.start()
    finally:
        made.end()


@pytest.fixture(scope="module")
def logged(tracking: dict[str, str]) -> list[str]:
    """Two runs with a model each, logged as a lab does."""
    words = [sys.executable, "-c", REGISTER]
    env = os.environ | tracking | {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()[-2:]


def test_registered_versions_are_built_deployed_and_exchanged(
    connected: Workbench, logged: list[str], tracking: dict[str, str]
) -> None:
    project = connected.project("registry")
    body = {"project_id": project, "run_id": logged[0], "model_name": "scale it", "notes": "x"}
    first = connected.ask("POST", "/registry/models", body | {"model_path": "model"})
    assert (first["name"], first["notes"], len(first["model_versions"])) == ("scale it", "x", 1)
    second = connected.ask("POST", "/registry/models", body | {"run_id": logged[1]})
    numbers = [version["number"] for version in second["model_versions"]]
    assert (numbers, second["model_versions"][0]["status"]) == ([1, 2], "READY")
    uri, token = tracking["MLFLOW_TRACKING_URI"], tracking.get("MLFLOW_TRACKING_TOKEN", "")
    kept = requests.get(
        f"{uri}/api/2.0/mlflow/model-versions/get",
        params={"name": "scale it", "version": "1"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    ).json()["model_version"]
    assert kept["source"].startswith("models:/m-"), "MLflow's own loaders find it"
    assert "sha256" in {tag["key"] for tag in kept["tags"]}, "and the server its files"
    found = connected.ask("GET", '/registry/models?search_filter={"name":"scale it"}')["models"]
    assert found == [connected.ask("GET", f"/registry/models/{first['model_id']}")]

    models = f"/projects/{project}/models"
    model = connected.ask(
        "POST", models, {"name": "scale", "registered_model_id": first["model_id"]}
    )
    builds = f"{models}/{model['id']}/builds"
    answers = []
    for version in second["model_versions"]:
        build = connected.ask(
            "POST", builds, {"registered_model_version_id": version["model_version_id"]}
        )
        path = connected.deploy(builds, build, memory=2)
        answers.append(connected.call(model["access_key"], {"x": 7}).json()["response"])
        done = connected.ask("GET", f"{builds}/{build['id']}")
        assert (done["status"], len(done["build_digest"])) == ("built", 40)
    assert [answer["prediction"] for answer in answers] == [14, 21]
    rows = {"dataframe_records": [{"x": 1}, {"x": 2}]}
    reply = connected.call(model["access_key"], rows).json()
    assert reply["response"]["prediction"] == [3, 6]
    assert connected.call(model["access_key"], {"y": 1}).status_code == 422
    connected.ask("POST", f"{path}:stop")

    gone = connected.ask("POST", builds, {"registered_model_version_id": "scale it:9"}, 404)
    assert "not found" in gone["message"]
    other = connected.ask("POST", builds, {"registered_model_version_id": "other:1"}, 400)
    assert "serves versions of scale it" in other["message"]
    connected.ask("POST", "/registry/models", body | {"run_id": "0" * 32}, 404)


def test_learner_registers_for_an_own_project_and_deletes_nothing(
    connected: Workbench, logged: list[str]
) -> None:
    project = connected.project("of-admin")
    key = connected.ask("POST", "/users/ann/v2_keys", {})["api_key"]
    headers = {"Authorization": f"Bearer {key}"}
    body = {"run_id": logged[0], "model_name": "ann"}
    refusal = connected.ask("POST", "/registry/models", body, 403, headers=headers)
    assert "project_id" in refusal["message"]
    body["project_id"] = project
    connected.ask("POST", "/registry/models", body, 404, headers=headers)
    grant = f"/projects/{project}/collaborators/ann"
    connected.ask("PUT", grant, {"permission": "write"})
    connected.ask("POST", "/registry/models", body, headers=headers)
    path = "/registry/models/ann"
    assert len(connected.ask("GET", path, headers=headers)["model_versions"]) == 1
    connected.ask("DELETE", path, status=403, headers=headers)
    connected.ask("DELETE", f"{path}/versions/ann:1")
    connected.ask("DELETE", path)
    connected.ask("GET", path, status=404)


WHERE = """
import os
print(os.environ["MLFLOW_TRACKING_URI"], len(os.environ["MLFLOW_TRACKING_TOKEN"]))
"""


def test_run_finds_the_tracking_server_in_its_environment_and_no_manifest_has_the_token(
    connected: Workbench,
) -> None:
    project = connected.project("finds", where__py=WHERE)
    job = connected.job(project, "where.py")
    run = connected.run(project, job)
    connected.ended(project, job, run)
    log = connected.ask("GET", f"/projects/{project}/jobs/{job}/runs/{run}/logs")["logs"]
    uri, length = log.split()
    assert (uri[:7], int(length)) == ("http://", len(pods.TOKEN))
    assert pods.TOKEN not in json.dumps(connected.cluster.list(JOBS, connected.namespace))


def test_without_a_tracking_server_the_answer_says_what_to_connect(bench: Workbench) -> None:
    found = bench.ask("GET", "/registry/models", status=501)
    assert (found["code"], "connections" in found["message"]) == (12, True)


PREDICT = """
def predict(request):
    if request["x"] is None:
        raise ValueError("x is missing")
    return request["x"] * 2
"""


def test_table_is_scored_by_the_build_that_serves(bench: Workbench) -> None:
    project = bench.project("batch", predict__py=PREDICT)
    builds, made, build = bench.model(project, "batch")
    path = bench.deploy(builds, build)
    bench.ask("PUT", f"/projects/{project}/files/in.csv", data=b"x,name\n1,a\n,b\n3,c\n")
    bench.ask("PUT", f"/projects/{project}/files/predict.py", data=b"raise SystemExit('newer')")
    body = {"name": "score", "build_id": build["id"], "arguments": "in.csv out/scored.csv"}
    job = bench.ask("POST", f"/projects/{project}/jobs", body | {"cpu": "0.5"})["id"]
    found = bench.ended(project, job, bench.run(project, job))
    assert found["status"] == "ENGINE_FAILED"
    digest = bench.ask("GET", f"{builds}/{build['id']}")["build_digest"]
    facts = found["facts"]
    assert (facts["rows"], facts["failed"], facts["build"]) == (3, 1, digest)
    text = bench.session.get(f"{bench.url}/api/v2/projects/{project}/files/out/scored.csv").text
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["prediction"] for row in rows] == ["2.0", "", "6.0"]
    assert "x is missing" in rows[1]["error"]
    assert bench.call(made["access_key"], {"x": 3}).json()["response"]["prediction"] == 6

    bench.ask("PUT", f"/projects/{project}/files/in.jsonl", data=b'{"x": 5}\n{"x": "a"}\n')
    run = bench.run(project, job, arguments="in.jsonl out.jsonl")
    assert bench.ended(project, job, run)["status"] == "ENGINE_SUCCEEDED"
    text = bench.session.get(f"{bench.url}/api/v2/projects/{project}/files/out.jsonl").text
    assert [json.loads(line)["prediction"] for line in text.splitlines()] == [10, "aa"]
    bench.ask("POST", f"{path}:stop")
    for extra in ({"script": "x.py"}, {"arguments": "one"}):
        bench.ask("POST", f"/projects/{project}/jobs", body | {"name": "n"} | extra, 400)


OPTION = "--find-links"  # a folder of the project, no index of a site
HEAD = f"--no-index\n{OPTION} wheels\n"


def wheel(place: Path, version: str) -> str:
    """Write a wheel of one module; return its line of a lock."""
    name = f"colour_of_labs-{version}-py3-none-any.whl"
    texts = {
        "colour_of_labs.py": f'COLOUR = "green {version}"\n',
        f"colour_of_labs-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: colour-of-labs\nVersion: {version}\n"
        ),
        f"colour_of_labs-{version}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(
        f"{path},sha256={checksum(text)},{len(text)}\n" for path, text in texts.items()
    )
    place.mkdir(exist_ok=True)
    with zipfile.ZipFile(place / name, "w") as file:
        for path, text in texts.items():
            file.writestr(path, text)
        file.writestr(f"colour_of_labs-{version}.dist-info/RECORD", record)
    digest = hashlib.sha256((place / name).read_bytes()).hexdigest()
    return f"colour-of-labs=={version} --hash=sha256:{digest}\n"


def checksum(text: str) -> str:
    found = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return found.decode().rstrip("=")


COLOUR = """
import colour_of_labs

print(colour_of_labs.COLOUR)

def predict(request):
    return colour_of_labs.COLOUR
"""


def test_locked_requirements_are_an_environment_that_is_made_once(bench: Workbench) -> None:
    project = bench.project("locked", predict__py=COLOUR)
    place = bench.repository / "workbench/projects" / project
    (place / "requirements.lock").write_text(HEAD + wheel(place / "wheels", "1.0"))
    job = bench.job(project, "predict.py")

    def log() -> str:
        run = bench.run(project, job)
        bench.ended(project, job, run)
        path = f"/projects/{project}/jobs/{job}/runs/{run}/logs"
        return str(bench.ask("GET", path)["logs"])

    first = log().splitlines()
    assert (first[0][:12], first[-1]) == ("Environment ", "green 1.0")
    assert log() == "green 1.0\n"
    builds, made, build = bench.model(project, "locked")
    path = bench.deploy(builds, build)
    # A newer lock is another environment; the build keeps the one it was made with.
    (place / "requirements.lock").write_text(HEAD + wheel(place / "wheels", "2.0"))
    assert log().endswith("green 2.0\n")
    bench.ask("POST", f"{path}:restart")
    bench.deployed(path)
    answer = bench.call(made["access_key"], {}).json()["response"]["prediction"]
    assert answer == "green 1.0"
    bench.ask("POST", f"{path}:stop")
    (place / "requirements.lock").write_text(HEAD + "colour-of-labs==2.0\n")
    assert "Lock it with hashes" in log()
    environments = bench.repository / "workbench/environments"
    assert len(list(environments.iterdir())) == 2


BUILT = """
import json, pathlib

TABLE = json.loads((pathlib.Path(__file__).parent / "made/table.json").read_text())

def predict(request):
    return TABLE[request["name"]]
"""
MAKE = """
set -e
mkdir made
echo '{"a": 7}' > made/table.json
ln -s /etc/passwd made/link
echo made a table
"""


def test_build_script_makes_files_that_the_function_reads(bench: Workbench) -> None:
    files = {"predict__py": BUILT, "make__sh": MAKE, "bad__sh": "echo no data; exit 3\n"}
    project = bench.project("script", **files)
    models = f"/projects/{project}/models"
    made = bench.ask("POST", models, {"name": "script"})
    builds = f"{models}/{made['id']}/builds"
    body = {"file_path": "predict.py", "function_name": "predict"}
    ways = {"make.sh": "built", "bad.sh": "build failed", "none.sh": "build failed"}
    begun = {way: bench.ask("POST", builds, body | {"build_script_path": way}) for way in ways}

    def ended(build: Json) -> Json:
        found = bench.ask("GET", f"{builds}/{build['id']}")
        return found if found["status"] != "pending" else None

    found = {way: eventually(way, partial(ended, build), 120) for way, build in begun.items()}
    assert {way: build["status"] for way, build in found.items()} == ways
    assert "made a table" in found["make.sh"]["log"]
    assert found["bad.sh"]["reason"] == (
        "The build script bad.sh ended with 3; mend it and build again."
    )
    assert "Expected the build script none.sh" in found["none.sh"]["reason"]
    digest = found["make.sh"]["build_digest"]
    folder = bench.repository / "workbench/builds" / digest
    assert sorted(path.name for path in (folder / "made").iterdir()) == ["table.json"]
    assert not (bench.repository / "workbench/projects" / project / "made").exists()
    drafts = [path for path in folder.parent.iterdir() if path.name.startswith(".")]
    assert drafts == []
    path = bench.deploy(builds, found["make.sh"])
    assert bench.call(made["access_key"], {"name": "a"}).json()["response"]["prediction"] == 7
    bench.ask("POST", f"{path}:stop")


@pytest.mark.parametrize("path", ["../x.sh", "/etc/x.sh", "a/../../x.sh"])
def test_build_script_outside_the_project_is_refused(bench: Workbench, path: str) -> None:
    project = bench.project(f"outside {path}", predict__py=BUILT)
    made = bench.ask("POST", f"/projects/{project}/models", {"name": "m"})
    body = {"file_path": "predict.py", "function_name": "predict", "build_script_path": path}
    builds = f"/projects/{project}/models/{made['id']}/builds"
    assert "below the project" in bench.ask("POST", builds, body, 400)["message"]
