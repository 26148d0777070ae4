"""Where a manifest takes a path: each door makes a pod of a trick.

A door is a function from (name, trick) to a pod. It is added to DOORS, and `test_manifests.py`
plays every trick at it from every tenant. A pod shows what it got in its log, status or events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.attack.arena import IMAGE
from tests.attack.tricks import UP, Trick

Object = dict[str, Any]
SHOW = "cat {0} 2>&1; ls -a {0} 2>&1; cat {0}/* 2>&1"


def pod(name: str, script: str, **more: Any) -> Object:
    """Return a pod that runs a script once."""
    spec = {key: more.pop(key) for key in ("volumes", "initContainers") if key in more}
    one = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script], **more}
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            **spec,
            "containers": [one],
        },
    }


def prepared(trick: Trick, folder: str) -> Object:
    """Return an init container that does what a trick needs first."""
    script = f"cd $POD_ROOT{folder}; {trick.setup or 'true'}; true"
    mounts = [{"name": "v", "mountPath": "/v"}]
    return {
        "name": "i",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "volumeMounts": mounts,
    }


def termination(name: str, trick: Trick) -> Object:
    script = f"cd $POD_ROOT; {trick.setup}\nexit 1"
    return pod(name, script, terminationMessagePath=trick.path)


def termination_in_volume(name: str, trick: Trick) -> Object:
    return pod(
        name,
        f"cd $POD_ROOT/v; {trick.setup}\nexit 1",
        terminationMessagePath=f"/v/{trick.path}",
        volumes=[{"name": "v", "emptyDir": {}}],
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )


def sub_path(name: str, trick: Trick) -> Object:
    return pod(
        name,
        SHOW.format("$POD_ROOT/m") + "; echo taken >> $POD_ROOT/m; touch $POD_ROOT/m/x",
        volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[prepared(trick, "/v")],
        volumeMounts=[{"name": "v", "mountPath": "/m", "subPath": trick.path}],
    )


def sub_path_expr(name: str, trick: Trick) -> Object:
    made = sub_path(name, trick)
    one = made["spec"]["containers"][0]
    one["env"] = [{"name": "P", "value": trick.path}, {"name": "UP", "value": UP}]
    one["volumeMounts"] = [{"name": "v", "mountPath": "/m", "subPathExpr": "$(P)"}]
    return made


def mount_path(name: str, trick: Trick) -> Object:
    return pod(
        name,
        "sleep 0",
        volumes=[{"name": "v", "emptyDir": {}}],
        volumeMounts=[{"name": "v", "mountPath": "/" + trick.path}],
    )


def mount_path_in_volume(name: str, trick: Trick) -> Object:
    return pod(
        name,
        "sleep 0",
        volumes=[{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}],
        initContainers=[prepared(trick, "/v")],
        volumeMounts=[
            {"name": "v", "mountPath": "/v"},
            {"name": "w", "mountPath": f"/v/{trick.path}"},
        ],
    )


def working_folder(name: str, trick: Trick) -> Object:
    return pod(
        name,
        "pwd; cat id_ed25519 thesis; touch x",
        volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[prepared(trick, "/v")],
        workingDir=f"/v/{trick.path}-folder",
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )


def host_path(name: str, trick: Trick) -> Object:
    return pod(
        name,
        SHOW.format("$POD_ROOT/m"),
        volumes=[{"name": "v", "hostPath": {"path": trick.path}}],
        volumeMounts=[{"name": "v", "mountPath": "/m"}],
    )


def written_file(name: str, trick: Trick) -> Object:
    item = {"path": trick.path, "fieldRef": {"fieldPath": "metadata.name"}}
    return pod(
        name,
        "sleep 0",
        volumes=[{"name": "v", "downwardAPI": {"items": [item]}}],
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )


def command(name: str, trick: Trick) -> Object:
    made = pod(name, "")
    made["spec"]["containers"][0]["command"] = ["cat", trick.path, f"./{trick.path}"]
    return made


DOORS: dict[str, Callable[[str, Trick], Object]] = {
    "terminationMessagePath": termination,
    "terminationMessagePath in a volume": termination_in_volume,
    "subPath": sub_path,
    "subPathExpr": sub_path_expr,
    "mountPath": mount_path,
    "mountPath in a volume": mount_path_in_volume,
    "workingDir": working_folder,
    "hostPath": host_path,
    "items": written_file,
    "command": command,
}
