"""Start the Java process that pyspark talks to, without Spark's shell scripts.

Why not the scripts: they start a second Java only to build a command line, always ask for a
module that the environment's small Java runtime lacks, and their class path keeps Java from using
the class data archive. Measured on 2 cores: a session with Delta and Iceberg is ready in 3.4 s
this way, in 5.6 s through the scripts (a session without either: 5.7 s). It still is Spark's own
entry point, `SparkSubmit`, so every setting, Maven coordinates and cluster masters work as usual.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labspark.errors import SparkUnavailable
from labspark.java import find_java, java_version

__all__ = ["launch", "log_path", "shut_down"]

DEADLINE = 120.0
OPENED = (  # what Spark's own launcher opens (org.apache.spark.launcher.JavaModuleOptions)
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)
# On a small machine Java's second compiler and its parallel collector compete with the work: the
# lab on the lakehouse takes half the processor time and half the memory without them. Long jobs on
# big data lose a third of their speed; SPARK_LABS_JAVA_OPTIONS=-XX:TieredStopAtLevel=4 undoes it.
SMALL, LIGHT = 4, ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
FIXED = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED),
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Duser.timezone=UTC",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)

_running: dict[str, Any] = {}


def launch(
    settings: Mapping[str, str], *, classpath: Sequence[Path], archive: Path | None, memory: str
) -> None:
    """Start Java with these Spark settings and connect pyspark to it; once per process."""
    from pyspark import SparkContext

    process = _running.get("process")
    if process is not None and process.poll() is None:
        return
    if process is not None:  # it died (out of memory, killed): forget the broken connection
        shut_down()
    if SparkContext._gateway is not None:
        return
    place = Path(tempfile.mkdtemp(prefix="labs-spark-"))
    _running["place"] = place
    process = _start(_command(settings, classpath, archive, memory), place)
    _running["process"] = process
    atexit.register(shut_down)
    _connect(process, place)


def log_path() -> Path | None:
    """Return the file that Spark's own log goes to, while this process has one."""
    place = _running.get("place")
    return place / "spark.log" if place is not None else None


def shut_down() -> None:
    """End the Java process and remove its folder; pyspark can then start a fresh one."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    process = _running.pop("process", None)
    place = _running.pop("place", None)
    if process is None:
        return
    with contextlib.suppress(Exception):  # it may be gone already
        if SparkContext._gateway is not None:
            SparkContext._gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = SparkSession._activeSession = None
    with contextlib.suppress(OSError):
        process.stdin.close()  # Spark's gateway ends when its standard input does
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)


def _command(
    settings: Mapping[str, str], classpath: Sequence[Path], archive: Path | None, memory: str
) -> list[str]:
    from pyspark.find_spark_home import _find_spark_home

    spark_home = Path(_find_spark_home())
    java = find_java()
    conf = [os.environ["SPARK_CONF_DIR"]] if os.environ.get("SPARK_CONF_DIR") else []
    jars = [*conf, *classpath, *sorted((spark_home / "jars").glob("*.jar"))]
    logging = Path(__file__).with_name("log4j2.properties")
    options = [*FIXED, f"-Xmx{memory}", f"-Dlog4j2.configurationFile={logging}"]
    if archive is not None and java_version(java) >= 21:
        options += [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]
    base, _, target = os.environ.get("LABS_RECORD_CLASSES", "").partition(":")
    if target:
        options += [f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={target}"]
    if (os.cpu_count() or 1) <= SMALL and settings.get("spark.master", "").startswith("local"):
        options += LIGHT
    options += os.environ.get("SPARK_LABS_JAVA_OPTIONS", "").split()
    confs = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    path = os.pathsep.join(map(str, jars))
    main = "org.apache.spark.deploy.SparkSubmit"
    return [str(java / "bin" / "java"), "-cp", path, *options, main, *confs, "pyspark-shell"]


def _start(command: list[str], place: Path) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "_PYSPARK_DRIVER_CONN_INFO_PATH": str(place / "gateway"),
        "SPARK_CONNECT_MODE": "0",
    }
    with (place / "spark.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=env,
            process_group=0,  # an interrupted cell must not end Spark
        )


def _connect(process: subprocess.Popen[bytes], place: Path) -> None:
    """Wait for Java to say where it listens, and hand pyspark the connection."""
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    said = place / "gateway"
    end = time.monotonic() + DEADLINE
    while not said.is_file():
        if process.poll() is not None or time.monotonic() > end:
            words = (place / "spark.log").read_text("utf-8", "replace").strip()[-1500:]
            process.kill()
            shut_down()
            raise SparkUnavailable(
                f"Expected Spark's Java to start, found that it ended with {process.wait()}: "
                f"{words or 'no message'} Type `labs doctor` to see what is missing."
            )
        time.sleep(0.02)
    told = said.read_bytes()
    length = struct.unpack("!i", told[4:8])[0]
    where = {
        "PYSPARK_GATEWAY_PORT": str(struct.unpack("!i", told[:4])[0]),
        "PYSPARK_GATEWAY_SECRET": told[8 : 8 + length].decode(),
    }
    os.environ.update(where)
    try:
        SparkContext._ensure_initialized(gateway=launch_gateway())
    finally:
        for name in where:  # or a child process would talk to our Spark instead of its own
            os.environ.pop(name, None)
