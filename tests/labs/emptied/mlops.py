"""The names that the labs of the broken pipeline leave behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from tests.labs.emptied.place import NOWHERE, Emptied, Gone

__all__ = ["LABS", "MEASURED"]

MEASURED: dict[str, str] = {}
TABLE = "ice.mlops.loans"


class NoModel:
    """What stands for Spark's reader of models, which would start a JVM to find no file."""

    @staticmethod
    def load(path: str) -> Any:
        """Say what Spark says of a model nobody saved."""
        raise FileNotFoundError(f"[PATH_NOT_FOUND] {path}/metadata")


def gone(*_: object, **__: object) -> Any:
    """Say what Spark says when its context is away."""
    raise LookupError("[NO_ACTIVE_SESSION] the Spark session has ended")


def shared(left: Emptied) -> dict[str, Any]:
    """Return what the setup cells make."""
    return {
        "web": left.http,
        "workbench": NOWHERE,
        "airflow": NOWHERE,
        "flow": "airflow-x",
        "project": "p",
        "jobs": "/projects/p/jobs",
        "files": "/projects/p/files",
        "home": left.place.project_repo / "mlops",
        "metadata": left.place.project_repo / "warehouse" / "metadata",
        "table": TABLE,
        "spark": Gone(),
        "PipelineModel": NoModel,
        "batch": pd.DataFrame({"loan_id": range(10), "home_ownership": ["RENT"] * 10}),
        "deployed": {"access_key": "m", "version": 1},
        "sample": [{"spark": 0.5, "loan_id": 1}],
        "run": "manual",
        "versions": [1, 1, 2],
    }


def lab_01(left: Emptied) -> dict[str, Any]:
    """Baseline."""
    shown = pd.DataFrame({False: [5, 1], True: [2, 2]}, index=[False, True])
    held = SimpleNamespace(count=lambda: 10)
    faulty = pd.DataFrame({"annual_inc": [1.0, np.nan]})
    return shared(left) | {
        "by_purpose": pd.DataFrame({"purpose": ["a", "b"], "charged off": [0.4, 0.1]}),
        "held": held,
        "best": 0.74,
        "shown": shown,
        "faulty": faulty,
    }


def lab_02(left: Emptied) -> dict[str, Any]:
    """Jobs and endpoint."""
    return shared(left) | {
        "bench": "workbench-x",
        "first": "j",
        "fine": "j",
        "late": "k",
        "programs": {"train.py": "", "push.py": ""},
        "GOOD": "ENGINE_SUCCEEDED",
        "OPEN": {"ENGINE_RUNNING"},
        "trained": {"auc": 0.67},
    }


def lab_03(left: Emptied) -> dict[str, Any]:
    """Airflow."""
    dags = Path(left.place.project_repo) / "airflow"
    return shared(left) | {"secret_name": "airflow-jobs-x", "dags": dags}


def lab_04(left: Emptied) -> dict[str, Any]:
    """The pipeline."""
    return shared(left) | {"order": "start >> load >> train_chain >> report >> end"}


def lab_05(left: Emptied) -> dict[str, Any]:
    """It breaks."""
    columns = {"term", "home_ownership", "purpose"}
    frame = SimpleNamespace(count=gone)
    return shared(left) | {
        "unsupported": columns,
        "added": sorted(columns),
        "numbers": ["annual_inc"],
        "half": 10,
        "soft": frame,
        "few": frame,
        "VectorAssembler": gone,  # the real one looks for a Spark that another test may have ended
    }


def lab_06(left: Emptied) -> dict[str, Any]:
    """Repair by time travel."""
    line = SimpleNamespace(coefficients=np.array([1.0]), intercept=0.0)
    policy = SimpleNamespace(setHandleInvalid=lambda policy: None)
    model = SimpleNamespace(stages=[None, None, line])
    return shared(left) | {
        "again": model,
        "saved": model,
        "keeping": SimpleNamespace(stages=[None, None, policy], transform=gone),
        "strict": SimpleNamespace(stages=[None, None, policy], transform=gone),
        "arrived": None,
        "tagged": SimpleNamespace(select=gone),
        "kept": 10,
        "skipped": 9,
        "conf": {"batch": "2024-03.csv"},
        "wanted": [1.0],
    }


def lab_07(left: Emptied) -> dict[str, Any]:
    """Prevent it."""
    return shared(left) | {"published": 1}


def lab_08(left: Emptied) -> dict[str, Any]:
    """Whose model is this."""
    reported = {"snapshot": "5", "rows scored": 10, "gain": 1.0, "requests failed": 0}
    record = {"version": 1, "snapshot": "5", "rows": 10, "model": "m", "dag_run": "d"}
    return shared(left) | {
        "builds": {1: {"build_digest": "a"}, 2: {"build_digest": "b"}},
        "records": {1: record, 2: record},
        "record": record,
        "bank": "workbench-x",
        "proof": "p",
        "again": "j",
        "run": "r",
        "OPEN": {"ENGINE_RUNNING"},
        "done": {"status": "ENGINE_SUCCEEDED"},
        "reported": reported,
        "key": "k",
        "address": f"{NOWHERE}/page",
        "where": SimpleNamespace(hostname="127.0.0.1", port=1),
        "secret": "s",
        "lost": {1001},
    }


LABS = {
    "mlops/01": lab_01,
    "mlops/02": lab_02,
    "mlops/03": lab_03,
    "mlops/04": lab_04,
    "mlops/05": lab_05,
    "mlops/06": lab_06,
    "mlops/07": lab_07,
    "mlops/08": lab_08,
}
