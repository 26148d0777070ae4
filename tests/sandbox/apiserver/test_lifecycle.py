"""Starting, stopping and cleaning up after clients; what lies in the state folder."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.sandbox.apiserver.client import Caller, config_map, make_namespace
from tests.sandbox.conftest import ROOT, ApiServer, make_server

pytestmark = pytest.mark.sandbox


def eventually(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    """Wait for a condition; fail with what was waited for."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError(f"expected within {seconds} s: {what}")


def open_watches(call: Caller) -> int:
    _, _, body = call.raw("GET", "/metrics")
    line = next(one for one in body.decode().splitlines() if one.startswith("labsandbox_watches "))
    return int(line.split()[1])


def test_watches_are_forgotten_when_their_clients_leave(fresh_apiserver: ApiServer) -> None:
    call = Caller(fresh_apiserver)
    path = make_namespace(call, "leave")
    callers = [Caller(fresh_apiserver) for _ in range(20)]
    for caller in callers:
        caller.stream(f"{path}?watch=1")
    eventually(lambda: open_watches(call) >= 20, "20 open watches")
    for caller in callers:
        caller.close()
    eventually(lambda: open_watches(call) == 0, "no open watch")


def test_server_stops_while_watches_are_open(own_apiserver: ApiServer) -> None:
    callers = [Caller(own_apiserver) for _ in range(5)]
    for caller in callers:
        assert caller.stream("/api/v1/namespaces?watch=1").status == 200
    assert own_apiserver.process is not None
    own_apiserver.process.terminate()
    assert own_apiserver.process.wait(15) == 0
    assert "Traceback" not in own_apiserver.log


def test_server_ends_with_its_parent() -> None:
    server = make_server()
    program = textwrap.dedent(
        """
        import os, subprocess, sys
        command = [sys.executable, "-m", "labsandbox.apiserver", "--state", sys.argv[1]]
        child = subprocess.Popen([*command, "--parent-pid", str(os.getpid())],
                                 stdout=subprocess.PIPE)
        child.stdout.readline()
        print(child.pid, flush=True)
        os._exit(0)
        """
    )
    try:
        found = subprocess.run(
            [sys.executable, "-c", program, str(server.state)],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        pid = int(found.stdout)
        eventually(lambda: not psutil.pid_exists(pid), "the server has ended")
    finally:
        shutil.rmtree(server.state, ignore_errors=True)


def test_server_ends_when_its_parent_ended_before_it_looked() -> None:
    parent = subprocess.Popen(["true"])
    os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)
    server = make_server()
    command = [sys.executable, "-m", "labsandbox.apiserver", "--state", str(server.state)]
    try:
        ended = subprocess.run([*command, "--parent-pid", str(parent.pid)], cwd=ROOT, timeout=30)
        assert ended.returncode == 0
    finally:
        parent.wait()
        shutil.rmtree(server.state, ignore_errors=True)


def test_private_files_are_private(fresh_apiserver: ApiServer) -> None:
    state = fresh_apiserver.state
    private = [*state.glob("pki/*.key"), state / "admin.conf", *state.glob("kubeconfigs/*.conf")]
    assert len(private) >= 8
    for file in private:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.fixture(scope="module")
def with_tokens() -> Iterator[ApiServer]:
    server = make_server()
    file = server.state / "tokens.csv"
    file.write_text('root-token,root,u1,"system:masters"\nann-token,ann,u2,"dev,ops"\n')
    server.arguments = ("--token-auth-file", str(file))
    yield server.start()
    server.stop()
    shutil.rmtree(server.state, ignore_errors=True)


WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def test_token_file_names_users(with_tokens: ApiServer) -> None:
    status, body = Caller(with_tokens, "ann-token")("POST", WHOAMI, {})
    assert status == 201
    assert body["status"]["userInfo"] == {
        "username": "ann",
        "uid": "u2",
        "groups": ["dev", "ops", "system:authenticated"],
    }
    assert Caller(with_tokens, "other")("POST", WHOAMI, {})[0] == 401


def test_impersonation_needs_the_right_and_changes_everything(with_tokens: ApiServer) -> None:
    headers = {
        "Impersonate-User": "system:serviceaccount:a:b",
        "Impersonate-Extra-Acme.com%2Fproject": "x",
        "Content-Type": "application/json",
    }
    root = Caller(with_tokens, "root-token")
    status, _, raw = root.raw("POST", WHOAMI, b"{}", headers)
    assert status == 201
    info = json.loads(raw)["status"]["userInfo"]
    assert info["username"] == "system:serviceaccount:a:b"
    assert "system:serviceaccounts:a" in info["groups"]
    assert info["extra"] == {"acme.com/project": ["x"]}
    ann = Caller(with_tokens, "ann-token")
    status, _, raw = ann.raw("POST", WHOAMI, b"{}", headers)
    assert status == 403
    assert "cannot impersonate" in json.loads(raw)["message"]


def test_long_answers_are_compressed_when_wanted(fresh_apiserver: ApiServer) -> None:
    call = Caller(fresh_apiserver)
    path = make_namespace(call, "long")
    for number in range(3):
        call("POST", path, config_map(f"c{number}", text="x" * 60_000))
    status, headers, body = call.raw("GET", path, None, {"Accept-Encoding": "gzip"})
    assert status == 200
    assert headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(body))["items"]) == 3
    assert "content-encoding" not in call.raw("GET", path)[1]


def test_kubeconfigs_of_components_sign_in(fresh_apiserver: ApiServer) -> None:
    for name in ("controllers", "node", "kubedirector", "ezmeral", "gateway"):
        config = json.loads((fresh_apiserver.state / "kubeconfigs" / f"{name}.conf").read_text())
        assert config["clusters"][0]["cluster"]["server"] == fresh_apiserver.url
        assert config["users"][0]["user"]["client-certificate-data"]
