"""Start an application as KubeDirector would: a folder for each pod, and a configmeta.json."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

TOKEN = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).parents[2]
CLOCK = time.monotonic
_next_address = iter(range(1, 1 << 16))


def address() -> str:
    """Return a loopback address that no other pod of these tests has."""
    number = next(_next_address)
    own = os.getpid()
    return f"127.{100 + own % 100}.{own // 100 % 250}.{number % 250 + 1}"


def eventually(phrase: str, look: Callable[[], Any], deadline: float = 60.0) -> Any:
    """Look until what is seen is true."""
    end, last = CLOCK() + deadline * Pod.patience, None
    while CLOCK() < end:
        try:
            last = look()
        except OSError as error:
            last = error
        if last and not isinstance(last, Exception):
            return last
        time.sleep(0.02)
    raise AssertionError(f"Waited {deadline:g} s for {phrase}; last seen: {last!r}")


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Engine(Protocol):
    """What starts members in containers."""

    def command(self, pod: Pod, env: dict[str, str]) -> list[str]:
        """Return the command that runs a member until it ends."""

    def send(self, pod: Pod, number: int) -> None:
        """Send a signal to a member's program."""


class Pod:
    """One member: its folder, its address, its process."""

    python = sys.executable
    patience = 1.0  # how much longer than as processes members may take
    engine: Engine | None = None  # what starts it in a container: tests/labapps/containers.py

    def __init__(self, cluster: Cluster, role: str, number: int) -> None:
        self.cluster, self.role, self.number = cluster, role, number
        self.ip = address()
        self.root = cluster.folder / f"{role}-{number}"
        self.log = self.root / "log"
        self.process: subprocess.Popen[bytes] | None = None
        (self.root / "etc/guestconfig").mkdir(parents=True)

    def start(self, **env: str) -> Pod:
        if self.engine is not None:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.engine.command(self, self.cluster.env | env), stdout=log, stderr=log
                )
            return self
        surroundings = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("POD_", "PROJECT_", "JAVA_", "AIRFLOW"))
        }
        surroundings |= {
            "POD_ROOT": str(self.root),
            "POD_LISTEN_IP": self.ip,
            "PROJECT_REPO": str(self.cluster.repository),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.root),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", f"labapps.{self.cluster.app}"],
                env=surroundings | self.cluster.env | env,
                stdout=log,
                stderr=log,
                cwd=self.root,
                start_new_session=True,
            )
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            if self.engine is None:
                self.process.send_signal(number)
            else:
                self.engine.send(self, number)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None
        return code

    def write(self, meta: dict[str, Any]) -> None:
        meta = meta | {
            "node": {
                "role_id": self.role,
                "nodegroup_id": "1",
                "id": str(self.number),
                "hostname": self.ip,
                "fqdn": self.ip,
            }
        }
        path = self.root / "etc/guestconfig/configmeta.json"
        path.with_suffix(".new").write_text(json.dumps(meta))
        path.with_suffix(".new").replace(path)

    def applied(self) -> list[str] | None:
        """Return what the application says about its configuration, once it is in force."""
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"{self.role} ended: {self.log.read_text()[-2000:]}")
        meta = (self.root / "etc/guestconfig/configmeta.json").read_bytes()
        path = self.root / "run/labapps/applied"
        lines = path.read_text().splitlines() if path.exists() else [""]
        return lines if lines[0] == hashlib.md5(meta).hexdigest() else None


class Cluster:
    """A kdcluster without an operator."""

    def __init__(self, folder: Path, app: str, roles: dict[str, int], **env: str) -> None:
        self.folder, self.app, self.env = folder, app, env
        self.repository = folder / "repository"
        self.repository.mkdir(parents=True, exist_ok=True)
        self.services: dict[str, dict[str, int]] = {}
        self.configmaps: dict[str, list[dict[str, Any]]] = {}
        self.secrets: dict[str, list[dict[str, Any]]] = {}
        self.clusters: dict[str, Any] = {}
        self.pods: dict[str, list[Pod]] = {}
        for role, count in roles.items():
            self.pods[role] = [Pod(self, role, n) for n in range(count)]

    def all(self) -> list[Pod]:
        return [pod for pods in self.pods.values() for pod in pods]

    def meta(self) -> dict[str, Any]:
        roles: dict[str, Any] = {}
        for role, pods in self.pods.items():
            hosts = [p.ip for p in pods]
            roles[role] = {
                "services": {
                    "gunicorn": {
                        "authToken": TOKEN,
                        "endpoints": [f"http://{h}:10001" for h in hosts],
                    }
                },
                "node_ids": [str(p.number) for p in pods],
                "hostnames": hosts,
                "fqdns": {"bdvlibrefkey": ["nodegroups", "1", "roles", role, "hostnames"]},
                "fqdn_mappings": {h: str(p.number) for h, p in zip(hosts, pods, strict=True)},
            }
        return {
            "version": "7",
            "nodegroups": {"1": {"roles": roles, "distro_id": self.app}},
            "cluster": {"name": f"test-{self.app}", "id": "1"},
            "connections": {
                "clusters": self.clusters,
                "configmaps": self.configmaps,
                "secrets": self.secrets,
            },
        }

    def write(self) -> None:
        meta = self.meta()
        for pod in self.all():
            pod.write(meta)

    def settle(self, deadline: float = 60.0) -> list[str]:
        """Wait until every pod has applied its configuration; return the complaints."""
        complaints: list[str] = []
        for pod in self.all():
            if pod.process is not None:
                lines = eventually(f"{pod.role} to apply ({pod.log})", pod.applied, deadline)
                complaints += lines[1:]
        return complaints

    def model(self, configmap: str, name: str, version: str, path: str, **more: str) -> None:
        """Connect a model, or replace the one of that ConfigMap."""
        data = {"name": name, "model-version": version, "path": path, "modelType": "kubedirector"}
        data |= {k.replace("_", "-"): v for k, v in more.items()}
        models = [m for m in self.configmaps.get("model", []) if m["metadata"]["name"] != configmap]
        self.configmaps["model"] = [
            *models,
            {"metadata": {"name": configmap}, "data": data, "labels": {}, "annotations": {}},
        ]

    def disconnect(self, configmap: str) -> None:
        self.configmaps["model"] = [
            m for m in self.configmaps["model"] if m["metadata"]["name"] != configmap
        ]

    def secret(self, kind: str, name: str, data: dict[str, str], **labels: str) -> None:
        self.secrets.setdefault(kind, []).append(
            {
                "metadata": {"name": encode(name)},
                "data": {k: encode(v) for k, v in data.items()},
                "labels": {k: encode(v) for k, v in labels.items()},
            }
        )


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """Start every pod, and stop all in the end."""
    cluster.write()
    first = cluster.all()
    try:
        for pod in first:
            pod.start()
        yield cluster
    finally:
        for pod in {*first, *cluster.all()}:
            pod.stop(signal.SIGTERM)


def call(
    url: str,
    body: Any = None,
    token: str | None = TOKEN,
    method: str | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 60.0,
) -> tuple[int, Any]:
    """Ask; return the status and the parsed body."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, method=method)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("X-Auth-Token", token)
    for key, value in (headers or {}).items():
        request.add_header(key, value)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            status, text, kind = reply.status, reply.read(), reply.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            status, text, kind = error.code, error.read(), error.headers["Content-Type"]
    return status, json.loads(text) if "json" in (kind or "") else text.decode()
