"""What must be true of the project repository and the platform after each logistics lab."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import requests

from labdata.fleet import best_auc, failures_of, find_fleet, read_events, read_truth
from tests.labs.platform import Platform

__all__ = ["AFTER"]

PATTERN: dict[str, Any] = {"pattern": [4, 3, 2, 1]}


def generated(platform: Platform) -> None:
    """The workbench has a job with a run that succeeded; the table's newest version is tagged."""
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (address, http):
        api = f"{address}/api/v2"
        (project,) = http.get(f"{api}/projects", timeout=30).json()["projects"]
        jobs = http.get(f"{api}/projects/{project['id']}/jobs", timeout=30).json()["jobs"]
        ended = {}
        for job in jobs:
            path = f"{api}/projects/{project['id']}/jobs/{job['id']}/runs"
            runs = http.get(path, timeout=30).json()["job_runs"]
            ended[job["name"]] = [run["status"] for run in runs]
    assert ended == {"Wrong path": ["ENGINE_FAILED"], "Data Gen": ["ENGINE_SUCCEEDED"] * 2}
    folder = platform.repository / "warehouse" / platform.user / "ice" / "fleet" / "iot"
    files = sorted(
        (folder / "metadata").glob("v*.metadata.json"), key=lambda file: int(file.name[1:-14])
    )
    table = json.loads(files[-1].read_text("utf-8"))
    assert table["refs"]["train-v1"]["snapshot-id"] == table["current-snapshot-id"]
    (newest,) = [
        one for one in table["snapshots"] if one["snapshot-id"] == table["current-snapshot-id"]
    ]
    assert 2 * 57_600 > int(newest["summary"]["total-records"]) > 57_600 + 0.98 * 57_600


def mapped(platform: Platform) -> None:
    """The maps lie in the learner's folder, each whole and without an address of a server."""
    folder = platform.repository / "logistics-01" / platform.user
    pages = {file.stem: file.read_text("utf-8") for file in folder.glob("*.html")}
    assert set(pages) == {"ground", "events", "loop", "single", "track"}
    for name, page in pages.items():
        assert "://" not in page, name
        assert 'lang="en"' in page, name
    errors = read_events(find_fleet())
    errors = errors[(errors["event_type"] == "device error") & errors["latitude"].between(30, 50)]
    assert pages["events"].count('"event": "device error"') == len(errors)


def located(platform: Platform) -> None:
    """Each row of the day is in the table; minutes in each state are those of the truth."""
    folder = platform.repository / "logistics-02" / platform.user
    table = pd.read_parquet(folder / "located.parquet")
    truth = read_truth(find_fleet())["planted"]
    assert len(table) == table["id"].nunique() == 1440 * len(truth)
    lost = sum(len(one["nowhere"]) for one in truth.values())
    assert table["state"].isna().sum() == lost
    for device in list(truth)[:5]:
        iowa = sum(minutes for state, minutes in truth[device]["states"] if state == "Iowa")
        found = table[table["device_id"] == device]
        assert iowa - 10 <= (found["state"] == "Iowa").sum() <= iowa


def profiled(platform: Platform) -> None:
    """The table of the whole fleet is an Iceberg table; its files hold a row for each device."""
    folder = platform.repository / "warehouse" / platform.user / "ice" / "fleet" / "profiles"
    assert list((folder / "metadata").glob("*.metadata.json")), "an Iceberg table"
    files = sorted((folder / "data").glob("*.parquet"), key=lambda file: file.stat().st_mtime)
    newest = [file for file in files if file.name[6:] == files[-1].name[6:]] or files
    rows = pd.concat(pd.read_parquet(file) for file in newest)
    truth = read_truth(find_fleet())["planted"]
    found = rows.drop_duplicates("device_id").set_index("device_id")
    near = [abs(found.loc[name, "first"] - one["motif"][0]) <= 5 for name, one in truth.items()]
    assert sum(near) >= 0.95 * len(truth)


