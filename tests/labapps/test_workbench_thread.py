"""The way of a lab through the workbench: project, job, run, model, build, deployment, call."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.labapps.pods import eventually
from tests.labapps.workbench import Workbench

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

PREDICT = """
from labapps.workbench import track

def predict(request):
    track.metric("size", len(request["values"]))
    return {"sum": sum(request["values"])}

def odd(request):
    import numpy
    return {"array": numpy.zeros(2), "nan": float("nan"), "bytes": b"x"}[request["what"]]
"""


def test_a_lab_walks_from_project_to_metrics(bench: Workbench) -> None:
    script = "from labapps.workbench import track\nimport sys\nprint('args', sys.argv[1:])\n"
    script += "track.publish('rows', 7)\n"
    project = bench.project("DEV", train__py=script, predict__py=PREDICT)
    job = bench.job(project, "train.py")
    run = bench.run(project, job, arguments="--depth '2 3'")
    found = bench.ended(project, job, run)
    assert (found["status"], found["facts"]) == ("ENGINE_SUCCEEDED", {"rows": 7})
    log = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs/{run}/logs?offset=5")
    assert (log["logs"], log["end"]) == ("['--depth', '2 3']\n", True)

    builds, made, build = bench.model(project, "sums", "predict")
    deployments = f"{builds}/{build['id']}/deployments"
    body = {"cpu": "0.5", "memory": 1, "replicas": 2, "environment": {"A": "b"}}
    first = bench.ask("POST", deployments, body)
    assert first["status"] == "pending"
    bench.deployed(f"{deployments}/{first['id']}")
    assert bench.ask("GET", f"{builds}/{build['id']}")["status"] == "built"

    reply = bench.call(made["access_key"], {"values": [1, 2]})
    assert reply.status_code == 200, reply.text
    response = reply.json()["response"]
    assert response["prediction"] == {"sum": 3}
    assert response["model_deployment_crn"] == first["crn"]
    assert bench.call(made["access_key"], {}).status_code == 422
    assert bench.call(made["access_key"], {"values": []}, headers={"Authorization": "Bearer x"}
                      ).status_code == 401  # fmt: skip

    window = {"modelDeploymentCrn": first["crn"]}
    truth = {"predictionUuid": response["uuid"], "metrics": {"truth": 4}}
    assert bench.session.post(f"{bench.url}/track-delayed-metrics", json=truth).ok
    read = bench.session.post(f"{bench.url}/read-metrics", json=window).json()
    rows = {row["predictionUuid"]: row for row in read["metrics"]}
    assert len(rows) == 2
    assert rows[response["uuid"]]["metrics"] == {"size": 2, "truth": 4}

    stopped = bench.ask("POST", f"{deployments}/{first['id']}:stop")
    assert stopped["status"] in ("stopping", "stopped")
    bench.deployed(f"{deployments}/{first['id']}", "stopped")
    assert bench.call(made["access_key"], {"values": []}).status_code == 503


def test_a_killed_service_goes_on_and_nothing_runs_twice(bench: Workbench) -> None:
    script = "import time\nopen('ran', 'a').write('x')\ntime.sleep(3)\n"
    child = "open('child', 'a').write('y')\n"
    project = bench.project("chain", first__py=script, second__py=child)
    first = bench.job(project, "first.py")
    second = bench.job(project, "second.py", parent_job_id=first)
    run = bench.run(project, first, run_key="once")
    bench.end(signal.SIGKILL)
    bench.start()
    assert bench.run(project, first, run_key="once") == run
    assert bench.ended(project, first, run)["status"] == "ENGINE_SUCCEEDED"
    tree = bench.ask("GET", f"/projects/{project}/jobs/{first}/runs/{run}?tree=1")
    (child_run,) = tree["children"]
    assert child_run["parent_run_id"] == run
    assert bench.ended(project, second, child_run["id"])["status"] == "ENGINE_SUCCEEDED"
    folder = bench.repository / "workbench/projects" / project
    assert ((folder / "ran").read_text(), (folder / "child").read_text()) == ("x", "y")


def test_a_run_is_stopped_and_one_that_takes_too_long_times_out(bench: Workbench) -> None:
    project = bench.project("slow", slow__py="import time\nprint('on')\ntime.sleep(600)\n")
    job = bench.job(project, "slow.py", timeout="2")
    run = bench.run(project, job)
    refusal = bench.ask("POST", f"/projects/{project}/jobs/{job}/runs", {}, 400)
    assert refusal["code"] == 9
    assert bench.ended(project, job, run)["status"] == "ENGINE_TIMEDOUT"
    other = bench.job(project, "slow.py", name="stopped")
    run = bench.run(project, other)
    path = f"/projects/{project}/jobs/{other}/runs/{run}"
    eventually("its output", lambda: bench.ask("GET", f"{path}/logs")["logs"])
    bench.ask("POST", f"{path}:stop")
    assert bench.ended(project, other, run)["status"] == "ENGINE_STOPPED"


def test_a_failed_parent_starts_no_child(bench: Workbench) -> None:
    project = bench.project("fails", bad__py="raise SystemExit('no data')\n", child__py="\n")
    bad = bench.job(project, "bad.py")
    child = bench.job(project, "child.py", parent_id=bad)
    run = bench.run(project, bad)
    assert bench.ended(project, bad, run)["status"] == "ENGINE_FAILED"
    log = bench.ask("GET", f"/projects/{project}/jobs/{bad}/runs/{run}/logs")["logs"]
    assert "no data" in log
    assert bench.ask("GET", f"/projects/{project}/jobs/{child}/runs")["job_runs"] == []


def test_what_is_not_json_is_refused_and_the_next_call_is_served(bench: Workbench) -> None:
    project = bench.project("odd", predict__py=PREDICT)
    builds, made, build = bench.model(project, "odd", "odd")
    deployment = bench.ask("POST", f"{builds}/{build['id']}/deployments", {})
    bench.deployed(f"{builds}/{build['id']}/deployments/{deployment['id']}")
    for what in ("array", "nan", "bytes"):
        reply = bench.call(made["access_key"], {"what": what})
        assert (reply.status_code, reply.json()["success"]) == (500, False)
        assert "not JSON" in reply.json()["errors"]
    bench.ask("POST", f"{builds}/{build['id']}/deployments/{deployment['id']}:stop")


def test_a_build_that_does_not_load_says_why_and_the_old_one_serves(bench: Workbench) -> None:
    project = bench.project("swap", predict__py="def predict(request):\n    return 1\n")
    builds, made, build = bench.model(project, "swap", "predict")
    old = bench.ask("POST", f"{builds}/{build['id']}/deployments", {})
    bench.deployed(f"{builds}/{build['id']}/deployments/{old['id']}")

    file = f"/projects/{project}/files/predict.py"
    bench.ask("PUT", file, data=b"import nowhere\n")
    body = {"file_path": "predict.py", "function_name": "predict"}
    bad = bench.ask("POST", builds, body)
    broken = bench.ask("POST", f"{builds}/{bad['id']}/deployments", {})
    found = bench.deployed(f"{builds}/{bad['id']}/deployments/{broken['id']}", "failed")
    assert "No module named 'nowhere'" in found["reason"]
    assert "Traceback" in bench.ask("GET", f"{builds}/{bad['id']}")["log"]
    assert bench.call(made["access_key"], {}).json()["response"]["prediction"] == 1

    bench.ask("PUT", file, data=b"def predict(request):\n    return 2\n")
    good = bench.ask("POST", builds, body)
    new = bench.ask("POST", f"{builds}/{good['id']}/deployments", {})
    answers = []
    path = f"{builds}/{good['id']}/deployments/{new['id']}"
    while bench.ask("GET", path)["status"] != "deployed":
        answers.append(bench.call(made["access_key"], {}))
    answers += [bench.call(made["access_key"], {}) for _ in range(20)]
    assert {reply.status_code for reply in answers} == {200}
    assert answers[-1].json()["response"]["prediction"] == 2
    bench.deployed(f"{builds}/{build['id']}/deployments/{old['id']}", "stopped")
    bench.ask("POST", f"{path}:stop")


def git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", str(folder), *names, *words], check=True, capture_output=True)


WARM = """
CALLS = []

