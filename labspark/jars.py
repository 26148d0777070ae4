"""The jar with Delta and Iceberg: cut once, on this machine, out of a jar that a wheel brings.

`python -m labspark.jars` does it at set-up, and records which classes Spark loads in a labs'
first minute, so that Java maps them from one file instead of reading them from 250 jars (a class
data sharing archive: a session then starts in about half the time).

Why cut: the wheel's jar (82 MB) bundles many things that Spark has itself, and its list of data
sources has lost Delta and Iceberg. What is cut out (41 MB) has no overlap and lists both. Nothing
is redistributed. A site with Maven sets SPARK_DELTA_COORDINATES and needs none of this.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from labspark.errors import JarUnusable, SparkError
from labspark.java import find_java
from labspark.place import cache

__all__ = ["WHEEL", "archive", "lakehouse_jar", "prepare", "wheel_jar"]

WHEEL = "jsoniq"
FITS = "4.0.0"  # the Spark whose internals the jar was compiled against; 4.0.1 changed some
KEPT = (
    "io/delta/",
    "org/apache/spark/",
    "com/databricks/",
    "org/apache/iceberg/",
    "org/locationtech/jts/",  # Iceberg's writers need it
    "error/delta-error-classes.json",  # or every error of Delta is a NoClassDefFoundError
    "iceberg-build.properties",
    "META-INF/services/org.apache.iceberg.",
    "META-INF/LICENSE",
    "META-INF/NOTICE",
)
SOURCES = (
    "org.apache.spark.sql.delta.sources.DeltaDataSource",
    "org.apache.iceberg.spark.source.IcebergSource",
    "org.apache.spark.sql.avro.AvroFileFormat",
)
SERVICES = "META-INF/services/org.apache.spark.sql.sources.DataSourceRegister"
ARCHIVE_BYTES = 400_000_000
COORDINATES = "set SPARK_DELTA_COORDINATES to Maven coordinates that fit your Spark"


def lakehouse_jar() -> Path:
    """Return the jar with Delta and Iceberg; cut it when it is not there yet."""
    _refuse_misfit()
    jar = _place() / "lakehouse.jar"
    if not jar.is_file():
        _write(wheel_jar(), jar)
    return jar


def archive() -> Path | None:
    """Return the class data archive that fits this Spark, this Java and this jar, if it is made."""
    made = _place() / "classes.jsa"
    return made if made.is_file() else None


def prepare() -> None:
    """Cut the jar and record the archive, once; a second call does nothing."""
    jar = lakehouse_jar()
    made = jar.with_name("classes.jsa")
    if made.is_file():
        return
    free = shutil.disk_usage(jar.parent).free
    if free < ARCHIVE_BYTES:
        print(f"Expected 400 MB free in {jar.parent}, found {free // 10**6}: Spark starts slower.")
        return
    with tempfile.TemporaryDirectory(dir=jar.parent, prefix="archive-") as folder:
        fresh = Path(folder) / "classes.jsa"
        _dump(jar.with_name("java.jsa"), fresh)
        if fresh.is_file():
            fresh.replace(made)


def _place() -> Path:
    """Name the cache folder after all that decides what is in it."""
    import pyspark

    java = find_java()
    facts = (
        pyspark.__version__,
        pyspark.__file__,
        str(java),
        (java / "release").read_text(),
        importlib.metadata.version(WHEEL),
        KEPT,
        SOURCES,
    )
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
    return cache() / f"spark-{pyspark.__version__}-{digest}"


def _refuse_misfit() -> None:
    import pyspark

    if pyspark.__version__ != FITS:
        raise JarUnusable(
            f"Expected pyspark {FITS}, which the Delta jar was built for, found "
            f"{pyspark.__version__}; type `make setup`, or {COORDINATES}."
        )


def wheel_jar() -> Path:
    """Return the jar that the wheel brings."""
    wheel = importlib.util.find_spec(WHEEL)
    folder = Path(wheel.origin).parent / "jars" if wheel and wheel.origin else None
    found = sorted(folder.glob("*.jar")) if folder else []
    if not found:
        raise JarUnusable(
            f"Expected a jar in the {WHEEL} package, found none; "
            f"type `make setup`, or {COORDINATES}."
        )
    return found[0]


def _write(source: Path, jar: Path) -> None:
    """Write the jar whole or not at all, also when two learners start at once."""
    try:
        jar.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jar.parent, prefix="cut-") as folder:
            fresh = Path(folder) / jar.name
            cut(source, fresh)
            fresh.replace(jar)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(jar.parent).free // 10**6
            raise JarUnusable(
                f"Expected 50 MB free in {jar.parent}, found {free} MB; "
                "free some space, or set LABS_CACHE to a folder on another disk."
            ) from error
        raise JarUnusable(
            f"Expected to write into {jar.parent}, found: {error.strerror}; "
            "set LABS_CACHE to a folder that you may write to."
        ) from error
    except zipfile.BadZipFile as error:
        raise JarUnusable(
            f"Expected a jar in {source}, found a damaged file; type `make setup`."
        ) from error


def cut(source: Path, target: Path) -> None:
    """Copy what labs need out of the big jar and register its data sources again."""
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as slim:
        for entry in whole.infolist():
            if entry.filename.startswith(KEPT) and not entry.is_dir():
                slim.writestr(entry, whole.read(entry), zipfile.ZIP_DEFLATED, 6)
        slim.writestr(SERVICES, "\n".join(SOURCES) + "\n")


def _dump(base: Path, target: Path) -> None:
    """Run a lab's first minute in a process of its own and let Java record what it loaded."""
    if not base.is_file():
        java = find_java() / "bin" / "java"
        fresh = target.with_name(base.name)
        command = [str(java), "-Xshare:dump", f"-XX:SharedArchiveFile={fresh}"]
        subprocess.run(command, check=False, capture_output=True)
        if not fresh.is_file():
            return
        fresh.replace(base)
    env = {**os.environ, "LABS_RECORD_CLASSES": f"{base}:{target}", "SPARK_MASTER": "local[2]"}
    env["PROJECT_REPO"] = str(target.parent / "repository")
    done = subprocess.run(
        [sys.executable, "-m", "labspark.rehearsal"], env=env, capture_output=True, text=True
    )
    if done.returncode:
        print(f"Spark's classes could not be recorded (it starts slower): {done.stderr[-2000:]}")


if __name__ == "__main__":
    try:
        prepare()
    except SparkError as problem:
        sys.exit(str(problem))
