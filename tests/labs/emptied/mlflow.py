"""The names that the MLflow labs leave behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from kubernetes import client

from tests.labs.emptied.place import NOWHERE, Emptied, Gone

__all__ = ["LABS", "MEASURED"]

MEASURED: dict[str, str] = {}


def lab_01(left: Emptied) -> dict[str, Any]:
    """Track."""
    home = left.place.project_repo / "mlflow-01"
    home.mkdir()
    grades = pd.DataFrame({"alcohol": [9.0, 12.0], "quality": [5.0, 7.0]})
    return {
        "spark": Gone(),
        "home": home,
        "server": "mlflow-x",
        "wines": grades,
        "table": str(home / "wine"),
        "test": grades,
        "names": ["alcohol"],
        "elsewhere": home / "elsewhere",
        "store": f"sqlite:///{home}/old.db",
        "old": SimpleNamespace(info=SimpleNamespace(run_id="0" * 32)),
        "model": SimpleNamespace(predict=lambda rows: np.zeros(len(rows))),
    }


def lab_02(left: Emptied) -> dict[str, Any]:
    """Package."""
    home = left.place.project_repo / "mlflow-02"
    (home / "wine").mkdir(parents=True)
    (home / "wine" / "project.lock").write_text("mlflow-skinny\n")
    return tracked(left) | {
        "address": NOWHERE,
        "http": left.http,
        "home": home,
        "project": home / "wine",
        "environments": home / "environments",
        "local": "0" * 32,
        "dirty": "1" * 32,
        "pinned": "2" * 32,
        "carried": SimpleNamespace(info=SimpleNamespace(run_id="3" * 32)),
        "commit": "0" * 40,
        "rows": {"commit": "2" * 32},
        "wanted": {"pandas", "numpy", "mlflow-skinny"},
        "filled": SimpleNamespace(stderr="", returncode=0),
        "isolate": [],
        "refusals": {"parameter": "alpha"},
    }


def lab_03(left: Emptied) -> dict[str, Any]:
    """Models and flavours."""
    kinds = ("linear", "boosted", "xgboost", "onnx", "good", "hostile")
    wines = pd.DataFrame({"alcohol": [9.0]})
    return tracked(left) | {
        "home": left.place.project_repo,
        "canary": left.place.project_repo / "canary",
        "logged": {kind: f"m-{number}" for number, kind in enumerate(kinds)},
        "names": ["alcohol"],
        "test": wines,
        "cases": {"as trained": wines},
        "outcomes": {},
        "types": ["TreePredictor"],
        "tools": {"XGBoost": ("xgboost", lambda rows: left.http.get(NOWHERE, timeout=5))},
        "allowed": {kind: kind in ("xgboost", "onnx", "good") for kind in kinds},
    }


def lab_04(left: Emptied) -> dict[str, Any]:
    """Registry and gate."""
    kinds = ("mean", "linear", "boosted")
    metrics = {"mean": 0.9, "linear": 0.7, "boosted": 0.6}
    return tracked(left) | {
        "version": {kind: str(number) for number, kind in enumerate(kinds, 1)},
        "measured": {
            kind: SimpleNamespace(metrics={"root_mean_squared_error": metrics[kind]})
            for kind in kinds
        },
        "candidates": dict.fromkeys(kinds, SimpleNamespace(predict=lambda rows: np.zeros(1))),
        "crowd": SimpleNamespace(asked=1000, failed=0),
        "counted": {"2": 500, "3": 500},
        "engine": "inference-mlflow-x",
        "label": "wine/champion",
        "samples": [{"alcohol": 9.0}],
        "names": ["alcohol"],
        "test": pd.DataFrame({"alcohol": [9.0]}),
    }


def lab_05(left: Emptied) -> dict[str, Any]:
    """Four use cases, two protocols."""
    rows = pd.DataFrame({"alcohol": [9.0] * 5})
    gaps = {"fair": 0.0, "biased": 0.1, "biased, blind": 0.0}
    return tracked(left) | {
        "engine": {"metadata": {"name": "inference-mlflow-x"}},
        "CASES": ["wine", "income"],
        "FOREIGN": {},
        "proved": {},
        "rows": {"wine": rows, "income": rows},
        "scorers": {
            name: SimpleNamespace(url=f"{NOWHERE}/invocations") for name in ("wine", "income")
        },
        "OLD": "application/json; format=pandas-split",
        "alike": {"columns": ["features"] * 2, "data": [[1.0, 2.0]]},
        "gaps": gaps,
    }


def lab_06(left: Emptied) -> dict[str, Any]:
    """Search and ensembles on Spark."""
    one = "0" * 32
    numbers = np.arange(2.0)
    grades = pd.DataFrame({"bag": [0, 1], "out_of_bag": [0.6, 0.6]})
    return tracked(left) | {
        "address": NOWHERE,
        "http": left.http,
        "home": left.place.project_repo,
        "experiment_id": "1",
        "parent": one,
        "bayes": one,
        "bagging": one,
        "stacking": one,
        "grid": [{"alpha": 0.1}],
        "score": lambda **words: 0.7,
        "study": SimpleNamespace(trials=[1, 2], best_value=0.6),
        "done": lambda: [1],
        "trials": 1,
        "bags": 2,
        "answers": grades,
        "alone": grades,
        "each": np.zeros((2, 2)),
        "singles": [0.7, 0.7],
        "rmse": lambda predictions: 0.6,
        "y_test": numbers,
        "by_spark": numbers,
        "by_booster": numbers,
        "validated": {1: [0.5], 2: [0.5]},
        "speeds": {"bag": 1.0},
        "seconds": dict.fromkeys("abcde", 1.0),
    }


def lab_07(left: Emptied) -> dict[str, Any]:
    """Regression at each version."""
    home = left.place.project_repo
    return {
        "home": home,
        "tool": home,
        "local": home / "local",
        "run_folder": home / "run",
        "matrix_file": home / "versions.toml",
        "ARGUMENTS": [],
        "cases": home / "cases",
        "legacy": home / "legacy",
        "modern": home / "modern",
        "portable": ["portable"],
        "predicted": {("2.0.1", "sklearn"), ("2.0.1", "xgboost")},
    }


def lab_08(left: Emptied) -> dict[str, Any]:
    """Tracking server on the platform."""
    doors = ("first", "second")
    return tracked(left) | {
        "k8s": left.k8s,
        "http": left.http,
        "address": NOWHERE,
        "first": "mlflow-x",
        "second": "mlflow-drill-x",
        "keys": {"first": "a", "second": "b", "nobody": ""},
        "teams": dict.fromkeys(doors, (left.http, NOWHERE)),
        "operations": dict.fromkeys(
            ("search experiments", "search runs", "open the page"), ("GET", "", None)
        ),
        "tried": {(one, "nobody", "register a model"): 401 for one in doors},
        "selector": "kubedirector.hpe.com/kdcluster=mlflow-drill-x",
        "batch": client.BatchV1Api(left.k8s.core.api_client),
        "job": "log-mlflow-drill-x",
        "attacks": [("one", "GET", "version", None)] * 11,
        "refusals": {"one": (403, "")},
        "meanwhile": SimpleNamespace(asked=3, failed=0),
        "precious": "0" * 32,
        "name": "drill-1",
    }


def lab_09(left: Emptied) -> dict[str, Any]:
    """Patterns."""
    return {
        "batch": client.BatchV1Api(left.k8s.core.api_client),
        "leases": client.CoordinationV1Api(left.k8s.core.api_client),
        "WHERE": {"namespace": left.k8s.namespace},
        "prefix": "patterns-x",
        "name": "patterns-x-leader",
        "steps": [("two", 2, [0, 0]), ("one", 1, [0, 0])],
        "at_once": {"rollout": 2, "single": 1},
        "terms": [(1, "one"), (2, "other")],
    }


def lab_10(left: Emptied) -> dict[str, Any]:
    """The MTU black hole."""

    def gone(*words: object) -> str:
        raise OSError("no such process")

    side = SimpleNamespace(pid=0)
    world = SimpleNamespace(left=side, middle=side, right=side, offloads="", do=gone, ip=gone)
    results = {"nothing": "hangs", "probe": "done"}
    return {
        "world": world,
        "healthy": world,
        "servers": {},
        "SERVER": "",
        "CLIENT": "",
        "PROBE": "",
        "uploads": {1_200: "done", 20_000: "hangs"},
        "found": 1376,
        "answer": "done",
        "learned": "mtu 1376",
        "results": results | {"lower the ends": "done", "raise the middle": "done"},
        "cures": {"lower the ends": world, "raise the middle": world},
    }


def lab_11(left: Emptied) -> dict[str, Any]:
    """Sizing and deep clean."""
    kinds = {"Pod": (left.k8s.core, "pod"), "ConfigMap": (left.k8s.core, "config_map")}
    return {
        "size_file": left.place.project_repo / "size.txt",
        "inventory_file": left.place.project_repo / "inventory.yaml",
        "cores": 12.9,
        "memory": 40.0,
        "sizes": [(12.9, 40.0)],
        "mistakes": {"overlap": lambda all_: None},
        "WHERE": {"namespace": left.k8s.namespace},
        "KINDS": kinds,
        "name": "traces-x",
        "witness": "witness-x",
        "address": "127.0.0.1",
        "found": "found 0 old beats",
    }


def tracked(left: Emptied) -> dict[str, Any]:
    """Return what each lab after the first makes of its tracking server."""
    return {
        "server": "mlflow-x",
        "tracking": left.http,
        "tracking_address": NOWHERE,
        "client": mlflow.MlflowClient(NOWHERE),
    }


LABS = {
    "mlflow/01": lab_01,
    "mlflow/02": lab_02,
    "mlflow/03": lab_03,
    "mlflow/04": lab_04,
    "mlflow/05": lab_05,
    "mlflow/06": lab_06,
    "mlflow/07": lab_07,
    "mlflow/08": lab_08,
    "mlflow/09": lab_09,
    "mlflow/10": lab_10,
    "mlflow/11": lab_11,
}
