"""What must be true of the platform after each MLflow lab."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
from glob import glob
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import requests
import yaml
from kubernetes import client

from labdata.samples import datasets
from labdata.tables import best_possible, read_sample
from labhelpers.deadline import wait
from tests.labs.platform import Platform

__all__ = ["AFTER"]


def searched(platform: Platform, experiment: str, what: str, **more: str) -> list[dict[str, Any]]:
    """Return the `runs` or `logged-models` that the server has of an experiment."""
    with platform.signed_in(f"mlflow-{platform.user}", 5000) as (address, http):
        api = f"{address}/api/2.0/mlflow"
        name = {"experiment_name": experiment}
        found = http.get(f"{api}/experiments/get-by-name", params=name, timeout=30).json()
        body = {"experiment_ids": [found["experiment"]["experiment_id"]]} | more
        answer = http.post(f"{api}/{what}/search", json=body, timeout=30).json()
    return list(answer[what.removeprefix("logged-")])


def tracked(platform: Platform) -> None:
    """The server has three runs of version 0, better than a mean grade, none better than can be."""
    runs = searched(platform, "wine", "runs", filter="tags.`delta.version` = '0'")
    wines = read_sample("wine", datasets())["quality"]
    last = {one["value"] for run in runs for one in run["data"]["metrics"] if one["key"] == "rmse"}
    assert len(runs) == len(last) == 3
    assert min(last) < 0.9 * wines.std()
    assert min(last) > best_possible("wine", datasets())["rmse"]
    folder = platform.repository / "mlflow"
    assert len(list(folder.rglob("weights.json"))) == 3, "artefacts lie in the project repository"


def packaged(platform: Platform) -> None:
    """Three runs have one number; one names a commit and ran other code; one was made offline."""
    runs = searched(platform, "wine project", "runs")
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    numbers = [run["data"]["metrics"][0]["value"] for run in runs]
    by_commit = [one.get("mlflow.source.git.commit") for one in tags]
    remote = [one["mlflow.source.name"].startswith("https://git.example/") for one in tags]
    offline = [one.get("made") == "offline" for one in tags]
    ((commit, number),) = {
        (sha, value) for sha, value, far in zip(by_commit, numbers, remote, strict=True) if far
    }
    others = {value for sha, value in zip(by_commit, numbers, strict=True) if sha == commit}
    assert len(others) == 2, "the changed folder named the commit, and had another number"
    assert [value for value, made in zip(numbers, offline, strict=True) if made] == [number]
    (lock,) = (platform.repository / "mlflow-02").glob("*/wine/project.lock")
    assert "==" in lock.read_text()
    assert not list((platform.repository / "mlflow-02").glob("*/environments/*/bin/python"))


def modelled(platform: Platform) -> None:
    """Models of five kinds lie in the repository; the only pickle was deleted, and never ran."""
    models = searched(platform, "wine models", "logged-models")
    ready = [one["info"] for one in models if one["info"]["status"] == "LOGGED_MODEL_READY"]
    kinds = {one["name"]: one["artifact_uri"] for one in ready}  # the lab lets one save fail
    assert len(kinds) == len(ready)
    assert set(kinds) == {"linear", "boosted", "xgboost", "onnx", "good"}
    for uri in kinds.values():
        path = uri.removeprefix("mlflow-artifacts:/")
        (folder,) = (platform.repository / "mlflow").glob(f"*/{path}")
        assert (folder / "MLmodel").is_file()
        assert not list(folder.rglob("*.pkl"))
    assert not list(platform.repository.rglob("canary"))


def gated(platform: Platform) -> None:
    """The engine serves what the alias means, from the files that were registered."""
    with requests.Session() as http:
        http.trust_env, http.verify = False, platform.settings["EZMERAL_CA"]
        address, token = platform.gateway(f"inference-mlflow-{platform.user}", 32700)
        headers = {"X-Auth-Token": token}
        (model,) = http.get(f"{address}/models", headers=headers, timeout=30).json()["models"]
        address, token = platform.gateway(f"mlflow-{platform.user}", 5000)
        headers = {"X-Auth-Token": token}
        alias = {"name": "wine", "alias": "champion"}
        answer = http.get(f"{address}/labs/moves", params=alias, headers=headers, timeout=30)
        path = f"{address}/api/2.0/mlflow/registered-models/alias"
        found = http.get(path, params=alias, headers=headers, timeout=30).json()["model_version"]
    moves = answer.json()["moves"]
    assert model["registered"] == found["version"] == moves[-1]["to"]
    assert [one["from"] for one in moves] == [None, *(one["to"] for one in moves[:-1])]
    assert len(moves) >= 3
    assert {one["who"] for one in moves} == {platform.user}
    assert {"key": "sha256", "value": model["sha256"]} in found["tags"]
    model_id = found["source"].removeprefix("models:/")
    (folder,) = (platform.repository / "mlflow").glob(f"*/*/models/{model_id}/artifacts")
    assert folder_digest(folder) == model["sha256"]


def spoken(platform: Platform) -> None:
    """The engine answers both models in the old form; the measured gaps are on the server."""
    with requests.Session() as http:
        http.trust_env, http.verify = False, platform.settings["EZMERAL_CA"]
        address, token = platform.gateway(f"inference-mlflow-{platform.user}", 32700)
        headers = {"X-Auth-Token": token}
        models = http.get(f"{address}/models", headers=headers, timeout=30).json()["models"]
        assert {one["name"]: one["status"] for one in models} == {
            "wine": "serving",
            "income": "serving",
        }
        for model in models:
            names = model["features"]
            old = {"columns": names, "data": [[1.0] * len(names)] * 2}
            url = f"{address}/{model['name']}/{model['version']}/invocations"
            answer = http.post(url, json=old, headers=headers, timeout=30)
            assert answer.status_code == 200
            assert len(answer.json()) == 2
    runs = searched(platform, "income", "runs")
    gaps = {
        one["info"]["run_name"]: metric["value"]
        for one in runs
        for metric in one["data"].get("metrics", [])
        if metric["key"] == "gap"
    }
    assert gaps["gap biased"] > 0.05
    assert abs(gaps["gap fair"]) < 0.02
    assert abs(gaps["gap biased, blind"]) < 0.02


def joined(platform: Platform) -> None:
    """Each search has one parent and a child a candidate; only the leaky stack claims too much."""
    found = searched(platform, "wine ensembles", "runs")
    parents: dict[str, str] = {}
    children: dict[str, list[dict[str, Any]]] = {}
    for run in found:
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        if "search" in tags:
            assert tags["search"] not in parents.values()
            parents[run["info"]["run_id"]] = tags["search"]
        if "candidate" in tags:
            children.setdefault(tags["mlflow.parentRunId"], []).append(run)
        assert run["info"]["status"] == "FINISHED"
    counts = {parents[parent]: len(runs) for parent, runs in children.items()}
    assert counts == {"grid": 6, "optuna": 6, "bagging": 12, "stacking": 2}
    (stacking,) = [parent for parent, name in parents.items() if name == "stacking"]
    claims = {}
    for run in children[stacking]:
        metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
        claims[run["data"]["params"][0]["value"]] = metrics
    limit = best_possible("wine", datasets())["rmse"]
    assert claims["leaky"]["claimed"] < limit < claims["out of fold"]["claimed"]
    assert limit < claims["out of fold"]["rmse"] < claims["leaky"]["rmse"]
    (model,) = searched(platform, "wine ensembles", "logged-models")
    assert model["info"]["status"] == "LOGGED_MODEL_READY"


def drilled(platform: Platform) -> None:
    """The second server has the runs of 2025 in today's tables, behind a token of its own."""
    name = f"mlflow-drill-{platform.user}"
    address, token = platform.gateway(name, 5000)
    _, other = platform.gateway(f"mlflow-{platform.user}", 5000)
    with requests.Session() as http:
        http.trust_env, http.verify = False, platform.settings["EZMERAL_CA"]
        url = f"{address}/api/2.0/mlflow/experiments/search"
        codes = [
            http.post(url, json={"max_results": 9}, headers={"X-Auth-Token": one}, timeout=30)
            for one in (token, other, "")
        ]
    assert [one.status_code for one in codes] == [200, 401, 401]
    found = codes[0].json()["experiments"]
    assert {one["name"] for one in found} == {"Default", "wine of 2025"}
    assert all(one["artifact_location"].startswith("mlflow-artifacts:") for one in found)
    saved = {
        one.parent.name for one in platform.repository.glob(f"mlflow-backups/{name}/*/mlflow.db")
    }
    assert "release-2.22.5" in saved
    assert {one.split("-")[0] for one in saved} == {"drill", "release", "before"}


