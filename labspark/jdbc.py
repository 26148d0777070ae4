"""PostgreSQL's JDBC driver, cut once out of the jar that brings Delta and Iceberg.

    spark = session("ingest", conf=jdbc.settings())

The jar of the wheel holds the driver beside a thousand other things; Spark gets the driver alone.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
import zipfile
from pathlib import Path

from labspark import jars
from labspark.errors import JarUnusable
from labspark.place import cache

__all__ = ["DRIVER", "jar", "settings"]

DRIVER = "org.postgresql.Driver"
KEPT = ("org/postgresql/", "com/ongres/")  # the driver, and what it signs in with
SERVICE = "META-INF/services/java.sql.Driver"


def jar() -> Path:
    """Return the driver's jar; cut it when it is not there yet."""
    made = cache() / f"postgresql-{importlib.metadata.version(jars.WHEEL)}.jar"
    if made.is_file():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent, prefix="cut-") as folder:
        fresh = Path(folder) / made.name
        _cut(jars.wheel_jar(), fresh)
        fresh.replace(made)
    return made


def settings() -> dict[str, str]:
    """Return the Spark settings that bring the driver along."""
    return {"spark.jars": str(jar())}


def _cut(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as slim:
        for entry in whole.infolist():
            if entry.filename.startswith(KEPT) and not entry.is_dir():
                slim.writestr(entry, whole.read(entry), zipfile.ZIP_DEFLATED, 6)
        if f"{DRIVER.replace('.', '/')}.class" not in slim.namelist():
            raise JarUnusable(
                f"Expected PostgreSQL's driver in {source.name}, found none; type `make setup`."
            )
        slim.writestr(SERVICE, DRIVER + "\n")
