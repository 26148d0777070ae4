"""Two learners share a tenant: what one of them cleans up is not the other's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.sandbox.platform.program import ROOT
from tests.sandbox.platform.test_front_door import kubeconfig

PROGRAM = """
import sys
from labhelpers.cluster import apply_config_map, connect, labels, remove
k8s = connect()
if sys.argv[1] == "make":
    apply_config_map(k8s, sys.argv[2], {"made": "in a lab"}, labels("core/05"))
else:
    print(*remove(k8s, "core/05"), sep="\\n")
"""


def run(env: dict[str, str], folder: Path, user: str, *words: str) -> list[str]:
    """Do as this learner what the cells of a lab do; return the lines that were printed."""
    path = kubeconfig(env, folder, user, token=True)
    own = {"EZMERAL_USER": user, "KUBECONFIG": str(path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env=os.environ | env | own,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_learner_cleans_up_what_is_theirs_alone(env: dict[str, str], tmp_path: Path) -> None:
    users = ("student1", "student2")
    for user in users:
        run(env, tmp_path, user, "make", f"record-of-{user}")
    assert run(env, tmp_path, users[0], "remove") == ["configmap record-of-student1"]
    assert run(env, tmp_path, users[1], "remove") == ["configmap record-of-student2"]
