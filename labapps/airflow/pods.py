"""The pods in which KubernetesExecutor runs tasks: the same image, the same project repository.

They hold no token of Kubernetes and no key of Airflow: what a task needs it asks Airflow's API for.
"""

from __future__ import annotations

from typing import Any

__all__ = ["template"]

Object = dict[str, Any]
REPOSITORY = "/bd-fs-mnt/project_repo"


def template(image: str, cluster: str, address: str, claim: str) -> Object:
    """Return the pod of a task; the executor adds its name and its words."""
    container: Object = {
        "name": "base",
        "image": image,
        "env": [
            {"name": "LABS_AIRFLOW", "value": cluster},
            {"name": "AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "value": address},
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
    }
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
    }
    if claim:
        source = {"persistentVolumeClaim": {"claimName": claim}}
        spec["volumes"] = [{"name": "repository", **source}]
        container["volumeMounts"] = [{"name": "repository", "mountPath": REPOSITORY}]
    labels = {"app.kubernetes.io/managed-by": "airflow", "airflow.labs/name": cluster}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "task", "labels": labels},
        "spec": spec,
    }