def deployed(platform: Platform) -> None:
    """Each model has one deployment that answers; each call that succeeded has a row of metrics."""
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (address, http):
        api = f"{address}/api/v2"
        found = http.get(f"{api}/models", timeout=30).json()["models"]
        assert {model["name"] for model in found} == {"nearest-window", "motif-finder"}
        key = next(model["access_key"] for model in found if model["name"] == "nearest-window")
        body = {"accessKey": key, "request": {"pattern": [4, 3, 2, 1]}}
        answer = http.post(f"{address}/model", json=body, timeout=60).json()
        crn = answer["response"]["model_deployment_crn"]
        read = http.post(
            f"{address}/read-metrics", json={"modelDeploymentCrn": crn}, timeout=30
        ).json()
    assert answer["response"]["uuid"] in {row["predictionUuid"] for row in read["metrics"]}


def called(platform: Platform) -> None:
    """The active deployment has a row for each call, and says of both replicas that they worked."""
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (address, http):
        rows = read_metrics(http, address, "nearest-window")["metrics"]
    assert len(rows) == len({row["predictionUuid"] for row in rows}) >= 1_200
    bad = [row for row in rows if not row["success"]]
    assert len(bad) == 5, "the nonsense, and nothing else"
    good = [row["metrics"] for row in rows if row["success"]]
    assert len({one["replica"] for one in good}) == 2
    assert all(one["compute_ms"] > 0 and 45 < one["level"] < 60 for one in good)


def watched(platform: Platform) -> None:
    """The deployment's aggregates: one of latency, and alerts in the last two windows alone."""
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (address, http):
        read = read_metrics(http, address, "nearest-window")
        page = http.get(f"{address}/metrics", timeout=30).text
    kept = [one["metrics"] for one in read["aggregates"]]
    (latency,) = [one for one in kept if "p95" in one]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    windows = [one for one in kept if "psi" in one]
    assert [one["alert"] for one in windows] == [0.0] * 21 + [1.0] * 2
    assert max(one["psi"] for one in windows[:20]) < 0.25 < min(one["psi"] for one in windows[-2:])
    assert max(one["ks"] for one in windows[:20]) < min(one["ks"] for one in windows[-2:])
    (line,) = [line for line in page.splitlines() if 'name="alert"' in line]
    assert line.endswith(" 1.0")


def redeployed(platform: Platform) -> None:
    """One deployment serves, of an old build; a newer one failed; no call of any failed."""
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (address, http):
        api = f"{address}/api/v2"
        listed = http.get(f"{api}/models?page_size=100", timeout=30).json()["models"]
        (model,) = [one for one in listed if one["name"] == "nearest-window"]
        path = f"{api}/projects/{model['project']['id']}/models/{model['id']}/builds"
        builds = http.get(f"{path}?page_size=100", timeout=30).json()["model_builds"]
        kept = [
            one | {"function": build["function_name"]}
            for build in builds
            for one in http.get(
                f"{path}/{build['id']}/deployments?page_size=100", timeout=30
            ).json()["model_deployments"]
        ]
        page = http.get(f"{address}/metrics", timeout=30).text
    (serving,) = [one for one in kept if one["status"] == "deployed"]
    assert (serving["function"], serving["replicas"]) == ("watched", 1)
    assert serving["id"] == model["active_deployment_id"]
    failed = [one for one in kept if one["status"] == "failed"]
    assert any("could not convert string to float" in one["reason"] for one in failed)
    second = [one["crn"] for one in kept if one["function"] == "second"]
    counts = [
        line.rpartition(" ")[2]
        for line in page.splitlines()
        if line.startswith("workbench_calls_failed_total") and any(crn in line for crn in second)
    ]
    assert set(counts) == {"0"}, "what loaded answered every call"


def version_of(http: requests.Session, address: str, crn: str) -> tuple[str, str]:
    """Return the build of a deployment and the registered version it was built from."""
    api = f"{address}/api/v2"
    for model in http.get(f"{api}/models?page_size=100", timeout=30).json()["models"]:
        path = f"{api}/projects/{model['project']['id']}/models/{model['id']}/builds"
        for build in http.get(f"{path}?page_size=100", timeout=30).json()["model_builds"]:
            listed = http.get(f"{path}/{build['id']}/deployments?page_size=100", timeout=30).json()
            if any(one["crn"] == crn for one in listed["model_deployments"]):
                return build["id"], build["registered_model_version_id"]
    raise AssertionError(f"no deployment {crn}")


