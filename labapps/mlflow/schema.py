"""Which form the tables of a database have, and how an older form becomes the present one.

MLflow numbers the forms of its tables by revisions. A server whose release is newer than its
database refuses to start; here it migrates the database first, after a backup.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sqlite3
from pathlib import Path
from typing import Any

__all__ = ["head", "is_known", "migrate", "revision"]


def revision(path: Path) -> str:
    """Return the revision of a database file; empty for one without tables."""
    if not path.is_file():
        return ""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return ""
    return str(found[0]) if found else ""


def head() -> str:
    """Return the revision that the installed release wants: the one that no other follows."""
    found = _revisions()
    (last,) = found.keys() - {before for befores in found.values() for before in befores}
    return last


def is_known(found: str) -> bool:
    """Tell whether the installed release can read a database of this revision, or migrate it."""
    return not found or found in _revisions()


def _revisions() -> dict[str, list[str]]:
    """Return each revision and those it follows, from MLflow's files: an import takes seconds."""
    place = importlib.util.find_spec("mlflow")
    if place is None or not place.submodule_search_locations:
        raise RuntimeError("MLflow is not installed in this environment.")
    folder = Path(place.submodule_search_locations[0]) / "store" / "db_migrations" / "versions"
    found = {}
    for path in folder.glob("*.py"):
        text = path.read_text("utf-8")
        if own := re.search(r"^revision\b[^=\n]*= *[\"'](\w+)", text, re.M):
            follows = re.search(r"^down_revision\b[^=\n]*=(.*)", text, re.M)
            found[own[1]] = re.findall(r"[\"'](\w+)[\"']", follows[1]) if follows else []
    return found


def migrate(path: Path) -> None:
    """Bring the tables of a database to the present revision."""
    utils: Any = importlib.import_module("mlflow.store.db.utils")
    engine = utils.create_sqlalchemy_engine_with_retry(f"sqlite:///{path}")
    try:
        utils._upgrade_db(engine)
    finally:
        engine.dispose()