def regressed(platform: Platform) -> None:
    """The matrix is green again, one pin less broke two cells, and no process is left."""
    home = platform.repository / "mlflow-07" / platform.user
    rows = json.loads((home / "run" / "report.json").read_text())["rows"]
    assert len(rows) == 12
    assert {row["status"] for row in rows} == {"passed"}
    old = {row["http"] for row in rows if row["protocol"] == "split-1x"}
    assert old == {200, 415}
    broken = json.loads((home / "broken.json").read_text())
    assert broken["status"] == 1
    assert broken["red"] == [["2.0.1", case, "import"] for case in ("sklearn", "xgboost")]
    suites = ElementTree.parse(home / "run" / "junit.xml").getroot()
    assert sum(int(one.get("tests", 0)) for one in suites) == 12
    left = subprocess.run(
        [
            "grep",
            "-lzx",
            f"LABREGRESS_RUN={(home / 'run').resolve()}",
            *glob("/proc/[0-9]*/environ"),
        ],
        capture_output=True,
    )
    assert left.stdout == b""


def patterned(platform: Platform) -> None:
    """The cluster's events tell what broke; nothing that the lab ordered is left."""
    core = platform.core()
    seen = {
        (event.reason, event.involved_object.name.rpartition(f"patterns-{platform.user}-")[2])
        for event in core.list_namespaced_event(platform.namespace).items
    }

    def has(reason: str, name: str) -> bool:
        return any(why == reason and what.startswith(name) for why, what in seen)

    assert has("Unhealthy", "probed"), "a probe failed"
    assert has("SuccessfulCreate", "beat"), "the CronJob made a Job"
    assert has("Started", "init")
    assert has("Started", "elect")
    selector = "labs.house-on-the-lake/lab=mlflow-09"
    pods = core.list_namespaced_pod(platform.namespace, label_selector=selector).items
    assert [one.metadata.name for one in pods] == []
    leases = client.CoordinationV1Api(core.api_client)
    left = leases.list_namespaced_lease(platform.namespace, label_selector=selector).items
    assert left == []


