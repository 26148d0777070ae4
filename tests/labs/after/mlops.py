"""What must be true of the platform after each lab of the broken pipeline."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from labdata import loans
from tests.labs.platform import Platform

__all__ = ["AFTER"]

BAD = ("category", "number-as-text", "duplicates", "nulls")
HISTORY, MONTH = 12_000, 1_000  # the sizes that the labs' parameters name


def described(platform: Platform) -> dict[str, Any]:
    """Return the description of the loans' table."""
    folder = platform.repository / "warehouse" / platform.user / "ice" / "mlops" / "loans"
    number = (folder / "metadata" / "version-hint.text").read_text().strip()
    return dict(json.loads((folder / "metadata" / f"v{number}.metadata.json").read_text()))


def rows_of(platform: Platform, name: str) -> int:
    """Return the rows of a branch or tag."""
    found = described(platform)
    wanted = found["refs"][name]["snapshot-id"]
    (snapshot,) = [one for one in found["snapshots"] if one["snapshot-id"] == wanted]
    return int(snapshot["summary"]["total-records"])


def project(platform: Platform) -> Path:
    """Return the folder of the project."""
    (found,) = (platform.repository / "workbench" / "projects").iterdir()
    return found


def read(platform: Platform, name: str) -> Any:
    return json.loads((project(platform) / name).read_text())


class Air:
    """Airflow's API, as the learner sees it."""

    def __init__(self, platform: Platform) -> None:
        address, token = platform.gateway(f"airflow-{platform.user}", 8080)
        self.address, self.http = address, requests.Session()
        self.http.trust_env, self.http.verify = False, platform.settings["EZMERAL_CA"]
        body = {"username": "learner", "password": token}
        signed = self.http.post(f"{address}/auth/token", json=body, timeout=60)
        self.http.headers["Authorization"] = f"Bearer {signed.json()['access_token']}"

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, the newest first."""
        query = f"dags/{dag}/dagRuns?order_by=-run_after&limit=50"
        found = self.http.get(f"{self.address}/api/v2/{query}", timeout=60).json()
        return list(found["dag_runs"])


def failed_calls(platform: Platform) -> int:
    """Return how many calls of the project's endpoint have failed, as the workbench counts them."""
    address, _ = platform.gateway(f"workbench-{platform.user}", 10001)
    ca = platform.settings["EZMERAL_CA"]
    text = requests.get(f"{address}/metrics", verify=ca, timeout=60).text
    counters = f'workbench_calls_failed_total{{.*project_id="{project(platform).name}"'
    lines = [line for line in text.splitlines() if re.match(counters, line)]
    assert lines, "no call was counted"
    return sum(int(line.rpartition(" ")[2]) for line in lines)


def baseline(platform: Platform) -> None:
    """The tag is the snapshot of the record, and the score is one that is possible."""
    record = json.loads(
        (platform.repository / "mlops" / platform.user / "baseline.json").read_text()
    )
    assert described(platform)["refs"]["trained_v1"]["snapshot-id"] == record["snapshot"]
    assert rows_of(platform, "trained_v1") == rows_of(platform, "main") == HISTORY
    assert 0.6 < record["auc"] < loans.make(HISTORY, 7)[1].best["auc"]


def jobs(platform: Platform) -> None:
    """Version 1 serves, it is the baseline, and every loan of the month has a score."""
    assert read(platform, "deployed.json")["version"] == 1
    assert set(read(platform, "model.json")["numbers"]) == set(loans.NUMBERS)
    assert len((project(platform) / "scored.csv").read_text().splitlines()) == MONTH + 1
    assert failed_calls(platform) == 0


def airflow(platform: Platform) -> None:
    """The DAG ran, and the key of the connection stands in no log and no DAG."""
    name = f"airflow-{platform.user}"
    assert platform.kdclusters()[name]["status"]["state"] == "configured"
    assert [run["state"] for run in Air(platform).runs("first")] == ["success"]
    secret = platform.core().read_namespaced_secret(
        f"airflow-jobs-{platform.user}", platform.namespace
    )
    from base64 import b64decode

    key = json.loads(b64decode(secret.data["AIRFLOW_CONN_JOBS"]))["password"]
    for file in (platform.repository / "airflow").rglob("*"):
        assert not file.is_file() or key not in file.read_text("utf-8", "replace"), file


