"""The run as an indexed Kubernetes Job: one index for each version.

A pod of the laptop platform finds the repository and a place for temporary files by PROJECT_REPO
and TMPDIR; a container has them where they are mounted.
"""

from __future__ import annotations

from typing import Any

__all__ = ["manifest"]

REPOSITORY = "/bd-fs-mnt/project_repo"


def manifest(versions: list[str], image: str, claim: str, name: str = "regress") -> dict[str, Any]:
    """Return the Job; the index of a pod is the place of its version in the list.

    >>> manifest(["1.30.1", "3.17.2"], "labs/regress:1.0", "project-repo")["spec"]["completions"]
    2
    """
    words = ["python", "-m", "labregress", "run", "--index", '"$JOB_COMPLETION_INDEX"']
    for version in versions:
        words += ["--versions", version]
    local = '"${TMPDIR:-/tmp}/regress"'
    kept = f'"${{PROJECT_REPO:-{REPOSITORY}}}/regress/$JOB_COMPLETION_INDEX"'
    words += ["--scratch", local, "--out", kept if claim else local]
    container: dict[str, Any] = {
        "name": "regress",
        "image": image,
        "command": ["sh", "-c", f"exec {' '.join(words)}"],
        "resources": {
            "requests": {"cpu": "500m", "memory": "768Mi"},
            "limits": {"cpu": "2", "memory": "2Gi"},
        },
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
    }
    if claim:
        container["volumeMounts"] = [{"name": "repository", "mountPath": REPOSITORY}]
        spec["volumes"] = [
            {"name": "repository", "persistentVolumeClaim": {"claimName": claim}},
        ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completions": len(versions),
            "parallelism": 1,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 0,
            "maxFailedIndexes": len(versions),
            "template": {"spec": spec},
        },
    }
