"""The notebook server as a learner's browser and kernels see it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import websocket

from tests.labapps.pods import TOKEN, Cluster, running
from tests.terminal import program

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]
PASSWORD = "correct horse"
USER = {"kubedirector.hpe.com/username": "student1"}
KUBECONFIG = "apiVersion: v1\nkind: Config\n"


class FrontDoor(BaseHTTPRequestHandler):
    """The one call of the platform that checks a password."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = (body["name"], body["password"], body["tenant_name"])
        self.send_response(201 if known == ("student1", PASSWORD, "K8sMLTenant") else 401)
        self.send_header("Location", "/api/v2/session/1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture(scope="module")
def front_door() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FrontDoor)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def git(*arguments: str, cwd: Path) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory, front_door: str) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("notebook")
    upstream = folder / "upstream"
    upstream.mkdir()
    git("init", "-q", "-b", "main", ".", cwd=upstream)
    (upstream / "lab.txt").write_text("hello")
    git("add", ".", cwd=upstream)
    git("commit", "-q", "-m", "One", cwd=upstream)
    cluster = Cluster(folder, "notebook", {"controller": 1})
    cluster.secret("kubeconfig", "kc-student1", {"config": KUBECONFIG}, **USER)
    cluster.secret("ext-auth", "ext", {"url": front_door, "tenant": "K8sMLTenant"})
    source = {"repoURL": str(upstream), "branch": "main", "username": "ann", "token": "t0ken"}
    cluster.secret("source-control", "my-source", source)
    cluster.secret("source-control", "gone", {"repoURL": str(folder / "nowhere")})
    master = {
        "hostnames": ["m.example.invalid"],
        "fqdns": ["m.example.invalid"],
        "services": {"spark-master": {"endpoints": ["spark://m.example.invalid:7077"]}},
    }
    engine = {"nodegroups": {"1": {"config_metadata": {"ml_engine": "python"}}}}
    cluster.clusters = {
        "training-engine-shared": engine,
        "spark": {"nodegroups": {"1": {"roles": {"master": master}}}},
    }
    with running(cluster):
        complaints = cluster.settle()
        assert len(complaints) == 1
        assert "gone" in complaints[0]
        yield cluster


def base(cluster: Cluster) -> str:
    return f"http://{cluster.pods['controller'][0].ip}:8000"


def home(cluster: Cluster) -> Path:
    return cluster.pods["controller"][0].root / "home/student1"


@pytest.mark.on_host
def test_terminal_finds_the_programs_beside_python(notebook: Cluster) -> None:
    (home(notebook) / ".bashrc").write_text("PATH=/usr/bin:/bin\n")
    for name in ("labs", "labsandbox"):
        found = program(base(notebook), TOKEN, name)
        assert found == str(Path(sys.executable).with_name(name))


def test_notebook_opens_with_its_token_alone(notebook: Cluster) -> None:
    url = f"{base(notebook)}/api/contents"
    assert requests.get(url, timeout=30).status_code == 403
    assert requests.get(url, params={"token": "f" * 32}, timeout=30).status_code == 403
    assert requests.get(url, params={"token": TOKEN}, timeout=30).status_code == 200
    page = requests.get(f"{base(notebook)}/lab", params={"token": TOKEN}, timeout=30)
    assert "JupyterLab" in page.text


@pytest.mark.parametrize(("password", "enters"), [(PASSWORD, True), ("wrong", False)])
def test_owner_enters_by_the_platforms_password(
    notebook: Cluster, password: str, enters: bool
) -> None:
    with requests.Session() as session:
        session.get(f"{base(notebook)}/login", timeout=30)
        form = {"password": password, "_xsrf": session.cookies["_xsrf"]}
        session.post(
            f"{base(notebook)}/login",
            data=urlencode(form),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=30,
        )
        status = session.get(f"{base(notebook)}/api/contents", timeout=30).status_code
        assert (status == 200) is enters


def test_sign_in_page_says_whose_password_it_asks_for(notebook: Cluster) -> None:
    page = requests.get(f"{base(notebook)}/login", timeout=30)
    assert page.status_code == 200
    assert "notebook of <strong>student1</strong>" in page.text
    assert "jupyter server list" not in page.text, "Jupyter's own help is for whoever started it"


