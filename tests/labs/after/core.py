"""What must be true of the platform after each core lab."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
import skops.io
from kubernetes import client

from tests.labs.platform import Platform, rows_in_log

__all__ = ["AFTER"]

TREES = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]


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
    bare = platform.repository / "git" / f"git-{platform.user}" / "labs.git"
    log = ["git", "-c", "safe.directory=*", "-C", str(bare), "log", "--format=%an %s", "main"]
    last, *_, first = subprocess.run(log, capture_output=True, text=True).stdout.splitlines()
    assert last == f"{platform.user} A note from my notebook"
    assert first == f"{platform.user} The labs"


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
    _assert_lineage(platform, data)
    name = f"record-{platform.user}-1-{data['model-digest'][:12]}"
    record = platform.core().read_namespaced_config_map(name, platform.namespace)
    assert record.immutable
    assert record.data["model-digest"] == data["model-digest"]
    _engine_is_well(platform)
    test = _unseen(platform, "1").head(500)
    model = skops.io.load(_file(platform, data["path"]), trusted=TREES)
    rows = test[model.feature_names_in_]
    np.testing.assert_allclose(_predict(platform, "1", rows), test["predicted"])


def served(platform: Platform) -> None:
    """One worker is left, and it is well."""
    _engine_is_well(platform)
    roles = platform.kdclusters()[f"inference-server-{platform.user}"]["spec"]["roles"]
    assert {role["id"]: role["members"] for role in roles} == {"LoadBalancer": 1, "RESTServer": 1}


def changed(platform: Platform) -> None:
    """Three models are kept, the last one knows no month, and nothing is left on the cluster."""
    one, two, three = (_card(platform, version) for version in "123")
    assert len({card["job"] for card in (one, two, three)}) == 3
    for card in (one, two, three):
        _assert_card_is_true(platform, card)
    assert two["table_version"] == three["table_version"] > one["table_version"]
    seen = {
        name: set(pd.read_parquet(platform.repository / card["rides"]).columns)
        for name, card in {"2": two, "3": three}.items()
    }
    assert {"month_1", "month_12"} < seen["2"]
    assert "recent_pace" in seen["3"]
    assert not any(name.startswith("month_") for name in seen["3"])
    table = platform.repository / two["table"]
    assert rows_in_log(table, two["table_version"]) > rows_in_log(table, one["table_version"])
    assert _retention(table) == {"interval 400 days"}
    assert set(platform.kdclusters()) == {"training-engine-shared"}
    assert platform.models() == {}


def _assert_lineage(platform: Platform, data: dict[str, str]) -> None:
    """Compute again what a ConfigMap says of its model, from files and the job's record."""
    file = _file(platform, data["path"])
    record = json.loads((platform.repository / data["job"] / "job.json").read_text())
    assert _sha256(file) == data["model-digest"]
    assert _sha256(_file(platform, data["scoring-path"])) == data["scoring-digest"]
    assert record["status"] == "Finished"
    assert record["user"] == data["trained-by"] == data["registered-by"] == platform.user
    assert data["trained-at"] <= data["registered-at"]
    card = json.loads(file.with_suffix(".json").read_text())
    assert (card["job"], card["code_digest"]) == (data["job"], data["code-digest"])
    _assert_card_is_true(platform, card)


def _assert_card_is_true(platform: Platform, card: dict[str, Any]) -> None:
    """Compare a card with the record of the job that wrote it."""
    folder = platform.repository / card["job"]
    record = json.loads((folder / "job.json").read_text())
    assert _sha256(folder / "code.py") == record["code_digest"] == card["code_digest"]
    assert f"--table-version={card['table_version']}" in record["args"]
    assert f"--version={card['version']}" in record["args"]
    began, ended = (datetime.fromtimestamp(record[what], UTC) for what in ("started", "finished"))
    trained = datetime.fromisoformat(card["trained_at"])
    assert began.replace(microsecond=0) <= trained <= ended


def _retention(table: Path) -> set[str]:
    """Return how long a table keeps its log and its removed files, as its log last says."""
    said: dict[str, str] = {}
    for file in sorted((table / "_delta_log").glob("*.json")):
        for action in map(json.loads, file.read_text().splitlines()):
            said = action.get("metaData", {}).get("configuration", said)
    return {said["delta.logRetentionDuration"], said["delta.deletedFileRetentionDuration"]}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _file(platform: Platform, address: str) -> Path:
    return platform.repository / address.removeprefix("repo://project_repo/")


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


AFTER = {
    "core/01": authenticate,
    "core/02": notebook,
    "core/03": lakehouse,
    "core/04": model,
    "core/05": registered,
    "core/06": served,
    "core/07": changed,
}
