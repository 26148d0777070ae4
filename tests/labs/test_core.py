"""The core workshop, lab after lab, each judged by what the platform says afterwards.

The author of a lab does not mark his own homework: nothing here looks at a notebook's variables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import requests
from kubernetes import client, config

from tests.labs.platform import Stage, rows_in_log, shell_lines

pytestmark = [pytest.mark.labs, pytest.mark.timeout(900)]

# A small month is enough to see that everything works; the default size is for learners.
_ROWS = "40000"


def type_in_a_shell(stage: Stage, lab: str) -> None:
    """Run the kubectl and curl lines that stand beside the steps."""
    if shutil.which("kubectl") is None or shutil.which("curl") is None:
        pytest.skip(
            "kubectl or curl is not on this machine: the lines beside the steps did not run"
        )
    lines = shell_lines(lab)
    assert lines, f"{lab} has no shell lines"
    for block in lines:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            capture_output=True,
            text=True,
            env=os.environ | stage.env,
            timeout=60,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def predict(stage: Stage, version: str, rows: pd.DataFrame) -> np.ndarray:
    address, token = stage.gateway(f"inference-server-{stage.user}", 32700)
    answer = requests.post(
        f"{address}/ride-duration/{version}/predict",
        json={"use_scoring": True, "scoring_args": rows.to_dict("records")},
        headers={"X-Auth-Token": token},
        verify=stage.env["EZMERAL_CA"],
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["predictions"])


def card(stage: Stage, version: str) -> dict[str, object]:
    folder = stage.repo / "models" / stage.user
    return dict(json.loads((folder / f"ride-duration-{version}.json").read_text()))


def unseen(stage: Stage, version: str) -> pd.DataFrame:
    folder = stage.repo / "models" / stage.user
    return pd.read_parquet(folder / f"ride-duration-{version}-test.parquet")


def test_start_page_runs(stage: Stage) -> None:
    assert stage.replay("start")["checkpoints"]


def test_lab_01_leaves_a_kubeconfig_that_works(stage: Stage) -> None:
    stage.replay("core/01")
    path = stage.env["KUBECONFIG"]
    assert os.stat(path).st_mode & 0o077 == 0
    api = config.new_client_from_config(path)
    review = client.AuthenticationV1Api(api).create_self_subject_review(
        client.V1SelfSubjectReview()
    )
    assert review.status.user_info.username == stage.user
    type_in_a_shell(stage, "core/01_authenticate")


def test_lab_02_leaves_a_configured_notebook(stage: Stage) -> None:
    stage.replay("core/02")
    found = stage.kdclusters()
    assert found[f"jupyter-notebook-{stage.user}"]["status"]["state"] == "configured"
    assert f"wrong-{stage.user}" not in found
    core, _ = stage.clients()
    secret = core.read_namespaced_secret(f"kc-secret-{stage.user}", stage.namespace)
    assert secret.metadata.labels["kubedirector.hpe.com/secretType"] == "kubeconfig"
    address, _ = stage.gateway(f"jupyter-notebook-{stage.user}", 8000)
    answer = requests.get(f"{address}/api", verify=stage.env["EZMERAL_CA"], timeout=20)
    assert "version" in answer.json()
    type_in_a_shell(stage, "core/02_deploy_notebook")


def test_lab_03_leaves_the_version_it_names(stage: Stage) -> None:
    stage.replay("core/03", "--rows", _ROWS)
    folder = stage.repo / "lakehouse" / stage.user
    handed = json.loads((folder / "trips.json").read_text())
    assert rows_in_log(stage.repo / handed["path"], handed["version"]) == handed["rows"]
    assert 0.5 * int(_ROWS) < handed["rows"] < int(_ROWS)


def test_lab_04_leaves_a_model_as_good_as_its_card_says(stage: Stage) -> None:
    stage.replay("core/04")
    said, test = card(stage, "1"), unseen(stage, "1")
    measured = (test["duration"] - test["predicted"]).abs().mean()
    assert measured == pytest.approx(said["mae"])
    assert measured < said["baseline_mae"]
    handed = json.loads((stage.repo / "lakehouse" / stage.user / "trips.json").read_text())
    assert said["table_version"] == handed["version"]


def test_lab_05_serves_exactly_the_model_that_was_trained(stage: Stage) -> None:
    stage.replay("core/05")
    data = stage.models()["1"]
    assert data["table-version"] == str(card(stage, "1")["table_version"])
    assert stage.kdclusters()[f"inference-server-{stage.user}"]["status"]["state"] == "configured"
    test = unseen(stage, "1").head(500)
    np.testing.assert_allclose(
        predict(stage, "1", test[json.loads(data["features"])]), test["predicted"]
    )
    type_in_a_shell(stage, "core/05_register")


def test_lab_06_leaves_one_healthy_worker(stage: Stage) -> None:
    stage.replay("core/06")
    cluster = stage.kdclusters()[f"inference-server-{stage.user}"]
    members = {role["id"]: role["members"] for role in cluster["spec"]["roles"]}
    assert members == {"LoadBalancer": 1, "RESTServer": 1}
    assert cluster["status"]["state"] == "configured"
    type_in_a_shell(stage, "core/06_serve")


def test_lab_07_leaves_two_models_and_nothing_on_the_cluster(stage: Stage) -> None:
    stage.replay("core/07")
    one, two = card(stage, "1"), card(stage, "2")
    assert two["table_version"] > one["table_version"]
    table = stage.repo / str(two["table"])
    assert rows_in_log(table, two["table_version"]) > rows_in_log(table, one["table_version"])
    assert set(stage.kdclusters()) == {"training-engine-shared"}
    assert stage.models() == {}


def test_lab_started_out_of_order_says_which_is_missing(stage: Stage) -> None:
    # Lab 07 has cleaned up: the engine of lab 05 is gone, so 06 has nothing to ask.
    with pytest.raises(AssertionError, match=r"LabMissing: Expected kdcluster .* Run lab core-05"):
        stage.replay("core/06")
