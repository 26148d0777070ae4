"""After set-up nothing is downloaded: labs pass on a machine whose network is cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.labrunner.conftest import PASSES, Checkout
from tests.labrunner.offline import cut, has_namespaces
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

# An address that is documented to lead nowhere, so the test is the same on every network.
CALLS_OUT = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
LISTENS = (
    "import socket; s = socket.create_server(('127.0.0.1', 0)); "
    "socket.create_connection(s.getsockname()); print('reached')"
)
PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from labrunner import session
from labrunner.curriculum import load
from labrunner.replay import Plan
labs = load(Path(sys.argv[1]))
sys.exit(session.replay(labs, Plan(labs.labs, Path(sys.argv[2])), Console()))
"""


def run(
    words: list[str], folder: Path, *, namespace: bool, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    command, environment = cut(words, dict(os.environ), folder, namespace=namespace)
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=seconds
    )


@pytest.mark.parametrize("namespace", [True, False], ids=["namespace", "refused sockets"])
def test_network_is_cut_off_and_the_loopback_is_not(tmp_path: Path, namespace: bool) -> None:
    if namespace and not has_namespaces():
        pytest.skip("this machine does not let us make a network namespace")
    outside = run([sys.executable, "-c", CALLS_OUT], tmp_path, namespace=namespace)
    assert outside.returncode == 1
    assert "unreachable" in outside.stderr or "cut off" in outside.stderr
    inside = run([sys.executable, "-c", LISTENS], tmp_path, namespace=namespace)
    assert inside.stdout == "reached\n"


def test_small_lab_passes_without_network(checkout: Checkout, tmp_path: Path) -> None:
    labs = checkout(a=(PASSES, []))
    words = [sys.executable, "-c", PROGRAM, str(labs.root), str(tmp_path / "out")]
    done = run(words, tmp_path, namespace=has_namespaces(), seconds=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.nightly  # six minutes; on every push a small lab passes without a network
@pytest.mark.timeout(1500)
def test_lakehouse_passes_twice_without_network_and_gives_the_same(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("labs"))
    words = [program, "replay", "--only", "core/03", "--rows", "50000", "--again"]
    words += ["--out", str(tmp_path / "out")]
    done = run(words, tmp_path, namespace=has_namespaces(), seconds=1400)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "passed" in report["labs"][0]["again"]


@pytest.mark.nightly  # ten labs; on every push a small lab passes without a network
@pytest.mark.timeout(3700)
def test_logistics_passes_without_network(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("labs"))
    labs = [f"logistics/{number:02}" for number in range(10)]
    words = [program, "replay", "--only", ",".join(["core/01", *labs]), "--out", str(tmp_path)]
    done = run(words, tmp_path, namespace=has_namespaces(), seconds=3600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert [lab["lab"] for lab in report["labs"]] == ["core/01", *labs]
