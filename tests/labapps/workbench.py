"""A workbench on a small real cluster: API server, controllers, node, and the service beside it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from labsandbox.bootstrap import METRICS
from labsandbox.client.resources import APISERVICES
from tests.labapps.pods import ROOT, address, eventually
from tests.sandbox.cluster import Cluster
from tests.sandbox.conftest import ApiServer
from tests.sandbox.platform.program import until
from tests.sandbox.platform.test_front_door import kubectl

FINAL = {"SUCCEEDED", "FAILED", "STOPPED", "TIMEDOUT", "SKIPPED", "UNKNOWN"}
Json = Any
EXAMPLE = ROOT / "catalog" / "workbench" / "example.yaml"


class Service:
    """The API of a workbench as a client sees it."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self.url, self.session = url, session

    def ask(self, verb: str, path: str, body: Json = None, status: int = 200, **more: Any) -> Json:
        """Send a request below /api/v2 and return its answer."""
        if body is not None:
            more["json"] = body
        reply = self.session.request(verb, f"{self.url}/api/v2{path}", timeout=60, **more)
        assert reply.status_code == status, f"{verb} {path}: {reply.status_code} {reply.text}"
        return reply.json()

    def call(self, access_key: str, request: Json, **more: Any) -> requests.Response:
        body = {"accessKey": access_key, "request": request}
        return self.session.post(f"{self.url}/model", json=body, timeout=60, **more)

    def project(self, name: str, **files: str) -> str:
        """Make a project with these files; `__` in a name is a dot."""
        number = self.ask("POST", "/projects", {"name": name})["id"]
        for file, text in files.items():
            path = f"/projects/{number}/files/{file.replace('__', '.')}"
            self.ask("PUT", path, data=text.encode())
        return str(number)

    def job(self, project: str, script: str, **more: Any) -> str:
        body = {"name": script, "script": script, "cpu": "0.5", "memory": "0.5"} | more
        return str(self.ask("POST", f"/projects/{project}/jobs", body)["id"])

    def run(self, project: str, job: str, **body: Any) -> str:
        return str(self.ask("POST", f"/projects/{project}/jobs/{job}/runs", body)["id"])

    def ended(self, project: str, job: str, run: str, query: str = "") -> Json:
        path = f"/projects/{project}/jobs/{job}/runs/{run}"

        def look() -> Json:
            found = self.ask("GET", path + query)
            return found if found["status"].removeprefix("ENGINE_") in FINAL else None

        return eventually(f"run {run} to end", look, 60)

    def model(self, project: str, name: str, function: str = "predict") -> tuple[str, Json, Json]:
        """Make a model of predict.py with a build; return the builds' path, itself, the build."""
        path = f"/projects/{project}/models"
        made = self.ask("POST", path, {"name": name})
        builds = f"{path}/{made['id']}/builds"
        return builds, made, self.build(builds, function)

    def build(self, builds: str, function: str = "predict") -> Json:
        body = {"file_path": "predict.py", "function_name": function}
        return self.ask("POST", builds, body)

    def deploy(self, builds: str, build: Json, status: str = "deployed", **body: Json) -> str:
        """Deploy a build; return the deployment's path when it has this status."""
        path = f"{builds}/{build['id']}/deployments"
        body = {"cpu": "0.5", "memory": "0.5"} | body
        path = f"{path}/{self.ask('POST', path, body)['id']}"
        self.deployed(path, status)
        return path

    def rows(self, crn: str) -> list[Json]:
        """Return the metrics of all calls of a deployment."""
        found: list[Json] = []
        body = {"modelDeploymentCrn": crn, "page_size": 10_000}
        while True:
            page = self.session.post(f"{self.url}/read-metrics", json=body, timeout=60).json()
            found += page["metrics"]
            if not page["next_page_token"]:
                return found
            body["page_token"] = page["next_page_token"]

    def deployed(self, path: str, status: str = "deployed") -> Json:
        def look() -> Json:
            found = self.ask("GET", path)
            if found["status"] in ("failed", "deployed", "stopped"):
                return found
            return None

        found = eventually(f"{path} to be {status}", look, 240)
        assert found["status"] == status, found
        return found