def holed(platform: Platform) -> None:
    """The uploads hung and were cured, the limit was measured, and no namespace is left."""
    file = platform.repository / "mlflow-10" / platform.user / "measured.json"
    found = json.loads(file.read_text())
    assert found["uploads"] == {"100": "done", "1200": "done", "20000": "hangs"}
    assert found["retransmitted"] > 0
    assert (found["found"], found["routed"]) == (1376, "done")
    assert found["cures"].pop("nothing") == "hangs"
    assert list(found["cures"].values()) == ["done"] * 3
    ours = os.readlink("/proc/self/ns/net")

    def holders() -> list[int]:
        return [
            one.pid
            for one in psutil.process_iter(["name"])
            if one.info["name"] == "cat" and network_of(one.pid) not in ("", ours)
        ]

    wait("the namespaces to end", holders, until=lambda left: not left)


def network_of(pid: int) -> str:
    """Return which network namespace a process is in; nothing when it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def cleaned(platform: Platform) -> None:
    """The inventory is one that kubespray takes; nothing that the lab ordered is left."""
    file = platform.repository / "mlflow-11" / platform.user / "inventory.yaml"
    inventory = yaml.safe_load(file.read_text())["all"]
    groups = {name: set(group["hosts"]) for name, group in inventory["children"].items()}
    assert len(groups["etcd"]) == 3
    assert groups["kube_node"]
    assert not groups["kube_node"] & groups["kube_control_plane"]
    assert set().union(*groups.values()) == set(inventory["hosts"])
    pods = ipaddress.ip_network(inventory["vars"]["kube_pods_subnet"])
    assert not pods.overlaps(ipaddress.ip_network(inventory["vars"]["kube_service_addresses"]))
    assert not any(ipaddress.ip_address(one["ip"]) in pods for one in inventory["hosts"].values())
    core = platform.core()
    selector = "labs.house-on-the-lake/lab=mlflow-11"
    for listed in (
        core.list_namespaced_pod,
        core.list_namespaced_service,
        core.list_namespaced_config_map,
        core.list_namespaced_persistent_volume_claim,
    ):
        left = listed(platform.namespace, label_selector=selector).items
        assert [one.metadata.name for one in left if not one.metadata.deletion_timestamp] == []


def folder_digest(folder: Path) -> str:
    """Compute a digest as the tracking server's page says, with the shell's own programs."""
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)
    return done.stdout.split()[0]


AFTER = {
    "mlflow/01": tracked,
    "mlflow/02": packaged,
    "mlflow/03": modelled,
    "mlflow/04": gated,
    "mlflow/05": spoken,
    "mlflow/06": joined,
    "mlflow/07": regressed,
    "mlflow/08": drilled,
    "mlflow/09": patterned,
    "mlflow/10": holed,
    "mlflow/11": cleaned,
}
