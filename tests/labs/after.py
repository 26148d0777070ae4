"""What must be true of the platform after a lab, seen through files and the API, never through
the lab's own variables: the author of a lab does not mark his own homework."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from kubernetes import client

from tests.labs.platform import Platform, rows_in_log

__all__ = ["AFTER"]


def authenticate(platform: Platform) -> None:
    """The learner's kubeconfig opens the tenant's namespace, and no other."""
    kubeconfig = Path(platform.settings["KUBECONFIG"])
    assert kubeconfig.stat().st_mode & 0o077 == 0, "only the learner may read it"
    review = client.AuthenticationV1Api(platform.api(kubeconfig)).create_self_subject_review(
        client.V1SelfSubjectReview()
    )
    assert review.status.user_info.username == platform.user
    core = platform.core(kubeconfig)
    assert core.list_namespaced_pod(platform.namespace).items is not None
    with pytest.raises(client.ApiException) as refused:
        core.list_namespaced_pod("kube-system")
    assert refused.value.status == 403


def notebook(platform: Platform) -> None:
    """The learner's notebook is configured and answers; the wrong manifest left nothing."""
    found = platform.kdclusters()
    assert found[f"jupyter-notebook-{platform.user}"]["status"]["state"] == "configured"
    assert f"wrong-{platform.user}" not in found
    name = f"kc-secret-{platform.user}"
    secret = platform.core().read_namespaced_secret(name, platform.namespace)
    assert secret.metadata.labels["kubedirector.hpe.com/secretType"] == "kubeconfig"
    address, _ = platform.gateway(f"jupyter-notebook-{platform.user}", 8000)
    answer = requests.get(f"{address}/api", verify=platform.settings["EZMERAL_CA"], timeout=20)
    assert "version" in answer.json()


def lakehouse(platform: Platform) -> None:
    """The table handed on holds, at its recorded version, what the record says."""
    said = json.loads(
        (platform.repository / "lakehouse" / platform.user / "trips.json").read_text()
    )
    assert rows_in_log(platform.repository / said["path"], said["version"]) == said["rows"] > 0
    assert {"duration", "trip_distance", "hour"} <= set(said["columns"])


def model(platform: Platform) -> None:
    """The model is as good as its card says, and names the table version it read."""
    said, test = _card(platform, "1"), _unseen(platform, "1")
    measured = (test["duration"] - test["predicted"]).abs().mean()
    assert measured == pytest.approx(said["mae"])
    assert measured < said["baseline_mae"]
    handed = json.loads(
        (platform.repository / "lakehouse" / platform.user / "trips.json").read_text()
    )
    assert said["table_version"] == handed["version"]


def registered(platform: Platform) -> None:
    """The engine serves exactly the model that was trained."""
    data = platform.models()["1"]
    assert data["table-version"] == str(_card(platform, "1")["table_version"])
    _engine_is_well(platform)
    test = _unseen(platform, "1").head(500)
    rows = test[json.loads(data["features"])]
    np.testing.assert_allclose(_predict(platform, "1", rows), test["predicted"])


def served(platform: Platform) -> None:
    """One worker is left, and it is well."""
    _engine_is_well(platform)
    roles = platform.kdclusters()[f"inference-server-{platform.user}"]["spec"]["roles"]
    assert {role["id"]: role["members"] for role in roles} == {"LoadBalancer": 1, "RESTServer": 1}


def changed(platform: Platform) -> None:
    """Two models of two table versions are kept, and nothing of the labs is on the cluster."""
    one, two = _card(platform, "1"), _card(platform, "2")
    assert two["table_version"] > one["table_version"]
    table = platform.repository / two["table"]
    assert rows_in_log(table, two["table_version"]) > rows_in_log(table, one["table_version"])
    assert set(platform.kdclusters()) == {"training-engine-shared"}
    assert platform.models() == {}


def _engine_is_well(platform: Platform) -> None:
    status = platform.kdclusters()[f"inference-server-{platform.user}"]["status"]
    assert status["state"] == "configured"
    assert not any(status["memberStateRollup"].values())


def _card(platform: Platform, version: str) -> dict[str, Any]:
    folder = platform.repository / "models" / platform.user
    return dict(json.loads((folder / f"ride-duration-{version}.json").read_text()))


def _unseen(platform: Platform, version: str) -> pd.DataFrame:
    folder = platform.repository / "models" / platform.user
    return pd.read_parquet(folder / f"ride-duration-{version}-test.parquet")


def _predict(platform: Platform, version: str, rows: pd.DataFrame) -> Any:
    address, token = platform.gateway(f"inference-server-{platform.user}", 32700)
    answer = requests.post(
        f"{address}/ride-duration/{version}/predict",
        json={"use_scoring": True, "scoring_args": rows.to_dict("records")},
        headers={"X-Auth-Token": token},
        verify=platform.settings["EZMERAL_CA"],
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["predictions"])


AFTER: dict[str, Callable[[Platform], None]] = {
    "core/01": authenticate,
    "core/02": notebook,
    "core/03": lakehouse,
    "core/04": model,
    "core/05": registered,
    "core/06": served,
    "core/07": changed,
}