class Callers:
    """Many callers of a model, one call after the other each, until they are told to stop."""

    def __init__(self, bench: Service, access_key: str, count: int = 32) -> None:
        self.bench, self.key, self.count = bench, access_key, count
        self.answers: list[tuple[int, Json]] = []
        self.broken = 0
        self.over = threading.Event()

    def __enter__(self) -> Callers:
        self.threads = [threading.Thread(target=self._call) for _ in range(self.count)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _call(self) -> None:
        with requests.Session() as session:
            session.headers.update(self.bench.session.headers)
            caller = Service(self.bench.url, session)
            while not self.over.is_set():
                try:
                    reply = caller.call(self.key, {"values": [1, 2]})
                except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                    # Nothing was acknowledged; an ordinary client asks again.
                    self.broken += 1
                    self.over.wait(0.05)
                else:
                    self.answers.append((reply.status_code, reply.json()))

    def after(self, count: int) -> None:
        """Wait until there are so many more answers."""
        wanted = len(self.answers) + count
        eventually(f"{count} more answers", lambda: len(self.answers) >= wanted, 60)

    def judge(self) -> list[Json]:
        """Assert that no call failed and that each answer is a row of the metrics; return them."""
        failed = [answer for answer in self.answers if answer[0] != 200]
        assert failed == [], failed[:3]
        found = [answer["response"] for _, answer in self.answers]
        for crn in {one["model_deployment_crn"] for one in found}:
            answered = {one["uuid"] for one in found if one["model_deployment_crn"] == crn}
            rows = [row["predictionUuid"] for row in self.bench.rows(crn)]
            assert len(rows) == len(set(rows))
            assert answered - set(rows) == set(), "metrics of answered calls are lost"
            if not self.broken:
                assert len(rows) == len(answered)
        return found


class Workbench(Service):
    """The service as a process beside a small cluster."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        folder: Path,
        env: dict[str, str] | None = None,
    ) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.env = env or {}
        self.repository = cluster.state / "projects" / namespace
        self.repository.mkdir(parents=True, exist_ok=True)
        self.host = address()
        super().__init__(f"http://{self.host}:10001", requests.Session())
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Workbench:
        words = ["--kubeconfig", str(self.cluster.server.kubeconfig), "--host", self.host]
        words += ["--namespace", self.namespace, "--repository", str(self.repository)]
        hook = self.cluster.state / "resolver" / "sitecustomize.py"
        eventually("the node to write its resolver", hook.exists)
        with (self.folder / "workbench.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "labapps.workbench", *words],
                env={
                    **os.environ,
                    **self.env,
                    "PYTHONPATH": f"{self.cluster.state}/resolver:{ROOT}",
                },
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        eventually("the workbench to answer", lambda: self.is_up(), 60)
        key = (self.repository / "workbench/state/workbench/key").read_text()
        self.session.headers["Authorization"] = f"Bearer {key}"
        return self

    def is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "workbench.log").read_text()[-3000:])
        return requests.get(f"{self.url}/health", timeout=5).ok

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


@contextlib.contextmanager
def beside_a_cluster(
    folder: Path, *node: str, env: dict[str, str] | None = None
) -> Iterator[Workbench]:
    """Start a small cluster whose pods' use can be asked for, and a workbench beside it."""
    for name in ("api", "bench"):
        (folder / name).mkdir()
    cluster = Cluster(ApiServer(folder / "api").start())
    try:
        cluster.start("controllers")
        cluster.create(APISERVICES, METRICS)
        cluster.start("node", "--allocatable", "cpu=64", "--allocatable", "memory=64Gi", *node)
        made = Workbench(cluster, cluster.namespace("bench"), folder / "bench", env)
        try:
            yield made.start()
        finally:
            made.end()
    finally:
        cluster.close()


def ask(config: Path, *words: str) -> str:
    """Run kubectl as a learner; return what it prints."""
    done = kubectl(config, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def order(env: dict[str, str], config: Path, session: requests.Session) -> Service:
    """Order the example of the catalogue; return it where the gateway says."""
    ask(config, "apply", "-f", str(EXAMPLE))
    what = ("get", "kubedirectorcluster", "workbench", "-o", "jsonpath={.status.state}")
    until("the workbench to be configured", lambda: ask(config, *what) == "configured", 120)
    selector = "kubedirector.hpe.com/kdcluster=workbench"
    notes: dict[str, str] = {}
    for service in json.loads(ask(config, "get", "service", "-l", selector, "-o", "json"))["items"]:
        notes |= service["metadata"].get("annotations") or {}
    session.trust_env, session.verify = False, env["GATEWAY_CA"]
    token = notes["kubedirector.hpe.com/kd-auth-token"]
    session.headers["Authorization"] = f"Bearer {token}"
    return Service(f"https://{notes['hpecp-internal-gateway/10001']}", session)


def pids(uid: str) -> list[int]:
    """Return the processes of a pod; its files lie below its uid."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if uid.encode() in environ and b"labapps.workbench." in command:
                found.append(int(entry.name))
    return found
