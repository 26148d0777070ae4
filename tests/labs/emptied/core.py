"""The names that the core labs leave behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from tests.labs.emptied.place import NOWHERE, Emptied, Gone

__all__ = ["LABS", "MEASURED"]

# Each of these looks at the platform, and beside it at what somebody saw while something happened.
# No platform keeps that, and looking again would make it happen again.
MEASURED = {
    "Atomicity: the killed writer left files, and no change": "what was there before the writer",
    "Isolation: one lost and tried again, both effects are there, nobody saw half of one": (
        "the conflict, which no log records, and what a reader saw between two commits"
    ),
    "Durability: a new process reads every ride back": "what that process counted; 8 s to ask it",
    "CONVERT TO DELTA moved nothing and lost nothing": "which files were there before",
    "Two workers serve, and no request failed on the way": "what callers saw meanwhile",
    "All versions answer, and not one request failed meanwhile": "what callers saw meanwhile",
    "The engine was told to reconnect, and no pod was restarted": (
        "the restarts before, and the count of events, which are kept for an hour"
    ),
    "Version 3 holds in the month that it has not seen, is production, and no request failed": (
        "what callers saw meanwhile"
    ),
    "The load was answered without a failure, says the engine": "the engine's counters before",
}


def lab_01(left: Emptied) -> dict[str, Any]:
    """Sign in, look around, get refused."""
    space = left.k8s.namespace
    return {
        "session": left.session,
        "credentials": {"name": left.place.user, "password": "", "tenant_name": ""},
        "mistakes": [{"password": "wrong"}, {"tenant_name": "another"}],
        "known": {"user_name": left.place.user},
        "api": left.over.core.api_client,
        "authorization": left.over.auth,
        "questions": [("create", "configmaps", space, "")] * 5,
    }


def lab_02(left: Emptied) -> dict[str, Any]:
    """Deploy a notebook."""
    role = {"id": "notebook", "members": 1, "resources": {"limits": {}, "requests": {}}}
    wrong = {
        "apiVersion": "kubedirector.hpe.com/v1beta1",
        "kind": "KubeDirectorCluster",
        "metadata": {"name": "wrong-x"},
        "spec": {"app": "jupyter-notebook", "appCatalog": "local", "roles": [role]},
    }
    return {
        "name": "jupyter-notebook-x",
        "secret_name": "kc-secret-x",
        "selector": "kubedirector.hpe.com/kdcluster=jupyter-notebook-x",
        "wrong": wrong,
        "browser": left.http,
        "git_name": "git-x",
        "source_name": "labs-of-x",
        "clone": left.place.project_repo / "labs" / "x",
    }


def lab_03(left: Emptied) -> dict[str, Any]:
    """Build the lakehouse."""
    home = left.place.project_repo / "lakehouse" / "x"
    return {
        "spark": Gone(),
        "home": home,
        "lake": home / "lake",
        "copied": home / "copied",
        "rides": home / "rides",
        "live": home / "live",
        "arrivals": home / "arrivals",
        "total": 10,
        "before": set(),
        "hours": "SELECT 24",
        "known": "SELECT 10",
        "listed": set(),
        "there": 10,
        "forward": "true",
        "tally": "tally",
        "conflicts": ["ConcurrentAppendException"],
        "seen": {(0, 0)},
        "read_again": 10,
        "jfk": "PULocationID = 132",
    }


def lab_04(left: Emptied) -> dict[str, Any]:
    """Train."""
    return {
        "handed": {"path": "trips", "version": 3, "rows": 10, "table_version": 3},
        "reader": Gone(),
        "rows": 10,
        "spark": Gone(),
        "trips": SimpleNamespace(dtypes=[("hour", "int")]),
        "recipe": "SELECT 1",
        "known": ["hour"],
        "trusted": [],
        "ways": {"as prepared": True},
        "frame": pd.DataFrame({"hour": [1.0]}),
        "feature_file": left.place.project_repo / "rides.parquet",
        "baseline": 2.0,
        "card_file": left.models / "ride-duration-1.json",
        "card": {"mae": 1.0, "file": "ride-duration-1.skops"},
    }


def lab_05(left: Emptied) -> dict[str, Any]:
    """Register."""
    return {
        "card": {"file": "ride-duration-1.skops"},
        "card_file": left.models / "ride-duration-1.json",
        "script_file": left.code / "score_rides.py",
        "lineage": {"table-version": "3", "model-digest": "0"},
        "config_name": "model-x-1",
        "record": "record-x-1-0",
    }


def lab_06(left: Emptied) -> dict[str, Any]:
    """Serve."""
    place = SimpleNamespace(longitude=-74.0, latitude=40.7)
    return {
        "features": ["hour"],
        "url": f"{NOWHERE}/ride-duration/1/predict",
        "start": place,
        "end": place,
        "asked": [{"straight_miles": 1.0}] * 263,
        "good": {"hour": 17.0},
        "mistakes": {"no token": ({}, f"{NOWHERE}/ride-duration/1/predict", {"hour": 17.0})},
        "counted": {},
        "during": SimpleNamespace(failed=0),
        "after": SimpleNamespace(failed=0),
    }


def lab_07(left: Emptied) -> dict[str, Any]:
    """Change the model while it serves."""
    ride = {"hour": [17.0], "duration": [1.0], "borough": ["Queens"]}
    rides = pd.DataFrame(ride | {"pickup": pd.to_datetime(["2024-04-01"])})
    return {
        "spark": Gone(),
        "card": {"table": "trips", "table_version": 3},
        "next_month": "2024-04",
        "path": "trips",
        "beside": ["duration", "borough", "pickup"],
        "keep": ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration"),
        "months": ["month_3"],
        "third_rides": left.place.project_repo / "rides-v4-pace.parquet",
        "second_file": left.models / "ride-duration-2.json",
        "version": 4,
        "ride": rides,
        "some": rides,
        "april": rides,
        "asking": SimpleNamespace(asked=10, failed=0),
        "reconnects_before": 0,
        "crowd": SimpleNamespace(asked=10, failed=0),
        "restarts_before": {"inference-server-x-0": 0},
        "held": rides,
    }


LABS = {
    "core/01": lab_01,
    "core/02": lab_02,
    "core/03": lab_03,
    "core/04": lab_04,
    "core/05": lab_05,
    "core/06": lab_06,
    "core/07": lab_07,
}
