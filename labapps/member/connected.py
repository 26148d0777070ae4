"""What connected clusters mean for programs of this pod, as environment variables."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from labapps import files
from labapps.member.configmeta import Configmeta
from labapps.member.place import Place
from labspark.errors import JavaUnusable
from labspark.java import java_home

__all__ = ["mlflow_environment", "spark_environment"]

VARIABLE = re.compile(r"(?:MLFLOW|AWS)_[A-Z0-9_]+")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


def spark_environment(meta: Configmeta, place: Place, state: Path) -> dict[str, str]:
    """Return SPARK_MASTER and what a driver needs; without a Spark cluster, Java alone."""
    env = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    try:
        env["JAVA_HOME"] = str(java_home(state))
    except (JavaUnusable, OSError):
        return {}
    for name in meta.connected_clusters():
        masters = meta.members("master", name)
        if masters and meta.endpoints("master", "spark-master", name):
            env["SPARK_MASTER"] = "spark://" + ",".join(f"{m.host}:7077" for m in masters)
            break
    if place.listen != "0.0.0.0":
        env["SPARK_LOCAL_IP"] = place.listen  # executors call the driver back there
    return env


def mlflow_environment(meta: Configmeta, state: Path) -> dict[str, str]:
    """Return MLFLOW_TRACKING_URI and what its client needs, of a Secret or a connected cluster.

    A Secret of `secretType: mlflow` names the variables by their own names, and may hold `ca.crt`.
    A connected cluster that runs MLflow comes after it: its address and token are the present ones.
    """
    env: dict[str, str] = {}
    for secret in meta.secrets("mlflow"):
        env |= {key: value for key, value in secret.data.items() if VARIABLE.fullmatch(key)}
        if secret.data.get("ca.crt"):
            path = state / "mlflow-ca.crt"
            files.replace(path, secret.data["ca.crt"])
            env["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(path)
    for name in meta.connected_clusters():
        if found := meta.endpoints("controller", "mlflow-server", name):
            env["MLFLOW_TRACKING_URI"] = found[0]
            env["MLFLOW_TRACKING_TOKEN"] = meta.token("controller", "mlflow-server", name)
            env.pop("MLFLOW_TRACKING_SERVER_CERT_PATH", None)
            break
    return env | QUIET if env else {}
