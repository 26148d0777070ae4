"""Where MLflow keeps things: a database on the pod's volume, artefacts on the project repository.

MLflow's own command hands these places to the server in variables that begin with an underscore.
The application is imported directly here, so they are set here: one process instead of fifteen.
They hold for the release that the lock pins.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from labapps.member.configmeta import Configmeta
from labapps.member.place import PathError, Place

__all__ = [
    "PORT",
    "Models",
    "artifacts",
    "database",
    "environment",
    "folder",
    "journal",
    "load",
    "prepare",
    "version",
]

PORT = 5000
STATE = "/var/lib/mlflow"
PROXIED = "mlflow-artifacts:/"


def database(place: Place) -> Path:
    """Return the file of MLflow's own database."""
    return place.path(STATE) / "mlflow.db"


def artifacts(place: Place, meta: Configmeta) -> Path:
    """Return the folder of this server's artefacts; a new cluster of the same name has its own."""
    return place.repository / "mlflow" / f"{meta.cluster}-{meta.cluster_id[:8]}".rstrip("-")


def journal(place: Place) -> Path:
    """Return the file of the moves of aliases."""
    return place.path(STATE) / "moves.db"


def folder(place: Place, meta: Configmeta, uri: str) -> Path | None:
    """Return where the artefacts of a URI lie; None for those of another machine."""
    if uri.startswith(PROXIED) and not uri.startswith(f"{PROXIED}/"):
        root = artifacts(place, meta).resolve()
        found = (root / unquote(uri.removeprefix(PROXIED)).lstrip("/")).resolve()
        return found if found.is_relative_to(root) else None
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    try:
        return place.resolve(unquote(parts.path))
    except PathError:
        return None


def environment(place: Place, meta: Configmeta) -> dict[str, str]:
    """Return what MLflow reads when its application is imported."""
    return {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database(place)}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": PROXIED,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts(place, meta).as_uri(),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        # The guard before MLflow checks them: they may change while the server runs.
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_MODEL_CATALOG_URI": "",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def prepare(place: Place, meta: Configmeta) -> None:
    """Make the folders, and let readers of the database go on while somebody writes."""
    artifacts(place, meta).mkdir(parents=True, exist_ok=True)
    path = database(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def load() -> Any:
    """Import MLflow's application and create or open its schema; this takes seconds."""
    application = importlib.import_module("mlflow.server.fastapi_app").app
    handlers = importlib.import_module("mlflow.server.handlers")
    handlers._get_tracking_store()
    handlers._get_model_registry_store()
    return application


class Models:
    """MLflow's model registry, asked in this process."""

    def __init__(self) -> None:
        handlers = importlib.import_module("mlflow.server.handlers")
        self._store = handlers._get_model_registry_store()
        self._tag = importlib.import_module("mlflow.entities.model_registry").ModelVersionTag
        self._error = importlib.import_module("mlflow.exceptions").MlflowException

    def aliases(self, name: str) -> dict[str, str]:
        """Return what each alias of a model means; nothing for a model that does not exist."""
        try:
            found = self._store.get_registered_model(name).aliases
        except self._error:
            return {}
        return {str(alias): str(version) for alias, version in found.items()}

    def location(self, name: str, version: str) -> str:
        """Return where the files of a version lie."""
        return str(self._store.get_model_version_download_uri(name, version))

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._store.set_model_version_tag(name, version, self._tag(key, value))


def version() -> str:
    """Return the release of MLflow."""
    return importlib.metadata.version("mlflow")
