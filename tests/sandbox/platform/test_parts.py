"""The parts of the platform as programs of their own, against an API server that knows none."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from labsandbox import node, ports
from labsandbox.ezmeral import webhook
from labsandbox.state import State
from tests.sandbox.conftest import ROOT, ApiServer
from tests.sandbox.platform.program import family, until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

PARTS = ("controllers", "kubedirector", "node", "gateway", "ezmeral")
POD = "10.244.201.7"


class Parts:
    """The programs, each with the kubeconfig the API server wrote for it."""

    def __init__(self, folder: Path) -> None:
        self.state = State.at(folder)
        self.state.make()
        self.port = ports.choose()
        config = webhook.config_file(self.state, "127.0.0.1", self.port)
        option = "--authentication-token-webhook-config-file"
        self.server = ApiServer(folder, (option, str(config)))
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *words: str) -> None:
        """Start a part."""
        known = ("--kubeconfig", str(self.state.kubeconfig(name)))
        with (self.state.logs / f"{name}.log").open("ab") as log:
            self._programs.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"labsandbox.{name}", *known, *words],
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
            )

    def log(self, name: str) -> str:
        return (self.state.logs / f"{name}.log").read_text()

    def close(self) -> None:
        refused = [name for name in PARTS if "is forbidden" in self.log(name)]
        for program in self._programs:
            program.terminate()
        codes = [program.wait(30) for program in self._programs]
        asyncio.run(node.stop(self.state.root))  # pods outlive the node agent on purpose
        self.server.stop()
        assert family(self.state.root) == []
        assert refused == [], "a part lacks a right, or asks for what it does not need"
        assert codes == [0] * len(codes), [
            self.log(path.stem) for path in self.state.logs.iterdir()
        ]

    def client(self, part: str) -> Callable[..., requests.Response]:
        """Return a way to ask the API as a part, with the certificate of its kubeconfig."""
        return self._asking(f"part-{part}")

    def api(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask the API as its administrator."""
        return self._asking("client-kubernetes-admin")(method, path, body)

    def _asking(self, stem: str) -> Callable[..., requests.Response]:
        pair = tuple(str(self.state.pki / f"{stem}.{end}") for end in ("crt", "key"))

        def ask(method: str, path: str, body: Any = None) -> requests.Response:
            return requests.request(
                method,
                self.server.url + path,
                json=body,
                cert=pair,
                verify=str(self.state.ca),
                timeout=30,
            )

        return ask


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    made = Parts(tmp_path_factory.mktemp("parts"))
    made.server.start().grant()
    try:
        state, pki = str(made.state.root), str(made.state.pki)
        catalog = str(ROOT / "catalog")
        made.start("node", "--state", state, "--allocatable", "cpu=64")
        made.start("controllers", "--state", state)
        made.start("kubedirector", "--ca", pki, "--catalog", catalog)
        made.start("gateway", "--ca", pki, "--pods-on-loopback")
        made.start("ezmeral", "--state", state, "--port", str(made.port), "--catalog", catalog)
        yield made
    finally:
        made.close()


def test_front_door_alone_signs_a_learner_in(parts: Parts) -> None:
    until(
        "tenants and catalogue are ready",
        lambda: "Tenants and catalogue are ready" in parts.log("ezmeral"),
    )
    url, ca = f"https://127.0.0.1:{parts.port}", str(parts.state.ca)
    password = (parts.state.ezmeral / "passwords" / "student1").read_text()
    body = {"name": "student1", "password": password, "tenant_name": "K8sMLTenant"}
    session = requests.post(f"{url}/api/v2/session", json=body, verify=ca, timeout=20)
    headers = {"X-BDS-SESSION": session.headers["Location"]}
    made = requests.get(f"{url}/api/v2/k8stoken", headers=headers, verify=ca, timeout=20).json()
    seen = requests.get(
        f"{parts.server.url}/apis/kubedirector.hpe.com/v1beta1/namespaces/k8smltenant/"
        "kubedirectorapps",
        headers={"Authorization": f"Bearer {made['token']}"},
        verify=ca,
        timeout=20,
    )
    assert seen.status_code == 200, seen.text
    assert "jupyter-notebook" in {item["metadata"]["name"] for item in seen.json()["items"]}


@contextlib.contextmanager
def a_pod_that_answers(text: str) -> Iterator[int]:
    """Serve a text where the pod with the address above listens; yield the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *words: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer((f"127{POD[2:]}", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("part", PARTS)
def test_part_is_nobody_special_and_may_not_do_what_others_do(parts: Parts, part: str) -> None:
    client = parts.client(part)
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    user = client("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review).json()
    info = user["status"]["userInfo"]
    assert (info["username"], info["groups"]) == (f"labsandbox:{part}", ["system:authenticated"])
    role = {"metadata": {"name": "mine"}, "rules": []}
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    assert client("POST", roles, role).status_code == 403
    may_read = client("GET", "/api/v1/secrets").status_code == 200
    assert may_read is (part in ("controllers", "node", "kubedirector"))
    may_bind = client("POST", "/api/v1/namespaces/default/pods/x/binding", {}).status_code != 403
    assert may_bind is (part == "node")


def test_front_door_hands_out_the_roles_of_people_and_no_other(parts: Parts) -> None:
    client, group = parts.client("ezmeral"), "rbac.authorization.k8s.io"
    for role, expected in (("hpecp-member", 201), ("cluster-admin", 403)):
        binding = {
            "metadata": {"name": f"try-{role}"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "somebody"}],
        }
        path = f"/apis/{group}/v1/namespaces/default/rolebindings"
        assert client("POST", path, binding).status_code == expected


def test_gateway_alone_serves_a_labelled_service(parts: Parts) -> None:
    name = "web"
    with a_pod_that_answers("hello from a pod") as port:
        label = {"hpecp.hpe.com/hpecp-internal-gateway": "true"}
        service = {
            "metadata": {"name": name, "labels": label},
            "spec": {"ports": [{"name": "http-web", "port": 80}]},
        }
        piece = {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http-web", "port": port}],
            "endpoints": [{"addresses": [POD], "conditions": {"ready": True}}],
        }
        place = "/namespaces/default"
        made = parts.api("POST", f"/api/v1{place}/services", service)
        assert made.status_code == 201, made.text
        made = parts.api("POST", f"/apis/discovery.k8s.io/v1{place}/endpointslices", piece)
        assert made.status_code == 201, made.text

        def address() -> str:
            found = parts.api("GET", f"/api/v1{place}/services/{name}").json()
            notes = found["metadata"].get("annotations") or {}
            return str(notes.get("hpecp-internal-gateway/80", ""))

        until("the service has a gateway port", address)
        answer = requests.get(f"https://{address()}/", verify=str(parts.state.ca), timeout=20)
        assert answer.text == "hello from a pod"
