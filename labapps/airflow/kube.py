"""The way to the Kubernetes API, for Airflow's own clients: a kubeconfig and a connection.

They look for a pod's token where a container has it; on the laptop platform a pod's files lie
elsewhere. So the account's token is named in a kubeconfig, which works in both. A pod without an
account's token has no such connection, and tasks that ask for one say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from labapps import files
from labapps.member.place import Place

__all__ = ["connection", "kubeconfig"]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
NAME = "AIRFLOW_CONN_KUBERNETES_DEFAULT"


def kubeconfig(place: Place, state: Path, base: Mapping[str, str]) -> Path | None:
    """Write the kubeconfig; the token itself stays where the platform renews it."""
    account = place.path(ACCOUNT)
    host = base.get("KUBERNETES_SERVICE_HOST", "")
    if not host or not (account / "token").exists():
        return None
    server = f"https://{host}:{base.get('KUBERNETES_SERVICE_PORT', '443')}"
    namespace = (account / "namespace").read_text("utf-8").strip()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "clusters": [
            {
                "name": "own",
                "cluster": {"server": server, "certificate-authority": str(account / "ca.crt")},
            }
        ],
        "users": [{"name": "account", "user": {"tokenFile": str(account / "token")}}],
        "contexts": [
            {
                "name": "pod",
                "context": {"cluster": "own", "user": "account", "namespace": namespace},
            }
        ],
    }
    path = state / "kubeconfig.json"  # JSON is YAML, too
    files.replace(path, json.dumps(config), 0o600)
    return path


def connection(path: Path | None) -> dict[str, str]:
    """Return the connection `kubernetes_default`, which KubernetesPodOperator asks for."""
    if path is None:
        return {}
    context = json.loads(path.read_text("utf-8"))["contexts"][0]["context"]
    extra = {"in_cluster": False, "kube_config_path": str(path), "namespace": context["namespace"]}
    return {NAME: json.dumps({"conn_type": "kubernetes", "extra": extra})}