def served_snapshot(platform: Platform) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Ask the failure model, and walk from its answer to version, run and table."""
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (address, http):
        listed = http.get(f"{address}/api/v2/models?page_size=100", timeout=30).json()["models"]
        (model,) = [one for one in listed if one["name"] == "fleet-failures"]
        row = {"iot_signal_1": 35.5, "iot_signal_2": 200.5, "iot_signal_3": 30.5}
        body = {"accessKey": model["access_key"], "request": row | {"iot_signal_4": 14.5}}
        answer = http.post(f"{address}/model", json=body, timeout=60).json()["response"]
        _, number = version_of(http, address, answer["model_deployment_crn"])
    assert 0 < answer["prediction"] < 1
    name, _, number = number.rpartition(":")
    with platform.signed_in(f"mlflow-{platform.user}", 5000) as (address, http):
        api = f"{address}/api/2.0/mlflow"
        wanted = {"name": name, "version": number}
        found = http.get(f"{api}/model-versions/get", params=wanted, timeout=30).json()
        version = found["model_version"]
        asked = {"run_id": version["run_id"]}
        run = http.get(f"{api}/runs/get", params=asked, timeout=30).json()["run"]
    folder = platform.repository / "warehouse" / platform.user / "ice" / "fleet" / "failures"
    files = sorted(
        (folder / "metadata").glob("v*.metadata.json"), key=lambda file: int(file.name[1:-14])
    )
    return version, run, json.loads(files[-1].read_text("utf-8"))


def learned(platform: Platform) -> None:
    """What serves learned from the tagged snapshot, and is not better than can be."""
    version, run, table = served_snapshot(platform)
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["snapshot"] == str(table["refs"]["failures-v1"]["snapshot-id"])
    columns = next(one["value"] for one in run["data"]["params"] if one["key"] == "columns")
    assert columns == ",".join(f"iot_signal_{number}" for number in (1, 2, 3, 4))
    (auc,) = [one["value"] for one in run["data"]["metrics"] if one["key"] == "auc"]
    best = best_auc(failures_of(7, range(20), 2))
    assert best - 0.015 <= auc <= best + 0.01
    keys = {tag["key"] for tag in version.get("tags", ())}
    assert keys >= {"build", "deployment", "sha256"}


def looped(platform: Platform) -> None:
    """The version that serves learned from the second tag; the table has lost a lorry's day."""
    version, run, table = served_snapshot(platform)
    assert int(version["version"]) > 1
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["snapshot"] == str(table["refs"]["failures-v2"]["snapshot-id"])
    losses = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert losses["log_loss"] < 0.995 * losses["log_loss_of_champion"]
    snapshots = {one["snapshot-id"]: one for one in table["snapshots"]}
    rows = [
        int(snapshots[table["refs"][name]["snapshot-id"]]["summary"]["total-records"])
        for name in ("failures-v1", "failures-v2", "main")
    ]
    assert rows == [86_400, 115_200, 115_200 - 1440]
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (address, http):
        read = read_metrics(
            http, address, "fleet-failures", {f"iot_signal_{n}": 30.0 for n in (1, 2, 3, 4)}
        )
    kept = [row["metrics"] for row in read["metrics"] if "chance" in row["metrics"]]
    assert len(kept) == 240
    seen = sum("truth" in one for one in kept)
    assert read["aggregates"][-1]["metrics"]["truths"] == seen
    assert 120 < seen < 240


def read_metrics(
    http: requests.Session, address: str, name: str, request: dict[str, Any] = PATTERN
) -> dict[str, Any]:
    """Return what is kept of a model's active deployment, without the call that asks which."""
    listed = http.get(f"{address}/api/v2/models?page_size=100", timeout=30).json()["models"]
    (model,) = [one for one in listed if one["name"] == name]
    body: dict[str, Any] = {"accessKey": model["access_key"], "request": request}
    answer = http.post(f"{address}/model", json=body, timeout=60).json()["response"]
    body = {"modelDeploymentCrn": answer["model_deployment_crn"], "page_size": 10_000}
    read: dict[str, Any] = http.post(f"{address}/read-metrics", json=body, timeout=60).json()
    assert not read["next_page_token"]
    rows = [row for row in read["metrics"] if row["predictionUuid"] != answer["uuid"]]
    return read | {"metrics": rows}


AFTER = {
    "logistics/00": generated,
    "logistics/01": mapped,
    "logistics/02": located,
    "logistics/03": profiled,
    "logistics/04": deployed,
    "logistics/05": called,
    "logistics/06": watched,
    "logistics/07": redeployed,
    "logistics/08": learned,
    "logistics/09": looped,
}
