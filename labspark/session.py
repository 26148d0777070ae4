"""A Spark session for a lab: Delta as the session's catalog, Iceberg as the catalog `ice`.

    from labspark.session import session

    spark = session("lakehouse")

The same lines run on the laptop, on a Spark standalone cluster and on Kubernetes; the environment
decides:

    SPARK_MASTER                 local[*] when it is not set
    SPARK_CONF_spark_sql_shuffle_partitions=64   any Spark setting: `_` stands for `.`, `__` for `_`
    SPARK_DELTA_COORDINATES      Maven coordinates of Delta and Iceberg instead of the local jar
    PROJECT_REPO                 the tables' warehouse is a folder in it

Times in the data are wall-clock times and are kept as they are: the session's time zone is UTC.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from labspark import gateway, jars, stages
from labspark.errors import SparkUnavailable
from labspark.place import project_repo, user

__all__ = ["session", "settings"]

OVERHEAD = 400 * 2**20  # what Java takes beside its heap
SMALLEST, LARGEST = 512 * 2**20, 4 * 2**30


def session(
    app: str = "labs", *, ui: bool = False, conf: Mapping[str, str] | None = None
) -> SparkSession:
    """Return the Spark session of this process, and start one when there is none."""
    wanted = settings(app, ui=ui, conf=conf)
    coordinates = wanted.get("spark.jars.packages")
    gateway.launch(
        wanted,
        classpath=[] if coordinates else [jars.lakehouse_jar()],
        archive=None if coordinates else jars.archive(),
        memory=wanted["spark.driver.memory"],
    )
    builder = SparkSession.builder
    for name, value in wanted.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # PySpark logs each exception that it raises, too, as a line of JSON.
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)
    stages.show(spark)
    return spark


def settings(
    app: str = "labs", *, ui: bool = False, conf: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the Spark settings of a session; the environment has the last word."""
    master = os.environ.get("SPARK_MASTER", "local[*]")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = {
        "spark.app.name": app,
        "spark.master": master,
        "spark.ui.enabled": str(ui).lower(),
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.inferTimestampNTZ.enabled": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.shuffle.partitions": str(2 * (cores or 2)),
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(cores or 2),
        "spark.databricks.delta.snapshotPartitions": "2",
        **_catalogs(),
        **(_local() if master.startswith("local") else _remote(master)),
        **(conf or {}),
        **_environment(),
    }
    if "spark.driver.memory" not in wanted:
        wanted["spark.driver.memory"] = f"{heap() // 2**20}m"
    python = sys.executable
    if not master.startswith("k8s"):  # there, the executors' image has a Python of its own
        os.environ.setdefault("PYSPARK_PYTHON", python)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", python)
    return wanted


def heap() -> int:
    """Return bytes of heap such that Java stays below half of the memory we may use."""
    least, most = SMALLEST + OVERHEAD, os.environ.get("POD_MEMORY_LIMIT", "")
    if most.isdecimal() and int(most) < least:
        raise SparkUnavailable(
            f"Expected at least {least >> 20} MiB of memory for Spark, found a pod that may use "
            f'{int(most) >> 20} MiB. Give it more: in lab core-02 put `memory = "3Gi"` into a cell '
            "below the parameters and run from step 3 on."
        )
    total = psutil.virtual_memory().total
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such control group, or "max"
            continue
    return max(SMALLEST, min(LARGEST, total // 2 - OVERHEAD))


def _catalogs() -> dict[str, str]:
    repository = project_repo()
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension,"
        "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.catalog.ice": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.ice.type": "hadoop",
        "spark.sql.catalog.ice.warehouse": str(repository / "warehouse" / user() / "ice"),
        "spark.sql.warehouse.dir": str(repository / "warehouse" / user()),
    } | _coordinates()


def _coordinates() -> dict[str, str]:
    named = os.environ.get("SPARK_DELTA_COORDINATES", "").strip()
    return {"spark.jars.packages": named} if named else {}


def _local() -> dict[str, str]:
    return {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


def _remote(master: str) -> dict[str, str]:
    """Send the jar along, so that the executors have Delta and Iceberg too."""
    found = {} if _coordinates() else {"spark.jars": str(jars.lakehouse_jar())}
    if not master.startswith("k8s://"):
        return found
    # The name of a driver's pod is known to nobody else: executors call its address.
    return found | {"spark.driver.host": _address(master), "spark.driver.bindAddress": "0.0.0.0"}


def _address(master: str) -> str:
    """Return the address that this machine has on the way to a master; no packet is sent."""
    place = urlsplit(master.removeprefix("k8s://"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((place.hostname or master, place.port or 443))
        except OSError as error:
            raise SparkUnavailable(
                f"Expected a Kubernetes API in SPARK_MASTER, such as k8s://https://host:6443, "
                f"found {master!r} ({error}). Ask who runs the cluster, or unset SPARK_MASTER."
            ) from error
        return str(probe.getsockname()[0])


def _environment() -> dict[str, str]:
    """Read SPARK_CONF_<name>=<value>; a name all in capitals is taken as all lower case.

    >>> os.environ["SPARK_CONF_spark_executor_memory"] = "2g"
    >>> _environment()["spark.executor.memory"]
    '2g'
    >>> del os.environ["SPARK_CONF_spark_executor_memory"]
    """
    read = {}
    for variable, value in os.environ.items():
        name = variable.removeprefix("SPARK_CONF_")
        if name == variable or name == "DIR":  # SPARK_CONF_DIR is Spark's own
            continue
        name = name.lower() if name.isupper() else name
        dotted = name.replace("__", "\0").replace("_", ".").replace("\0", "_")
        read[dotted if dotted.startswith("spark.") else f"spark.{dotted}"] = value
    return read
