"""What `executor` makes of this image: one executor of a Spark whose driver runs elsewhere.

Spark on Kubernetes starts its image with that word and says the rest in the environment, so the
same image serves a standalone cluster and a driver that asks Kubernetes for executors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from labapps.member.place import Place
from labapps.spark.daemons import spark_home
from labspark.java import java_home

__all__ = ["command", "replace_process"]

WORD = "executor"
_OPTION = "SPARK_JAVA_OPT_"
_BACKEND = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
# argument of the executor: variable that Spark sets in its pod
_ARGUMENTS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}


def command(
    env: Mapping[str, str], home: Path, spark: Path, listen: str, log_config: Path
) -> list[str]:
    """Return the executor's command line; KeyError names what Spark has not said."""
    told = {argument: env[variable] for argument, variable in _ARGUMENTS.items()}
    if listen != "0.0.0.0":
        told["--hostname"] = listen  # on a laptop the address where the pod really listens
    numbered = {
        int(name.removeprefix(_OPTION)): value
        for name, value in env.items()
        if name.startswith(_OPTION)
    }
    classpath = [env.get("SPARK_CONF_DIR"), f"{spark}/jars/*", env.get("SPARK_CLASSPATH")]
    memory = env["SPARK_EXECUTOR_MEMORY"]
    return [
        str(home / "bin" / "java"),
        f"-Dlog4j2.configurationFile={log_config}",
        *(numbered[number] for number in sorted(numbered)),
        f"-Xms{memory}",
        f"-Xmx{memory}",
        "-cp",
        os.pathsep.join(part for part in classpath if part),
        _BACKEND,
        *(word for pair in told.items() for word in pair),
    ]


def replace_process() -> NoReturn:
    """Become the executor, so that Kubernetes' signals reach it."""
    place = Place.from_env()
    state = place.path("/tmp/spark")
    state.mkdir(parents=True, exist_ok=True)
    home, spark = java_home(state), spark_home()
    config = Path(__file__).with_name("log4j2.properties")
    env = os.environ | {"SPARK_HOME": str(spark), "JAVA_HOME": str(home)}
    for name in ("SPARK_CONF_DIR", "SPARK_LOCAL_DIRS"):  # mounted, so below the pod's root
        env[name] = ",".join(str(place.path(path)) for path in env.get(name, "/tmp").split(","))
    words = command(env, home, spark, place.listen, config)
    if place.listen != "0.0.0.0":
        env["SPARK_LOCAL_IP"] = place.listen
    os.execve(words[0], words, env)
