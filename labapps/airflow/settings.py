"""What Airflow reads at its start: settings and connections, as environment variables."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from labapps import files
from labapps.airflow import kube, pods
from labapps.airflow.keys import USERS
from labapps.member.configmeta import Configmeta
from labapps.member.place import Place

__all__ = ["PORT", "STATE", "connections", "database", "environment", "home", "of_worker", "shared"]

PORT = 8080
EXECUTOR = "labapps.airflow.executor.PrivateLocalExecutor"
PODS = "KubernetesExecutor"
IMAGE = "labs/airflow:1.0"
STATE = "/var/lib/airflow"
NAME = re.compile(r"AIRFLOW_CONN_[A-Z0-9_]+\Z")


def home(place: Place) -> Path:
    """Return the folder of the database, the keys and the configuration: on the pod's volume."""
    return place.path(STATE)


def shared(place: Place, meta: Configmeta) -> Path:
    """Return the folder of DAGs and logs on the project repository."""
    return place.repository / "airflow" / (meta.cluster or "airflow")


def environment(
    place: Place, meta: Configmeta, keys: Mapping[str, str], base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of all components."""
    state, folder = home(place), shared(place, meta)
    listen = place.listen if place.listen != "0.0.0.0" else "127.0.0.1"
    parallelism = base.get("AIRFLOW_PARALLELISM", "4")
    wanted = {
        "core": {
            "executor": base.get("AIRFLOW_EXECUTOR", EXECUTOR),
            "parallelism": parallelism,
            "load_examples": "False",
            "dags_folder": str(folder / "dags"),
            "fernet_key": keys["fernet"],
            "dagbag_import_timeout": "120",
            "execution_api_server_url": f"http://{listen}:{PORT}/execution/",
            "simple_auth_manager_users": USERS,
            "simple_auth_manager_all_admins": "False",
            "simple_auth_manager_passwords_file": str(state / "passwords.json"),
        },
        "api": {
            "workers": "1",
            "host": place.listen,
            "port": str(PORT),
            "secret_key": keys["api"],
            "expose_config": "False",
            "base_url": base.get("AIRFLOW_BASE_URL", ""),
        },
        "api_auth": {"jwt_secret": keys["jwt"]},
        "database": {
            "sql_alchemy_conn": database(place, meta, base),
            "load_default_connections": "False",
        },
        "dag_processor": {
            "refresh_interval": "2",
            "min_file_process_interval": "2",
            "bundle_refresh_check_interval": "1",
        },
        "scheduler": {
            "scheduler_idle_sleep_time": "0.5",
            "task_instance_heartbeat_timeout": "60",
            "enable_health_check": "False",
        },
        "workers": {"execution_api_timeout": "30"},
        "logging": {"base_log_folder": str(folder / "logs"), "logging_level": "INFO"},
        "usage_data_collection": {"enabled": "False"},
    }
    found = {key: value for key, value in base.items() if not key.startswith("AIRFLOW_")}
    found |= {
        f"AIRFLOW__{section.upper()}__{name.upper()}": value
        for section, names in wanted.items()
        for name, value in names.items()
        if value
    }
    found |= {"AIRFLOW_HOME": str(state), "SCARF_ANALYTICS": "false", "DO_NOT_TRACK": "1"}
    found |= {key: value for key, value in base.items() if key.startswith("AIRFLOW__")}
    config = kube.kubeconfig(place, state, base)
    if base.get("AIRFLOW_EXECUTOR") == PODS and config is not None:
        found |= of_pods(place, meta, config, base)
    return found | kube.connection(config) | connections(meta)


def of_pods(
    place: Place, meta: Configmeta, config: Path, base: Mapping[str, str]
) -> dict[str, str]:
    """Return what the executor of pods needs; its workers ask this pod's API by its name."""
    address = f"http://{meta.host}:{PORT}/execution/"
    image, claim = base.get("AIRFLOW_IMAGE", IMAGE), base.get("AIRFLOW_REPOSITORY_CLAIM", "")
    path = home(place) / "task.json"
    files.replace(path, json.dumps(pods.template(image, meta.cluster, address, claim)))
    repository, _, tag = image.rpartition(":")
    wanted = {
        "namespace": meta.namespace,
        "pod_template_file": str(path),
        "worker_container_repository": repository,
        "worker_container_tag": tag,
        "in_cluster": "False",
        "config_file": str(config),
    }
    names = {f"AIRFLOW__KUBERNETES_EXECUTOR__{name.upper()}": wanted[name] for name in wanted}
    return names | {"AIRFLOW__CORE__EXECUTOR": "labapps.airflow.podexecutor.PodExecutor"}


def of_worker(place: Place, cluster: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a task's pod: no database and no key, only where things are."""
    folder = place.repository / "airflow" / cluster
    return {
        **base,
        "AIRFLOW_HOME": str(place.path("/tmp/airflow")),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SCARF_ANALYTICS": "false",
        "DO_NOT_TRACK": "1",
    }


def database(place: Place, meta: Configmeta, base: Mapping[str, str] = os.environ) -> str:
    """Return the address of the database: the role's own, a connected PostgreSQL, or a file.

    Several Airflows may share one PostgreSQL: each has a database with the name of its cluster.
    """
    if base.get("AIRFLOW_DATABASE"):
        return base["AIRFLOW_DATABASE"]
    for name in meta.connected_clusters():
        for endpoint in meta.endpoints("controller", "postgres", name):
            where, token = urlsplit(endpoint), meta.token("controller", "postgres", name)
            own = re.sub(r"[^a-z0-9_]", "_", (meta.cluster or "airflow").lower())
            return f"postgresql+psycopg2://labs:{token}@{where.hostname}:{where.port}/{own}"
    return f"sqlite:///{home(place) / 'airflow.db'}"


def connections(meta: Configmeta) -> dict[str, str]:
    """Return AIRFLOW_CONN_<NAME> of the connected Secrets with the label `secretType: airflow`."""
    return {
        key: value
        for secret in meta.secrets("airflow")
        for key, value in secret.data.items()
        if NAME.match(key)
    }
