"""What connected clusters mean for programs of this pod, as environment variables."""

from __future__ import annotations

import sys
from pathlib import Path

from labapps import java
from labapps.configmeta import Configmeta
from labapps.place import Place

__all__ = ["spark_environment"]


def spark_environment(meta: Configmeta, place: Place, state: Path) -> dict[str, str]:
    """Return SPARK_MASTER and what a driver needs; without a Spark cluster, Java alone."""
    env = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    try:
        env["JAVA_HOME"] = str(java.java_home(state))
    except (java.JavaMissing, OSError):
        return {}
    for name in meta.connected_clusters():
        masters = meta.members("master", name)
        if masters and meta.endpoints("master", "spark-master", name):
            env["SPARK_MASTER"] = "spark://" + ",".join(f"{m.host}:7077" for m in masters)
            break
    if place.listen != "0.0.0.0":
        env["SPARK_LOCAL_IP"] = place.listen  # executors call the driver back there
    return env