def test_kernels_know_the_platform_and_their_owner(notebook: Cluster, front_door: str) -> None:
    known = json.loads((home(notebook) / ".notebook/environment.json").read_text())
    assert (known["EZMERAL_URL"], known["EZMERAL_USER"]) == (front_door, "student1")
    assert known["EZMERAL_TENANT"] == "K8sMLTenant"


@pytest.mark.on_host
def test_home_has_kubeconfig_repository_and_clone(notebook: Cluster) -> None:
    kubeconfig = home(notebook) / ".kube/config"
    assert kubeconfig.read_text() == KUBECONFIG
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    assert os.readlink(home(notebook) / "project_repo") == str(notebook.repository)
    clone = notebook.pods["controller"][0].root / "source_control/my-source"
    assert (clone / "lab.txt").read_text() == "hello"
    assert "t0ken" not in (clone / ".git/config").read_text()
    (clone / "new.txt").write_text("x")
    git("add", ".", cwd=clone)
    subprocess.run(["git", "commit", "-q", "-m", "Two"], cwd=clone, check=True)
    filled = subprocess.run(
        ["git", "credential", "fill"],
        cwd=clone,
        input="protocol=https\nhost=example.invalid\n\n",
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},
    )
    assert "password=t0ken" in filled.stdout


def test_secrets_stay_out_of_the_log(notebook: Cluster) -> None:
    text = notebook.pods["controller"][0].log.read_text()
    for secret in (TOKEN, "t0ken", PASSWORD):
        assert secret not in text


def run_code(cluster: Cluster, code: str) -> str:
    """Run code in a new kernel, as a browser behind a gateway that ends TLS would."""
    headers = {"Authorization": f"token {TOKEN}", "X-Forwarded-Proto": "https"}
    api = f"{base(cluster)}/api/kernels"
    kernel = requests.post(api, headers=headers, json={}, timeout=60).json()["id"]
    address = f"{api.replace('http', 'ws')}/{kernel}/channels?token={TOKEN}"
    sock = websocket.create_connection(
        address, timeout=60, host="gateway.example:10010", origin="https://gateway.example:10010"
    )
    try:
        header = {"msg_id": "1", "msg_type": "execute_request", "version": "5.3", "session": "s"}
        content = {"code": code, "silent": False, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        sock.send(json.dumps(message | {"channel": "shell"}))
        printed = ""
        # What is printed travels another way than the reply and may come after it; the kernel's
        # "idle" travels behind what is printed.
        awaited = {"execute_reply", "idle"}
        while awaited:
            reply = json.loads(sock.recv())
            if reply["parent_header"].get("msg_id") != "1":
                continue
            if reply["msg_type"] == "stream":
                printed += reply["content"]["text"]
            if reply["msg_type"] == "error":
                printed += "\n".join(reply["content"]["traceback"])
            awaited -= {reply["msg_type"], reply["content"].get("execution_state")}
        return printed
    finally:
        sock.close()
        requests.delete(f"{api}/{kernel}", headers=headers, timeout=30)


@pytest.mark.on_host
def test_new_kernels_know_what_is_connected_now(notebook: Cluster) -> None:
    code = "import os; print(os.environ.get('SPARK_MASTER'), os.getcwd(), os.environ['KUBECONFIG'])"
    printed = run_code(notebook, code)
    assert printed.split() == [
        "spark://m.example.invalid:7077",
        str(home(notebook)),
        str(home(notebook) / ".kube/config"),
    ]
    del notebook.clusters["spark"]
    notebook.write()
    notebook.settle()
    assert run_code(notebook, code).startswith("None ")


def test_magics_are_loaded_for_the_connected_clusters(notebook: Cluster) -> None:
    code = (
        "ip = get_ipython()\nprint(ip.find_line_magic('attachments') is not None, "
        "ip.find_line_magic('logs') is not None, "
        "ip.find_cell_magic('trainingengineshared') is not None)"
    )
    assert run_code(notebook, code).split() == ["True", "True", "True"]
