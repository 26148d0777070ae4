"""The matrix as an indexed Job of the laptop platform: a version in each index. At night."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labhelpers.deadline import wait
from labrunner import sandbox
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(3600)]
VERSIONS = ["2.0.1", "3.17.2"]
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "project-repo"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}


def test_each_index_of_the_job_runs_its_version_and_leaves_its_report(tmp_path: Path) -> None:
    chosen = [word for version in VERSIONS for word in ("--versions", version)]
    command = [sys.executable, "-m", "labregress", "job", *chosen, "--claim", "project-repo"]
    manifest = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with sandbox.running(tmp_path / "state") as settings:
        repository = Path(settings["PROJECT_REPO"])
        env = os.environ | {"KUBECONFIG": str(tmp_path / "state" / "admin.conf")}

        def kubectl(*words: str, text: str = "") -> str:
            line = ["kubectl", "--namespace", repository.name, *words]
            done = subprocess.run(line, env=env, input=text, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout

        kubectl("apply", "-f", "-", text=json.dumps(CLAIM))
        kubectl("apply", "-f", "-", text=manifest)

        def status() -> dict[str, Any]:
            return dict(json.loads(kubectl("get", "job", "regress", "-o", "json"))["status"])

        done = wait(
            "the Job to end",
            status,
            until=lambda seen: any(
                one["type"] in ("Complete", "Failed") and one["status"] == "True"
                for one in seen.get("conditions", [])
            ),
            deadline=3000,
            every=2,
        )
        assert done.get("completedIndexes") == "0,1", kubectl("logs", "job/regress")
        for index, version in enumerate(VERSIONS):
            report = repository / "regress" / str(index) / "report.json"
            rows = json.loads(report.read_text())["rows"]
            assert {row["version"] for row in rows} == {version}
            assert {row["case"] for row in rows} == {"sklearn", "xgboost"}
            assert [row["error"] for row in rows if row["error"]] == []
