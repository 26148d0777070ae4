"""The names that the logistics labs leave behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from labhelpers import Crowd
from tests.labs.emptied.place import NOWHERE, Emptied, Gone

__all__ = ["LABS", "MEASURED"]

MEASURED: dict[str, str] = {}


def home(left: Emptied, lab: str) -> dict[str, Any]:
    """Return the folders of a lab: its own, and one of data that is not there."""
    own: Path = left.place.project_repo / lab
    own.mkdir()
    return {"home": own, "source": own / "fleet"}


def lab_00(left: Emptied) -> dict[str, Any]:
    """Generate the fleet."""
    names = {"spark": Gone(), "bench": "workbench-x", "table": "ice.fleet.iot"}
    more = {"base": "/projects/x", "done": {"job_id": "x", "id": "x"}, "MERGE": "MERGE"}
    return home(left, "logistics-00") | names | more


def lab_01(left: Emptied) -> dict[str, Any]:
    """Map."""
    return home(left, "logistics-01") | {
        "borders": {"features": []},
        "LOOKS": {"tank low": ("■", "#0072B2", "s")},
    }


def lab_02(left: Emptied) -> dict[str, Any]:
    """Locate."""
    point = "ST_SetSRID(ST_Point(longitude, latitude), 4326)"
    nowhere = pd.DataFrame({"longitude": [0.0], "latitude": [0.0]})
    return home(left, "logistics-02") | {
        "sd": Gone(),
        "POINT": point,
        "METRES": "ST_Distance(a, b)",
        "DEPOT": point,
        "noon": "FROM repaired",
        "BAD": "SELECT name FROM valid",
        "events": nowhere,
        "points": nowhere,
    }


def lab_03(left: Emptied) -> dict[str, Any]:
    """Find patterns."""
    names = home(left, "logistics-03")
    return names | {"spark": Gone(), "notes": names["home"] / "findings.json"}


def lab_04(left: Emptied) -> dict[str, Any]:
    """Deploy two models."""
    own = home(left, "logistics-04")
    where = {"dev": "/projects/x", "prd": "/projects/y", "nearest": "/x", "finder": "/y"}
    more = {"admin": "x", "mine": "y", "hello": {"data": b"x", "key": "y"}, "signals": {}}
    names = {"bench": "workbench-x", "source": own["source"], "name": "0x1", "good": {}}
    return own | where | more | names


def workbench(left: Emptied, lab: str) -> dict[str, Any]:
    """Return what a lab knows of a workbench that is gone, and of its models."""
    own = home(left, lab)
    model = {"id": "x", "access_key": "m", "project": {"id": "x"}}
    names = {"bench": "workbench-x", "prd": "/projects/x", "nearest": model, "customer": {}}
    return own | names | {"deployment": {"id": "x", "build_id": "x", "crn": "x"}}


def lab_05(left: Emptied) -> dict[str, Any]:
    """Send traffic."""
    sent = {str(number): True for number in range(1_200)}
    bad = {str(number): (422, str(number)) for number in range(5)}
    events = pd.DataFrame({"device_id": ["0x1"], "iot_signal_1": [1.0]})
    more = {
        "sent": sent,
        "measured": [[1, 0]],
        "refused": bad,
        "nonsense": bad,
        "finder": {"access_key": "m"},
    }
    motifs = {f"0x{number}": [1] * 4 for number in range(10)}
    own = {"motifs": motifs, "lorries": list(motifs), "events": events}
    return workbench(left, "logistics-05") | more | own


def lab_06(left: Emptied) -> dict[str, Any]:
    """Watch."""
    nothing = pd.DataFrame({"replica": ["x"], "used MB": [5.0]})
    known = np.linspace(50, 54, 100)
    more = {"crn": "x/y", "used": nothing, "known": known, "half": known, "quiet": 20}
    return workbench(left, "logistics-06") | more


def lab_07(left: Emptied) -> dict[str, Any]:
    """Redeploy without a gap."""
    customers = Crowd(lambda: True).send(60)
    more = {
        "answers": [(0.0, str(number), "x") for number in range(3)],
        "customers": customers,
        "builds": "/x",
        "before": {"id": "x", "crn": "x"},
    }
    return workbench(left, "logistics-07") | more | {"good": {"id": "x"}, "by_crn": {}}


def tracked(left: Emptied, lab: str) -> dict[str, Any]:
    """Return what a lab knows of an MLflow that is gone, and of a model that it registered."""
    run = SimpleNamespace(info=SimpleNamespace(run_id="0" * 32, experiment_id="1"))
    mlflow.set_tracking_uri(NOWHERE)
    names = {"tracking": left.http, "tracking_address": NOWHERE, "server": "mlflow-x"}
    own = {"client": mlflow.MlflowClient(NOWHERE), "parent": run, "best": run, "spark": Gone()}
    more = {"table": "ice.fleet.failures", "builds": "/x", "SIGNALS": ["iot_signal_1"]}
    return workbench(left, lab) | names | own | more


def lab_08(left: Emptied) -> dict[str, Any]:
    """Predict failures."""
    moments = pd.to_datetime(["2026-03-02", "2026-03-03"])
    rows = pd.DataFrame({"event_ts": moments, "iot_failure": [0, 1], "iot_signal_1": [1.0, 2.0]})
    parts = {"learn": rows[:1], "judge": rows[1:], "snapshot": 1, "served": "x/y"}
    question = {"dataframe_split": {"columns": ["iot_signal_1"], "data": [[1.0]]}}
    more = {"version": {"number": 1}, "model": {"id": "x"}, "question": question}
    return tracked(left, "logistics-08") | parts | more


def lab_09(left: Emptied) -> dict[str, Any]:
    """Close the loop."""
    names = ("take", "judge", "retrain", "deploy")
    programs = dict.fromkeys(names, "")
    lines = {"TAKE": "start-snapshot-id", "RETRAIN": "0.995", "programs": programs}
    failed = {"status": "ENGINE_FAILED", "created_at": "x", "facts": {}}
    asked = {"failed": failed, "model": {"access_key": "m"}, "new": Gone(), "first": "x"}
    more = {"champion": "1", "answers": {"u": {"id": 1, "chance": 0.5}}, "crn": "x/y"}
    known = pd.DataFrame({"iot_failure": [1]}, index=[1])
    return tracked(left, "logistics-09") | lines | asked | more | {"known": known}


LABS = {
    "logistics/00": lab_00,
    "logistics/01": lab_01,
    "logistics/02": lab_02,
    "logistics/03": lab_03,
    "logistics/04": lab_04,
    "logistics/05": lab_05,
    "logistics/06": lab_06,
    "logistics/07": lab_07,
    "logistics/08": lab_08,
    "logistics/09": lab_09,
}
