"""A whole small platform for the operator's tests: API server, controllers, node, operator."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from labsandbox import node
from labsandbox.client import ApiError, Client, Resource
from labsandbox.client.resources import (
    CONFIGMAPS,
    EVENTS,
    KDAPPS,
    KDCLUSTERS,
    NAMESPACES,
    PODS,
    PVCS,
    SERVICEACCOUNTS,
    SERVICES,
    STATEFULSETS,
)
from tests.sandbox.conftest import ROOT, ApiServer, missing_rights

Object = dict[str, Any]
T = TypeVar("T")
HERE = Path(__file__).parent
DEADLINE = 30.0


class Platform:
    """The programs, started one by one so that each can be killed."""

    def __init__(
        self,
        server: ApiServer,
        catalog: Path = ROOT / "catalog",
        images: Path = HERE / "images" / "images.toml",
    ) -> None:
        self.server, self.catalog, self.images = server, catalog, images
        self.state = server.state
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._runner = asyncio.Runner()
        self.client = self.run(self._connect())

    async def _connect(self) -> Client:
        return Client.from_kubeconfig(self.server.kubeconfig)

    def run(self, work: Any) -> Any:
        """Run a coroutine to its end."""
        return self._runner.run(work)

    def start(self, name: str, *arguments: str) -> None:
        """Start a component as a program."""
        log = (self.state / f"{name}.log").open("ab")
        with log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"labsandbox.{name}", *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def start_operator(self) -> None:
        """Start the operator and wait until its webhook answers."""
        log = self.state / "kubedirector.log"
        before = log.stat().st_size if log.exists() else 0
        self.start(
            "kubedirector",
            *("--kubeconfig", str(self.state / "kubeconfigs" / "kubedirector.conf")),
            *("--ca", str(self.state / "pki"), "--catalog", str(self.catalog), "-v"),
            *("--configure-deadline", "2", "--script-deadline", "2"),
        )
        self.wait(
            lambda: b"kubedirector is ready" in log.read_bytes()[before:], "the operator is ready"
        )

    def start_all(self) -> None:
        """Start everything besides the API server."""
        self.server.grant()
        self.start(
            "controllers",
            *("--kubeconfig", str(self.state / "kubeconfigs" / "controllers.conf")),
            *("--state", str(self.state)),
        )
        self.start_node()
        self.start_operator()

    def start_node(self) -> None:
        """Start the node agent with room for everything."""
        self.start(
            "node",
            *("--state", str(self.state), "--images", str(self.images)),
            *("--allocatable", "cpu=64", "--allocatable", "memory=64Gi"),
            *("--client-ca", str(self.server.ca)),
        )

    def reconnect(self) -> None:
        """Make a new client, after the API server was started again."""
        self.run(self.client.close())
        self.client = self.run(self._connect())

    def kill(self, name: str) -> None:
        """Kill a component as a power cut would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def kill_operator(self) -> None:
        """Kill the operator."""
        self.kill("kubedirector")

    def stop(self) -> None:
        """End everything that was started."""
        self.run(self.client.close())
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(20)
        self.run(node.stop(self.state))
        self._runner.close()
        assert missing_rights(self.state) == [], "see deploy/kubernetes/rights/parts"

    def wait(self, condition: Callable[[], T | None], phrase: str, seconds: float = DEADLINE) -> T:
        """Return the condition's first true value; say what was waited for when it never is."""
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s in vain until {phrase}\n{self.logs()}")
            time.sleep(0.02)

    def logs(self) -> str:
        """Return the end of what the programs wrote, the operator's most of all."""
        found = []
        for name, size in (("controllers", 1500), ("node", 1500), ("kubedirector", 6000)):
            log = self.state / f"{name}.log"
            if log.exists():
                found.append(f"--- {name}\n{log.read_text(errors='replace')[-size:]}")
        return "\n".join(found)

    def make_namespace(self, name: str) -> str:
        """Create a namespace with the platform's apps and the account of a tenant."""
        self.create(NAMESPACES, {"metadata": {"name": name}}, None)
        self.wait(
            lambda: self.find(SERVICEACCOUNTS, "default", name), "the namespace has its account"
        )
        self.create(SERVICEACCOUNTS, {"metadata": {"name": "ecp-tenant-member-sa"}}, name)
        return name

    def create(self, resource: Resource, obj: Object, namespace: str | None) -> Object:
        """Create an object."""
        return dict(self.run(self.client.create(resource, obj, namespace)))

    def find(self, resource: Resource, name: str, namespace: str | None) -> Object | None:
        """Return an object or None."""
        try:
            return dict(self.run(self.client.get(resource, name, namespace)))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    def patch(
        self, resource: Resource, name: str, namespace: str, patch: Any, **options: Any
    ) -> Object:
        """Change an object by a merge patch."""
        return dict(self.run(self.client.patch(resource, name, namespace, patch, **options)))

    def cluster(self, name: str, namespace: str) -> Object:
        """Return a kdcluster."""
        return dict(self.run(self.client.get(KDCLUSTERS, name, namespace)))

    def state_of(self, name: str, namespace: str) -> str:
        """Return the state of a kdcluster."""
        return str((self.cluster(name, namespace).get("status") or {}).get("state", ""))

    def wait_configured(self, name: str, namespace: str, seconds: float = DEADLINE) -> Object:
        """Wait until a kdcluster has taken in its spec and is configured."""

        def look() -> Object | None:
            found = self.cluster(name, namespace)
            status = found.get("status") or {}
            seen = status.get("observedGeneration") == found["metadata"]["generation"]
            return found if seen and status.get("state") == "configured" else None

        try:
            return self.wait(look, f"{name} is configured", seconds)
        except AssertionError as error:
            seen = json.dumps(self.cluster(name, namespace), indent=1)
            told = "\n".join(self.events(namespace, name))
            raise AssertionError(f"{error}\n{seen}\n{told}") from None

    def events(self, namespace: str, name: str | None = None) -> list[str]:
        """Return what happened, as "reason: message"."""
        found = self.run(self.client.list(EVENTS, namespace))
        return [
            f"{event.get('reason')}: {event.get('message')}"
            for event in found
            if event["source"].get("component") == "kubedirector"
            and name in (None, event["involvedObject"]["name"])
        ]

    def pods(self, namespace: str) -> list[Object]:
        """Return the pods of a namespace."""
        return list(self.run(self.client.list(PODS, namespace)))

    def shell(self, namespace: str, pod: str, text: str) -> str:
        """Run a shell command in a member and return what it printed."""
        result = self.run(
            self.client.exec(namespace, pod, ["/bin/sh", "-c", text], container="app")
        )
        return str(result.stdout.decode())

    def calls(self, namespace: str, pod: str) -> list[str]:
        """Return how a member's start script was called."""
        return self.shell(namespace, pod, 'cat "$POD_ROOT/calls"').splitlines()

    def kubectl(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator."""
        return subprocess.run(
            ["kubectl", *words],
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, "KUBECONFIG": str(self.server.kubeconfig)},
        )

    def make_app(self, namespace: str, name: str = "test", **changes: Any) -> None:
        """Create a small app with two roles in a namespace."""
        spec: Object = {
            "label": {"name": "Test"},
            "distroID": "test/app",
            "version": "1.0",
            "configSchemaVersion": 7,
            "defaultImageRepoTag": "test/app:1.0",
            "defaultConfigPackage": {"packageURL": "file:///opt/configscript/app.tgz"},
            "services": [
                {
                    "id": "web",
                    "endpoint": {"port": 8000, "urlScheme": "http", "hasAuthToken": True},
                }
            ],
            "roles": [{"id": "one", "cardinality": "1"}, {"id": "many", "cardinality": "0+"}],
            "config": {
                "selectedRoles": ["one"],
                "roleServices": [{"roleID": "one", "serviceIDs": ["web"]}],
            },
        }
        self.create(KDAPPS, {"metadata": {"name": name}, "spec": spec | changes}, namespace)

    def make_cluster(
        self, name: str, namespace: str, *, many: int = 0, behaviour: str = "", **spec: Any
    ) -> Object:
        """Create a kdcluster of the small app."""
        amounts = {"cpu": "10m", "memory": "32Mi"}
        env = [{"name": "BEHAVIOUR", "value": behaviour}] if behaviour else []
        more = spec.pop("role", {})
        role = {"resources": {"limits": amounts, "requests": amounts}, "env": env, **more}
        roles = [{"id": "one", "members": 1, **role}, {"id": "many", "members": many, **role}]
        body = {"app": "test", "namingScheme": "CrNameRole", "roles": roles, **spec}
        return self.create(KDCLUSTERS, {"metadata": {"name": name}, "spec": body}, namespace)

    def make_configmap(self, name: str, namespace: str, *, kind: str | None = "model") -> Object:
        """Create a ConfigMap that a kdcluster can connect to."""
        labels = {"kubedirector.hpe.com/cmType": kind} if kind else {}
        body = {"metadata": {"name": name, "labels": labels}, "data": {"model-version": "1"}}
        return self.create(CONFIGMAPS, body, namespace)

    def patch_roles(self, name: str, namespace: str, roles: list[Object]) -> None:
        """Change the roles of a kdcluster."""
        self.patch(KDCLUSTERS, name, namespace, {"spec": {"roles": roles}})

    def delete_cluster(self, name: str, namespace: str) -> None:
        """Delete a kdcluster."""
        self.run(self.client.delete(KDCLUSTERS, name, namespace))

    def is_empty(self, namespace: str) -> bool:
        """Say whether nothing that belongs to kdclusters is left in a namespace."""
        kinds = (KDCLUSTERS, STATEFULSETS, PODS, SERVICES, PVCS)
        return not any(self.run(self.client.list(kind, namespace)) for kind in kinds)

    def count_pod_folders(self) -> int:
        """Return how many pods the node keeps folders of."""
        return sum(1 for _ in (self.state / "node" / "pods").glob("*"))

    @contextlib.contextmanager
    def serve(self, text: str) -> Iterator[str]:
        """Serve a text over HTTP; yield its URL."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(text.encode())

            do_HEAD = do_GET

            def log_message(self, format: str, *words: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/file.txt"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
