"""Pods that others make for a tenant: KubeDirector from a kdcluster, the workbench from a job.

Here the paths are fields of an order, and what makes the pod of it is a part of the platform or an
application of the catalogue. `test_orders.py` plays every trick at each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labsandbox.client import ApiError
from labsandbox.client.resources import EVENTS, KDCLUSTERS, PODS, PVCS, SECRETS
from tests.attack.arena import IMAGE, Arena, Tenant
from tests.attack.tricks import Trick
from tests.attack.ways import LABEL
from tests.labapps.pods import ROOT, address, eventually

Object = dict[str, Any]
_SECONDS = 200.0
STORE, SECRET = "orders", "hpecp-orders"
REPOSITORY = "$POD_ROOT/bd-fs-mnt/project_repo"

# What a kdcluster says of a path.


def _role(**more: Any) -> Object:
    size = {"cpu": "100m", "memory": "128Mi"}
    sizes = {"requests": size, "limits": size}
    return {"id": "server", "members": 1, "resources": sizes, **more}


KDCLUSTER: dict[str, Callable[[str], Object]] = {
    "volumeProjections": lambda path: _role(
        volumeProjections=[{"pvcName": STORE, "mountPath": path}]
    ),
    "secret": lambda path: _role(secret={"name": SECRET, "mountPath": path}),
    "blockStorage": lambda path: _role(
        blockStorage={"storageClassName": "project-repo", "pathPrefix": path, "numDevices": 1}
    ),
    "fileInjections": lambda path: _role(
        fileInjections=[{"srcURL": "https://127.0.0.1:9/x", "destDir": path}]
    ),
    "app": lambda path: _role(podAnnotations={"path": path}, serviceAccountName=path),
}


def kdcluster(name: str, door: str, trick: Trick) -> Object:
    path = trick.path if trick.path.startswith("/") else f"/{trick.path}"
    role = {**KDCLUSTER[door](path), "podLabels": {LABEL: name}}
    app = path if door == "app" else "git-server"
    return {"metadata": {"name": name}, "spec": {"app": app, "roles": [role]}}


def prepare(arena: Arena, tenant: Tenant) -> None:
    """Make the claim and the secret that kdclusters of these tries name."""
    size = {"requests": {"storage": "1Mi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": size}
    claim = {"metadata": {"name": STORE}, "spec": spec}
    secret = {"metadata": {"name": SECRET}, "stringData": {"k": "v"}}
    for resource, obj in ((PVCS, claim), (SECRETS, secret)):
        with contextlib.suppress(ApiError):  # there from an earlier test
            arena.run(tenant.client.create(resource, obj, tenant.namespace))


async def order(tenant: Tenant, obj: Object) -> str:
    """Order a kdcluster and return all that can be seen of it, once it is known what becomes of it.

    A member that is refused leaves a warning; one that runs, or cannot, says so itself.
    """
    client, namespace, name = tenant.client, tenant.namespace, obj["metadata"]["name"]
    try:
        await client.create(KDCLUSTERS, obj, namespace)
    except ApiError as error:
        if error.status not in (400, 403, 404, 422):
            raise
        return f"refused: {error}"
    shown = ""
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                found = await client.get(KDCLUSTERS, name, namespace)
                pods = await client.list(PODS, namespace, labels=f"{LABEL}={name}")
                theirs = {name, *(pod["metadata"]["name"] for pod in pods)}
                events = [
                    event
                    for event in await client.list(EVENTS, namespace)
                    if event["involvedObject"].get("name") in theirs
                ]
                shown = json.dumps([found, pods, events])
                is_known = any(event["type"] == "Warning" for event in events) or any(
                    pod.get("status", {}).get("phase") in ("Running", "Failed") for pod in pods
                )
                if is_known:
                    return shown
                await asyncio.sleep(0.3)
    except TimeoutError as error:
        raise AssertionError(f"Nothing became of {obj} in {_SECONDS} s: {shown}") from error
    finally:
        await client.delete(KDCLUSTERS, name, namespace)


# What the workbench is asked for.


class Workbench:
    """A workbench of a tenant, with its key; it runs beside the platform, not confined to a pod."""

    def __init__(self, arena: Arena, tenant: Tenant) -> None:
        self.tenant, self.host = tenant, address()
        self.repository = arena.state / "projects" / tenant.namespace
        self.log = arena.state.parent / f"workbench-{tenant.user}.log"
        words = ["--kubeconfig", str(tenant.config), "--namespace", tenant.namespace]
        words += ["--repository", str(self.repository), "--host", self.host]
        env = os.environ | {"PYTHONPATH": f"{arena.state}/resolver:{ROOT}"}
        command = [sys.executable, "-m", "labapps.workbench", *words]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def start(self) -> Workbench:
        eventually("the workbench to answer", self._is_up)
        self.key = (self.repository / "workbench/state/workbench/key").read_text().strip()
        return self

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return self.ask("GET", "/health", is_open=True)[0] == 200

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def ask(
        self, verb: str, path: str, body: Any = None, *, is_open: bool = False
    ) -> tuple[int, Any]:
        """Send a path as it is: a library would take its dots out."""
        connection = HTTPConnection(self.host, 10001, timeout=60)
        headers = {} if is_open else {"Authorization": f"Bearer {self.key}"}
        data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else None
        try:
            where = path if is_open else f"/api/v2{path}"
            connection.request(verb, where, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text.decode("latin-1")


def _sent(path: str) -> str:
    """Return a path as it can stand in a request, its dots and signs as they are."""
    return quote(path, safe="/.\\%$()")


def read_file(bench: Workbench, project: str, path: str) -> Any:
    return bench.ask("GET", f"/projects/{project}/files/{_sent(path)}")


def read_quoted_file(bench: Workbench, project: str, path: str) -> Any:
    return bench.ask("GET", f"/projects/{project}/files/{quote(path, safe='')}")


def write_file(bench: Workbench, project: str, path: str) -> Any:
    return bench.ask("PUT", f"/projects/{project}/files/{_sent(path)}", b"taken")


def job(bench: Workbench, project: str, path: str) -> Any:
    body = {"name": "j", "script": path, "cpu": "0.1", "memory": "0.2"}
    return bench.ask("POST", f"/projects/{project}/jobs", body)


def _model(bench: Workbench, project: str, **body: str) -> Any:
    path = f"/projects/{project}/models"
    status, made = bench.ask("POST", path, {"name": secrets.token_hex(4)})
    assert status == 200, made
    body = {"file_path": "predict.py", "function_name": "predict"} | body
    return bench.ask("POST", f"{path}/{made['id']}/builds", body)


def model_file(bench: Workbench, project: str, path: str) -> Any:
    return _model(bench, project, file_path=path)


def model_folder(bench: Workbench, project: str, path: str) -> Any:
    return _model(bench, project, model_root_dir=path)


def project_of_folder(bench: Workbench, project: str, path: str) -> Any:
    folder = path if path.startswith("/") else f"workbench/projects/{project}/{path}"
    return bench.ask("POST", "/projects", {"name": f"of {path}"[:100], "folder": folder})


WORKBENCH: dict[str, Callable[[Workbench, str, str], Any]] = {
    "read a file": read_file,
    "read a quoted file": read_quoted_file,
    "write a file": write_file,
    "script of a job": job,
    "file of a model": model_file,
    "folder of a model": model_folder,
    "project of a folder": project_of_folder,
}


def prepared(name: str, project: str, tricks: list[Trick]) -> Object:
    """Return a pod that puts into a project's folders what tricks need, as the learner may."""
    lines = [f"cd {REPOSITORY}/workbench/projects/{project}"]
    for number, trick in enumerate(tricks):
        lines.append(f"(mkdir t{number} && cd t{number} && {trick.setup or 'true'})")
    one = {"name": "c", "image": IMAGE, "command": ["sh", "-c", "\n".join([*lines, "true"])]}
    return {
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [one]},
    }


def kept_copies(folder: Path, known: list[str]) -> Iterator[str]:
    """Yield the files of a workbench that hold a secret: a copy is as good as an answer."""
    wanted = [secret.encode("latin-1") for secret in known]
    for place, _, names in os.walk(folder / "workbench"):
        for path in (Path(place, name) for name in names):
            if not path.is_symlink() and path.is_file():
                content = path.read_bytes()
                if any(secret in content for secret in wanted):
                    yield str(path)
