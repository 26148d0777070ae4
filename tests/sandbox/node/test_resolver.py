"""Names of pods and services, in files and in Python's resolver."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labsandbox import network
from labsandbox.gateway.mapping import LAST_PORT
from labsandbox.node import addresses, resolver
from tests.repo.tree import ROOT

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


def test_hook_gives_a_port_of_the_shared_address(tmp_path: Path) -> None:
    hook = Path(resolver.__file__).with_name("hook.py")
    (tmp_path / "sitecustomize.py").write_bytes(hook.read_bytes())
    text = resolver.hosts_file([("db.t.svc.cluster.local", "127.0.0.1/20157")], "")
    (tmp_path / "hosts").write_text(text)
    program = "import socket; print([socket.getaddrinfo('db', p)[0][4] for p in (80, 40000, None)])"
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "LABSANDBOX_NAMESPACE": "t"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    places = [("127.0.0.1", 20237), ("127.0.0.1", 40000), ("127.0.0.1", 0)]
    assert done.stdout.strip() == str(places)


def test_pods_of_a_machine_with_one_address_have_ports_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network, "has_addresses", lambda: False)
    pods = [pod("db-0", "10.244.1.2"), pod("db-1", "10.244.1.3")]
    for one in pods:
        one["spec"]["containers"][0]["ports"] = [{"containerPort": 8000}]
    entries = resolver.names(pods, [service()])
    assert ("db.t.svc.cluster.local", "127.0.0.1/26280") in entries
    assert ("db.t.svc.cluster.local", "127.0.0.1/26437") in entries
    line = 'connect-to = "db.t.svc.cluster.local:8000:127.0.0.1:26430"\n'
    assert line in resolver.curlrc(entries, resolver.declared(pods))
    assert network.reach("10.244.1.2", 8000) == ("127.0.0.1", 26430)
    assert network.reach("10.1.2.3", 8000) == ("10.1.2.3", 8000)
    assert set(addresses.candidates(Path("/x"))) == {0, 1}
    taken = [f"10.244.1.{n}" for n in range(2, 2 + network.PODS)]
    assert addresses.choose(1, taken) is None
    assert addresses.choose(1, taken[:-1]) == "10.244.1.41"


def test_no_two_pods_have_a_port_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "has_addresses", lambda: False)
    subnets, hosts = range(network.SANDBOXES), range(2, 2 + network.PODS)
    pods = [network.pod_address(subnet, host) for subnet in subnets for host in hosts]
    firsts = sorted(network.first_port(address) or 0 for address in pods)
    assert all(b - a >= network.SPAN for a, b in itertools.pairwise(firsts))
    assert firsts[0] > LAST_PORT
    assert firsts[-1] + network.SPAN <= network.LOOSE


def test_ports_of_every_application_differ_in_what_a_pod_has() -> None:
    found = {22, 80, 443, 4040, 7078}
    for file in (ROOT / "catalog").glob("*/kdapp.yaml"):
        services = yaml.safe_load(file.read_text())["spec"]["services"]
        found |= {one["endpoint"]["port"] for one in services if "endpoint" in one}
    assert len(found) > 12
    assert len({port % network.SPAN for port in found}) == len(found)
    assert max(found) < network.LOOSE


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
