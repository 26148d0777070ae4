"""Names of pods and services, in files and in Python's resolver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labsandbox.node import addresses, resolver

from .samples import make_pod

pytestmark = pytest.mark.fast


def pod(name: str, address: str, ready: bool = True) -> dict[str, Any]:
    found = make_pod(name, hostname=name, subdomain="db")
    found["metadata"]["labels"] = {"app": "w"}
    state = [{"type": "Ready", "status": str(ready)}]
    found["status"] = {"podIP": address, "conditions": state}
    return found


def service(name: str = "db", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "t"},
        "spec": {"selector": {"app": "w"}, **spec},
    }


def test_names_of_ready_pods_and_their_service() -> None:
    pods = [pod("db-0", "10.244.7.2"), pod("db-1", "10.244.7.3", ready=False)]
    assert resolver.names(pods, [service()]) == [
        ("db-0.db.t.svc.cluster.local", "127.244.7.2"),
        ("db.t.svc.cluster.local", "127.244.7.2"),
    ]
    everybody = resolver.names(pods, [service(publishNotReadyAddresses=True)])
    assert ("db-1.db.t.svc.cluster.local", "127.244.7.3") in everybody


def test_hosts_file_begins_with_the_machines_own() -> None:
    text = resolver.hosts_file(
        [("a.b.t.svc.cluster.local", "127.244.7.2")], "127.0.0.1 localhost\n"
    )
    assert text.startswith("127.0.0.1 localhost\n")
    assert text.endswith("127.244.7.2 a.b.t.svc.cluster.local\n")


def test_curlrc_sends_a_name_to_its_first_address() -> None:
    entries = [("x.t.svc.cluster.local", "127.244.7.2"), ("x.t.svc.cluster.local", "127.244.7.3")]
    assert resolver.curlrc(entries) == 'connect-to = "x.t.svc.cluster.local::127.244.7.2:"\n'


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("db-0.db.t.svc.cluster.local", "127.244.7.2"),
        ("db-0.db.t.svc", "127.244.7.2"),
        ("db-0.db", "127.244.7.2"),
        ("127.0.0.1", "127.0.0.1"),
        ("no.such.t.svc.cluster.local", "error"),
    ],
)
def test_hook_answers_cluster_names_and_nothing_else(
    tmp_path: Path, name: str, expected: str
) -> None:
    hook = Path(resolver.__file__).with_name("hook.py")
    (tmp_path / "sitecustomize.py").write_bytes(hook.read_bytes())
    (tmp_path / "hosts").write_text("127.244.7.2 db-0.db.t.svc.cluster.local\n")
    program = (
        "import socket, sys\n"
        "try: print(socket.getaddrinfo(sys.argv[1], 80)[0][4][0])\n"
        "except OSError: print('error')"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "LABSANDBOX_NAMESPACE": "t"}
    done = subprocess.run(
        [sys.executable, "-c", program, name], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


def test_hook_runs_the_sitecustomize_it_hides(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    hook = Path(resolver.__file__).with_name("hook.py")
    (ours / "sitecustomize.py").write_bytes(hook.read_bytes())
    (theirs / "sitecustomize.py").write_text("import sys; sys.theirs = True")
    env = {**os.environ, "PYTHONPATH": f"{ours}:{theirs}"}
    program = "import sys; print(sys.theirs)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_choose_address_goes_on_behind_the_last_one() -> None:
    assert addresses.choose(7, ["10.244.7.3"], 3) == "10.244.7.4"
    assert addresses.choose(7, [], 255) == "10.244.7.2"
    everything = [f"10.244.7.{n}" for n in range(addresses.FIRST, addresses.LAST + 1)]
    assert addresses.choose(7, everything) is None
    assert addresses.twin("10.244.7.2") == "127.244.7.2"
