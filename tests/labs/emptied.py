"""What the cells of each lab leave in their names after a good run, when the platform behind
them is then emptied: no object in the namespace, no file in the repository, nobody at the
addresses, and a session that is over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import requests

from labhelpers.settings import Settings

__all__ = ["MEASURED", "Emptied"]

NOWHERE = "https://127.0.0.1:1"  # a port that nobody listens on
REFUSED = SimpleNamespace(status_code=404, ok=False)
ANSWERED = SimpleNamespace(status_code=200, ok=True)

# These judge what their step has just measured: an answer, a refusal, a figure. An emptied
# platform takes nothing of it back, so they must fail when the step was not run.
MEASURED = frozenset(
    {
        "The session is yours and it ends",
        "Both wrong sign-ins are refused",
        "The wrong role was refused, and nothing of it is there",
        "The baseline knows that longer rides take longer",
        "The model is clearly better than the baseline, and not too good to be true",
        "The saved pipeline predicts what the training job predicted",
        "The old model answered while the new registration was broken",
        "One ride has a sensible prediction",
        "Longer routes take longer, and every route has a prediction",
        "The load was answered without a failure",
        "The speed has drifted and the distances have not",
        "Both versions answer, and not one request failed meanwhile",
    }
)


class Tables:
    """What stands for Spark, which is too slow to start for this: tables read from nowhere."""

    read = property(lambda self: self)

    def load(self, path: str, *_: object, **__: object) -> Any:
        """Say what Spark says of a path without a table."""
        raise FileNotFoundError(f"[DELTA_PATH_DOES_NOT_EXIST] {path} doesn't exist")

    def where(self, _: str) -> Tables:
        """Stay lazy, as a table does until it is counted."""
        return self

    def count(self) -> int:
        """Say what Spark says of a table whose files are gone."""
        raise FileNotFoundError("[DELTA_EMPTY_DIRECTORY] no file found")


@dataclass(frozen=True)
class Emptied:
    """An emptied platform: the learner's place there, and clients for what is left."""

    place: Settings
    k8s: Any  # labhelpers.cluster.Clients of an empty namespace
    session: dict[str, str]  # one that has been signed out
    authorization: Any  # the client of that session
    http: requests.Session

    def names(self, lab: str) -> dict[str, Any]:
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
        return shared | own

    def core_01(self, models: Path, code: Path) -> dict[str, Any]:
        """Sign in, look around, get refused."""
        space = self.k8s.namespace
        return {
            "session": self.session,
            "known": {"user_name": self.place.user},
            "remaining": 3600.0,
            "refusals": [[401], [403]],
            "current": {"context": {"namespace": space}},
            "authorization": self.authorization,
            "questions": [("create", "configmaps", space, "")] * 5,
            "rights": {("create", "configmaps", space, ""): True},
            "refusal": "secrets is forbidden",
        }

    def core_02(self, models: Path, code: Path) -> dict[str, Any]:
        """Deploy a notebook."""
        return {
            "apps": [{"metadata": {"name": "jupyter-notebook"}}],
            "shared": {"status": {"state": "configured"}},
            "cluster": {"status": {"state": "configured"}},
            "name": "jupyter-notebook-x",
            "secret_name": "kc-secret-x",
            "refusal": "Invalid role; expected controller",
            "selector": "kubedirector.hpe.com/kdcluster=jupyter-notebook-x",
        }

    def core_04(self, models: Path, code: Path) -> dict[str, Any]:
        """Train."""
        return {
            "handed": {"path": "trips", "version": 3, "rows": 10, "table_version": 3},
            "reader": Tables(),
            "rows": 10,
            "names": ["hour"],
            "frame": pd.DataFrame({"hour": [1.0]}),
            "feature_file": self.place.project_repo / "rides.parquet",
            "baselines": pd.DataFrame({"seconds off": [2.0, 1.0]}),
            "baseline": 1.0,
            "card_file": models / "ride-duration-1.json",
            "card": {"mae": 1.0, "baseline_mae": 2.0},
            "right": [1.0],
            "skewed": [2.0],
            "some": {"predicted": [1.0]},
        }

    def core_05(self, models: Path, code: Path) -> dict[str, Any]:
        """Register."""
        return {
            "card": {"mae": 1.0, "baseline_mae": 2.0, "file": "ride-duration-1.skops"},
            "lineage": {"table-version": "3"},
            "config_name": "model-x-1",
            "answer": ANSWERED,
            "complaint": "expected a file at nowhere.skops",
        }

    def core_06(self, models: Path, code: Path) -> dict[str, Any]:
        """Serve."""
        return {
            "url": f"{NOWHERE}/ride-duration/1/predict",
            "body": {},
            "answer": ANSWERED,
            "minutes": 60.0,
            "distances": [1.0, 2.0],
            "predicted": [1.0, 2.0],
            "answers": {"no token": REFUSED},
            "failed": 0,
            "before": [1.0] * 400,
            "failed_during": 0,
            "failed_after": 0,
        }

    def core_07(self, models: Path, code: Path) -> dict[str, Any]:
        """Change the model while it serves."""
        return {
            "spark": Tables(),
            "before": Tables(),
            "after": Tables(),
            "month": 3,
            "path": "trips",
            "drift": {"mph": 0.4, "trip_distance": 0.0},
            "second_file": models / "ride-duration-2.json",
            "version": 4,
            "counts": {"asked": 10, "failed": 0},
            "names_served": ["ride-duration/1"],
            "told": [["Cluster", "called --reconnect"]],
            "restarts_before": {"inference-server-x-0": 0},
            "first_error": 2.0,
            "second_error": 1.0,
            "rows": [],
            "held": {"duration": 1.0},
            "lineage": [[which, "1", 3, ""] for which in ("1", "2", "production")],
        }
