"""What the cells of each lab leave in their names after a good run, when the platform behind
them is then emptied: no object in the namespace, no file in the repository, nobody at the
addresses, and a session that is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import requests

from labhelpers.settings import Settings

__all__ = ["AT_THE_DOOR", "MEASURED", "Emptied"]

NOWHERE = "https://127.0.0.1:1"  # a port that nobody listens on

# The platform's door answers whoever knocks, also when all behind it is emptied: that it refuses
# strangers can only fail to be true where there is no door.
AT_THE_DOOR = frozenset({"Both wrong sign-ins are refused"})

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
    "The engine was told to reconnect, and no pod was restarted": "the restarts before",
    "The load was answered without a failure, says the engine": "the engine's counters before",
}


class Gone:
    """What stands for Spark, which is too slow to start for this: every table is gone."""

    read = property(lambda self: self)

    def load(self, path: str, *_: object, **__: object) -> Any:
        """Say what Spark says of a path without a table."""
        raise FileNotFoundError(f"[DELTA_PATH_DOES_NOT_EXIST] {path} doesn't exist")

    def parquet(self, path: str) -> Any:
        """Say what Spark says of a path without files."""
        raise FileNotFoundError(f"[PATH_NOT_FOUND] {path}")

    def table(self, name: str) -> Any:
        """Say what Spark says of a table nobody made."""
        raise LookupError(f"[TABLE_OR_VIEW_NOT_FOUND] {name}")

    def sql(self, question: str) -> Any:
        """Say the same of a table that is asked for in SQL."""
        raise LookupError(f"[TABLE_OR_VIEW_NOT_FOUND] in {question!r}")


@dataclass(frozen=True)
class Emptied:
    """An emptied platform: the learner's place there, and clients for what is left."""

    place: Settings
    k8s: Any  # labhelpers.cluster.Clients of an empty namespace
    session: dict[str, str]  # one that has been signed out
    over: Any  # labhelpers.cluster.Clients of that session
    http: requests.Session

    def names(self, lab: str, checkpoint: str = "") -> dict[str, Any]:
        """Return what the cells of a lab have made."""
        models, code = (self.place.project_repo / what for what in ("models", "code"))
        shared = {
            "place": self.place,
            "k8s": self.k8s,
            "http": self.http,
            "address": NOWHERE,
            "engine": "inference-server-x",
            "models": models,
            "code": code,
            "repo": self.place.project_repo,
            "where": {
                "group": "kubedirector.hpe.com",
                "version": "v1beta1",
                "namespace": self.k8s.namespace,
            },
        }
        own: dict[str, Any] = getattr(self, f"core_{lab.removeprefix('core/')}")(models, code)
        if checkpoint in AT_THE_DOOR:
            own["place"] = replace(self.place, url=NOWHERE)
        return shared | own

    def core_01(self, models: Path, code: Path) -> dict[str, Any]:
        """Sign in, look around, get refused."""
        space = self.k8s.namespace
        return {
            "session": self.session,
            "credentials": {"name": self.place.user, "password": "", "tenant_name": ""},
            "mistakes": [{"password": "wrong"}, {"tenant_name": "another"}],
            "known": {"user_name": self.place.user},
            "api": self.over.core.api_client,
            "authorization": self.over.auth,
            "questions": [("create", "configmaps", space, "")] * 5,
        }

    def core_02(self, models: Path, code: Path) -> dict[str, Any]:
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
            "browser": self.http,
        }

    def core_03(self, models: Path, code: Path) -> dict[str, Any]:
        """Build the lakehouse."""
        home = self.place.project_repo / "lakehouse" / "x"
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

    def core_04(self, models: Path, code: Path) -> dict[str, Any]:
        """Train."""
        return {
            "handed": {"path": "trips", "version": 3, "rows": 10, "table_version": 3},
            "reader": Gone(),
            "rows": 10,
            "names": ["hour"],
            "frame": pd.DataFrame({"hour": [1.0]}),
            "feature_file": self.place.project_repo / "rides.parquet",
            "baseline": 2.0,
            "card_file": models / "ride-duration-1.json",
            "card": {"mae": 1.0, "file": "ride-duration-1.skops", "features": ["hour"]},
        }

    def core_05(self, models: Path, code: Path) -> dict[str, Any]:
        """Register."""
        return {
            "card": {"file": "ride-duration-1.skops", "features": ["hour"]},
            "card_file": models / "ride-duration-1.json",
            "script_file": code / "score_rides.py",
            "lineage": {"table-version": "3"},
            "config_name": "model-x-1",
        }

    def core_06(self, models: Path, code: Path) -> dict[str, Any]:
        """Serve."""
        place = SimpleNamespace(longitude=-74.0, latitude=40.7)
        return {
            "card": {"features": ["hour"]},
            "url": f"{NOWHERE}/ride-duration/1/predict",
            "start": place,
            "end": place,
            "asked": [{"trip_distance": 1.0}] * 200,
            "good": {"hour": 17.0},
            "mistakes": {"no token": ({}, f"{NOWHERE}/ride-duration/1/predict", {"hour": 17.0})},
            "counted": {},
            "during": SimpleNamespace(failed=0),
            "after": SimpleNamespace(failed=0),
        }

    def core_07(self, models: Path, code: Path) -> dict[str, Any]:
        """Change the model while it serves."""
        return {
            "spark": Gone(),
            "card": {"table": "trips", "table_version": 3},
            "month": 3,
            "path": "trips",
            "second_file": models / "ride-duration-2.json",
            "version": 4,
            "ride": {"hour": 17.0},
            "crowd": SimpleNamespace(asked=10, failed=0),
            "restarts_before": {"inference-server-x-0": 0},
            "rows": [],
            "held": {"duration": 1.0},
        }
