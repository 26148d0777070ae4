"""What connected clusters mean for runs and replicas: variables, handed to their pods in a Secret.

MLflow's variables say where it is and carry its token, so they are in no manifest. The Secret is
replaced when they change; pods that run keep what they began with.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from labapps.member.configmeta import Configmeta
from labapps.member.connected import VARIABLE, mlflow_environment
from labapps.workbench import manifest
from labapps.workbench.bench import Bench

__all__ = ["CERTIFICATE", "of_cluster", "of_process", "share"]

CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"


def of_process(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of MLflow that this process has: beside a cluster they count."""
    return {name: value for name, value in env.items() if VARIABLE.fullmatch(name)}


def of_cluster(meta: Configmeta, trust: Path) -> dict[str, str]:
    """Return the variables that the connections of a kdcluster mean."""
    env = mlflow_environment(meta, trust)
    for name in meta.connected_clusters():
        masters = meta.members("master", name)
        if masters and meta.endpoints("master", "spark-master", name):
            env["SPARK_MASTER"] = "spark://" + ",".join(f"{one.host}:7077" for one in masters)
            break
    return env


async def share(bench: Bench, env: dict[str, str]) -> None:
    """Hand the variables to the pods that start from now on, and to the workbench itself."""
    bench.connected = dict(env)
    given = dict(env)
    if path := given.get(CERTIFICATE):
        # Each pod has the repository somewhere else: the name below it is the same for all.
        home = bench.layout.repository
        given[CERTIFICATE] = str(Path(path).relative_to(home)) if under(path, home) else path
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    before = bench.store.get("workbench", "connection")
    made = manifest.environment(bench.frame, given)
    if before is None or before["digest"] != digest:
        await bench.kube.delete("secrets", made["metadata"]["name"])
    await bench.kube.ensure("secrets", made)
    record = {"id": "connection", "digest": digest}
    if not bench.store.add("workbench", "", record):
        bench.store.put("workbench", record)


def under(path: str, home: Path) -> bool:
    return Path(path).is_relative_to(home)
