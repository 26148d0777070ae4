"""The command line and environment of each Spark daemon: pure functions."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Daemon", "history", "master", "spark_home", "worker"]

HEAP = "256m"
LOOPBACK_OPTIONS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]


@dataclass(frozen=True)
class Daemon:
    """A Java program that must run as long as the pod does."""

    name: str
    argv: list[str]
    env: dict[str, str]


def spark_home() -> Path:
    """Return where the pyspark package lies."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise RuntimeError("Expected the package pyspark; found none: pip install pyspark==4.0.0")
    return Path(spec.origin).parent


def scala(home: Path) -> str:
    """Return the Scala version that this Spark was built for."""
    jar = next(home.glob("jars/spark-core_*.jar"))
    return jar.name.removeprefix("spark-core_").partition("-")[0]


def _daemon(
    name: str, java: Path, listen: str, options: list[str], program: list[str], log_config: Path
) -> Daemon:
    home = spark_home()
    argv = [
        str(java / "bin" / "java"),
        f"-Xmx{HEAP}",
        *LOOPBACK_OPTIONS,
        f"-Dlog4j2.configurationFile={log_config}",
        *options,
        "-cp",
        f"{home}/jars/*",
        *program,
    ]
    # Spark's own scripts would find the Scala version out; a worker needs it to start executors.
    env = {"SPARK_HOME": str(home), "JAVA_HOME": str(java), "SPARK_SCALA_VERSION": scala(home)}
    if listen != "0.0.0.0":
        env["SPARK_LOCAL_IP"] = listen  # the web page listens there and nowhere else
    return Daemon(name, argv, env)


def master(java: Path, host: str, listen: str, log_config: Path, state: Path) -> Daemon:
    """Describe the master; it recovers its workers and applications after a restart."""
    options = [
        "-Dspark.deploy.recoveryMode=FILESYSTEM",
        f"-Dspark.deploy.recoveryDirectory={state}/recovery",
        "-Dspark.deploy.defaultCores=2",  # an application leaves room for the next one
        "-Dspark.worker.timeout=20",
        "-Dspark.master.rest.enabled=false",
    ]
    program = ["org.apache.spark.deploy.master.Master", "--host", host, "--port", "7077"]
    return _daemon("master", java, listen, options, [*program, "--webui-port", "8080"], log_config)


def worker(
    java: Path,
    host: str,
    listen: str,
    log_config: Path,
    state: Path,
    masters: str,
    cores: int,
    memory: int,
) -> Daemon:
    """Describe a worker that offers `cores` and `memory` MiB to executors."""
    options = [
        "-Dspark.worker.cleanup.enabled=true",
        "-Dspark.worker.cleanup.interval=600",
        "-Dspark.worker.cleanup.appDataTtl=3600",
    ]
    program = [
        "org.apache.spark.deploy.worker.Worker",
        "--host",
        host,
        "--port",
        "7078",
        "--webui-port",
        "8081",
        "--cores",
        str(cores),
        "--memory",
        f"{memory}m",
        "--work-dir",
        f"{state}/work",
        masters,
    ]
    return _daemon("worker", java, listen, options, program, log_config)


def history(java: Path, listen: str, log_config: Path, events: Path) -> Daemon:
    """Describe the history server, which reads event logs from the project repository."""
    options = [
        f"-Dspark.history.fs.logDirectory=file:{events}",
        "-Dspark.history.ui.port=18080",
        "-Dspark.history.fs.update.interval=5s",
        "-Dspark.history.fs.cleaner.enabled=true",
    ]
    program = ["org.apache.spark.deploy.history.HistoryServer"]
    return _daemon("history", java, listen, options, program, log_config)


def share(flavor: Mapping[str, object], env: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return the cores and MiB a worker offers: SPARK_WORKER_*, else its limits less the daemon.

    >>> share({"cores": "1", "memory": "2048"}, {})
    (1, 1664)
    >>> share({"cores": "1", "memory": "1024"}, {"SPARK_WORKER_CORES": "2"})
    (2, 640)
    """
    cores = env.get("SPARK_WORKER_CORES") or str(flavor.get("cores") or 1)
    limit = int(str(flavor.get("memory") or 0) if str(flavor.get("memory")).isdigit() else 0)
    memory = env.get("SPARK_WORKER_MEMORY_MIB") or str(max(512, (limit or 1024) - 384))
    return max(1, math.ceil(float(cores))), int(memory)