def predict(request):
    CALLS.append(request["name"])
    return CALLS

predict.example = {"name": "example"}
"""


def test_a_function_is_called_with_its_example_before_it_is_ready(bench: Workbench) -> None:
    project = bench.project("warm", predict__py=WARM)
    builds, made, build = bench.model(project, "warm")
    path = bench.deploy(builds, build)
    found = bench.call(made["access_key"], {"name": "first"}).json()["response"]
    assert found["prediction"] == ["example", "first"]
    assert len(bench.rows(found["model_deployment_crn"])) == 1, "the example is nobody's call"
    bench.ask("POST", f"{path}:stop")
    # An example that the function cannot answer is found out by the build.
    text = WARM.replace('{"name": "example"}', '{"nme": "example"}')
    bench.ask("PUT", f"/projects/{project}/files/predict.py", data=text.encode())
    bad = bench.build(builds)

    def ended() -> Any:
        found = bench.ask("GET", f"{builds}/{bad['id']}")
        return found if found["status"] != "pending" else None

    found = eventually("the build to end", ended, 60)
    assert found["status"] == "build failed"
    assert found["reason"] == "The function failed with its own example: KeyError: 'name'"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A git server with a repository: the tag `old`, and what came after it."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for text in ("old", "new"):
        (work / "text").write_text(text)
        git(work, "add", "text")
        git(work, "commit", "-q", "-m", text)
        git(work, "tag", text)
    git(tmp_path, "clone", "-q", "--bare", str(work), "served.git")
    git(tmp_path / "served.git", "update-server-info")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/served.git"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("ref", "text"), [("old", "old"), ("main", "new"), ("", "new")])
def test_project_comes_from_a_git_server_at_a_ref(
    bench: Workbench, repository: str, ref: str, text: str
) -> None:
    body = {"name": f"git {ref}", "template": "git", "git_url": repository, "git_ref": ref}
    made = bench.ask("POST", "/projects", body)
    path = f"/projects/{made['id']}"

    def look() -> Any:
        found = bench.ask("GET", path)
        return found if found["creation_status"] != "creating" else None

    found = eventually("the clone", look, 60)
    assert found["creation_status"] == "success", found
    assert bench.session.get(f"{bench.url}/api/v2{path}/files/text").text == text


def test_project_of_a_ref_that_is_not_there_says_what_git_said(
    bench: Workbench, repository: str
) -> None:
    body = {"name": "git nowhere", "git_url": repository, "git_ref": "nowhere"}
    path = f"/projects/{bench.ask('POST', '/projects', body)['id']}"
    found = eventually(
        "the clone to fail",
        lambda: (one := bench.ask("GET", path))["creation_status"] == "failure" and one,
        60,
    )
    assert "nowhere" in found["creation_error"]
    assert bench.ask("GET", f"{path}/files")["files"] == []


def test_project_begins_with_a_folder_of_the_repository(bench: Workbench) -> None:
    place = bench.repository / "shared" / "start"
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "data").write_text("data")
    (place / "out").symlink_to("/etc")
    number = bench.ask("POST", "/projects", {"name": "of a folder", "folder": "shared/start"})["id"]
    found = bench.ask("GET", f"/projects/{number}/files")["files"]
    assert [one["path"] for one in found] == ["deep"]
    for folder in ("workbench/state", "../..", "nowhere"):
        reply = bench.session.post(
            f"{bench.url}/api/v2/projects", json={"name": "x", "folder": folder}
        )
        assert reply.status_code in (400, 404), reply.text


LEVELS = ("none", "read", "operator", "write", "admin")
NEEDS = {
    "get the project": ("GET", "", "read"),
    "read a file": ("GET", "/files/a.py", "read"),
    "list jobs": ("GET", "/jobs", "read"),
    "start a run": ("POST", "/jobs/{job}/runs", "operator"),
    "write a file": ("PUT", "/files/b.py", "write"),
    "create a job": ("POST", "/jobs", "write"),
    "create a model": ("POST", "/models", "write"),
    "change the project": ("PATCH", "", "admin"),
    "grant a permission": ("PUT", "/collaborators/eve", "admin"),
    "delete the project": ("DELETE", "", "admin"),
}


@pytest.mark.parametrize("held", LEVELS)
def test_permission_opens_what_it_says_and_nothing_above(bench: Workbench, held: str) -> None:
    """Of each permission: every verb of the table is answered, or refused with who can grant it."""
    project = bench.project(f"roles {held}", a__py="print(1)\n")
    job = bench.job(project, "a.py")
    name = f"user-{held}"
    key = bench.ask("POST", f"/users/{name}/v2_keys", {})["api_key"]
    if held != "none":
        grant = {"permission": held}
        bench.ask("PUT", f"/projects/{project}/collaborators/{name}", grant)
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key}"
        for what, (verb, path, level) in NEEDS.items():
            url = f"{bench.url}/api/v2/projects/{project}{path.format(job=job)}"
            body = {"name": what, "script": "a.py", "permission": "read"}
            more = {"data": b"print(2)\n"} if "/files/" in path else {"json": body}
            if path.endswith("/runs"):
                more = {"json": {}}
            reply = session.request(verb, url, timeout=60, **({} if verb == "GET" else more))
            if LEVELS.index(held) >= LEVELS.index(level):
                assert reply.status_code in (200, 400, 409), (what, reply.text)
                assert reply.json().get("code") != 7 if path != "/files/a.py" else True
            else:
                assert reply.status_code == (404 if held == "none" else 403), (what, reply.text)
                if held != "none":
                    assert f"needs {level}" in reply.json()["message"], (what, reply.text)
    if held != "admin":
        assert bench.ask("GET", f"/projects/{project}")["name"] == f"roles {held}"