def pipeline(platform: Platform) -> None:
    """The month is in the table once; the report is of its snapshot; the asset started a run."""
    assert rows_of(platform, "main") - rows_of(platform, "trained_v1") == MONTH
    main = described(platform)["refs"]["main"]["snapshot-id"]
    assert int(read(platform, "report.json")["snapshot"]) == main
    air = Air(platform)
    assert [run["state"] for run in air.runs("loans")] == ["success"]
    assert air.runs("retrain_on_change")[0]["run_type"] == "asset_triggered"


def broken(platform: Platform) -> None:
    """The run of the month is red, the month is half loaded, version 1 serves, no call failed."""
    assert [run["state"] for run in Air(platform).runs("loans")] == ["failed", "success"]
    assert rows_of(platform, "main") - rows_of(platform, "trained_v1") == 2 * MONTH
    assert read(platform, "deployed.json")["version"] == 1
    assert failed_calls(platform) == 0


def repaired(platform: Platform) -> None:
    """The same DAG and month are green, each month is in the table once, version 2 serves."""
    first, second, *_ = Air(platform).runs("loans")
    assert (first["state"], second["state"]) == ("success", "failed")
    assert first["conf"] == second["conf"]
    assert rows_of(platform, "main") - rows_of(platform, "trained_v1") == 2 * MONTH
    assert read(platform, "deployed.json")["version"] == 2
    assert set(read(platform, "model.json")["texts"]) == set(loans.TEXTS)
    assert len((project(platform) / "scored.csv").read_text().splitlines()) == MONTH + 1
    assert failed_calls(platform) == 0


def prevented(platform: Platform) -> None:
    """One more month is in the table, no branch is left, four deliveries have their reasons."""
    refs = described(platform)["refs"]
    assert set(refs) == {"main", "trained_v1"}
    assert rows_of(platform, "main") - rows_of(platform, "trained_v1") == 3 * MONTH
    audit = json.loads((platform.repository / "mlops" / platform.user / "audit.json").read_text())
    assert [one["delivery"] for one in audit] == [kind for kind in loans.KINDS if kind in BAD]
    assert all(one["findings"] for one in audit)
    assert refs["main"]["snapshot-id"] not in {int(one["main"]) for one in audit}
    started = [run["run_type"] for run in Air(platform).runs("retrain_on_change")]
    assert started == ["asset_triggered"] * 4, "three loads, one publication, no rejected month"


def known(platform: Platform) -> None:
    """Each record is what the frozen files and the table say; both pages are there."""
    home = platform.repository / "mlops" / platform.user
    tagged = described(platform)["refs"]["trained_v1"]["snapshot-id"]
    greens = {run["dag_run_id"] for run in Air(platform).runs("loans") if run["state"] == "success"}
    for version in (1, 2):
        record = json.loads((home / f"version-{version}.json").read_text())
        files = platform.repository / "workbench" / "builds" / record["files"]
        made = json.loads((files / "model.json").read_text())
        assert made["version"] == record["version"] == version
        text = json.dumps(made | {"version": 0}, sort_keys=True)
        assert record["model"] == hashlib.sha256(text.encode()).hexdigest()
        assert record["program"] == (files / "train.py").read_text()
        assert (int(record["snapshot"]), record["rows"]) == (tagged, HISTORY)
        assert (record["dag_run"] in greens) == (version == 2)
        assert record["files"] in project(platform).joinpath("lineage.html").read_text()
    main = described(platform)["refs"]["main"]["snapshot-id"]
    assert str(main) in project(platform).joinpath("board.html").read_text()
    left = {main, tagged} | {
        one.get("parent-snapshot-id") for one in described(platform)["snapshots"]
    }
    assert {one["snapshot-id"] for one in described(platform)["snapshots"]} <= left
    assert f"desk-{platform.user}" not in platform.kdclusters()


AFTER: dict[str, Callable[[Platform], None]] = {
    "mlops/01": baseline,
    "mlops/02": jobs,
    "mlops/03": airflow,
    "mlops/04": pipeline,
    "mlops/05": broken,
    "mlops/06": repaired,
    "mlops/07": prevented,
    "mlops/08": known,
}
