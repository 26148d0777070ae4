"""How a pod gets into a namespace: each way sends a pod's manifest in another form.

A way is a `prepare` (what must exist first, and asks for nothing) and a `send`. `test_matrix.py`
plays every door and trick through each of them, as everybody who might: a tenant in its own
namespace, and those who may not even ask.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from labsandbox.client import Client, Resource
from labsandbox.client.resources import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICASETS,
    STATEFULSETS,
)
from tests.attack.arena import IMAGE, Tenant

Object = dict[str, Any]
Step = Callable[[Tenant, str, Object], Awaitable[None]]
LABEL = "attack"


class Refused(Exception):
    """kubectl said no."""


@dataclass(frozen=True)
class Way:
    """How a pod is asked for, and what has to be removed when it has been looked at."""

    send: Step
    made: Resource = PODS
    prepare: Step | None = None
    is_slow: bool = False


def named(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def labelled(pod: Object) -> Object:
    """Return a pod that is found by its label, whoever makes it."""
    return {**pod, "metadata": {**pod["metadata"], "labels": {LABEL: named(pod)}}}


def template(pod: Object, restart: str) -> Object:
    labels = {"labels": {LABEL: named(pod)}}
    return {"metadata": labels, "spec": {**pod["spec"], "restartPolicy": restart}}


def workload(pod: Object, resource: Resource) -> Object:
    """Return an object that has a controller make such a pod."""
    name = named(pod)
    spec: Object = {"template": template(pod, "Always")}
    if resource is JOBS:
        spec = {"template": template(pod, "Never"), "backoffLimit": 0}
    elif resource is CRONJOBS:
        job = {"spec": {"template": template(pod, "Never"), "backoffLimit": 0}}
        spec = {"schedule": "* * * * *", "jobTemplate": job, "concurrencyPolicy": "Forbid"}
    else:
        spec["selector"] = {"matchLabels": {LABEL: named(pod)}}
    if resource is STATEFULSETS:
        spec["serviceName"] = name
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def harmless(pod: Object) -> Object:
    """Return a deployment of nothing, which a later request turns into one of the pod."""
    one = {"name": "c", "image": IMAGE, "command": ["true"]}
    quiet = {**pod, "spec": {"containers": [one]}}
    made = workload(quiet, DEPLOYMENTS)
    return {**made, "spec": {**made["spec"], "replicas": 0}}


# The requests.


async def create(tenant: Tenant, namespace: str, pod: Object) -> None:
    await tenant.client.create(PODS, labelled(pod), namespace)


async def apply(tenant: Tenant, namespace: str, pod: Object) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", **labelled(pod)}
    await tenant.client.patch(PODS, named(pod), namespace, body, kind="apply", manager="attack")


def workload_of(resource: Resource) -> Step:
    async def send(tenant: Tenant, namespace: str, pod: Object) -> None:
        await tenant.client.create(resource, workload(pod, resource), namespace)

    return send


async def prepare(tenant: Tenant, namespace: str, pod: Object) -> None:
    await tenant.client.create(DEPLOYMENTS, harmless(pod), namespace)


async def replace(tenant: Tenant, namespace: str, pod: Object) -> None:
    body = workload(pod, DEPLOYMENTS)
    body["metadata"]["namespace"] = namespace
    await tenant.client.replace(DEPLOYMENTS, body)


def patch_of(kind: str) -> Step:
    async def send(tenant: Tenant, namespace: str, pod: Object) -> None:
        spec = {"replicas": 1, "template": template(pod, "Always")}
        body: Any = {"spec": spec}
        if kind == "json":
            body = [
                {"op": "replace", "path": f"/spec/{key}", "value": value}
                for key, value in spec.items()
            ]
        await tenant.client.patch(DEPLOYMENTS, named(pod), namespace, body, kind=kind)

    return send


async def job_of_a_cron_job(tenant: Tenant, namespace: str, pod: Object) -> None:
    """Do what `kubectl create job --from=cronjob/x` does: copy a template that was accepted."""
    cron = workload(pod, CRONJOBS)
    cron["spec"]["suspend"] = True
    kept = await tenant.client.create(CRONJOBS, cron, namespace)
    meta = {"name": named(pod), "annotations": {"cronjob.kubernetes.io/instantiate": "manual"}}
    job = {"metadata": meta, "spec": kept["spec"]["jobTemplate"]["spec"]}
    await tenant.client.create(JOBS, job, namespace)
    await tenant.client.delete(CRONJOBS, named(pod), namespace)


def kubectl(*words: str, resource: Resource = PODS) -> Step:
    async def send(tenant: Tenant, namespace: str, pod: Object) -> None:
        body: Object = {"apiVersion": "v1", "kind": "Pod", **labelled(pod)}
        if resource is not PODS:
            body = workload(pod, resource)
        await asyncio.to_thread(_kubectl, tenant, namespace, words, json.dumps(body))

    return send


async def kubectl_patch(tenant: Tenant, namespace: str, pod: Object) -> None:
    spec = {"spec": {"replicas": 1, "template": template(pod, "Always")}}
    words = ("patch", "deployment", named(pod), "-p", json.dumps(spec))
    await asyncio.to_thread(_kubectl, tenant, namespace, words, "")


def _kubectl(tenant: Tenant, namespace: str, words: tuple[str, ...], text: str) -> None:
    config = ["--kubeconfig", str(tenant.config), "-n", namespace]
    done = subprocess.run(
        ["kubectl", *config, *words],
        input=text,
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(tenant.config.parent)},
        timeout=120,
    )
    if done.returncode:
        raise Refused(done.stderr)


WAYS: dict[str, Way] = {
    "create": Way(create),
    "server-side apply": Way(apply),
    "Deployment": Way(workload_of(DEPLOYMENTS), DEPLOYMENTS),
    "ReplicaSet": Way(workload_of(REPLICASETS), REPLICASETS),
    "StatefulSet": Way(workload_of(STATEFULSETS), STATEFULSETS),
    "DaemonSet": Way(workload_of(DAEMONSETS), DAEMONSETS),
    "Job": Way(workload_of(JOBS), JOBS),
    "Job of a CronJob": Way(job_of_a_cron_job, JOBS),
    "CronJob": Way(workload_of(CRONJOBS), CRONJOBS, is_slow=True),
    "replace": Way(replace, DEPLOYMENTS, prepare),
    "merge patch": Way(patch_of("merge"), DEPLOYMENTS, prepare),
    "strategic patch": Way(patch_of("strategic"), DEPLOYMENTS, prepare),
    "JSON patch": Way(patch_of("json"), DEPLOYMENTS, prepare),
}
if shutil.which("kubectl"):
    WAYS |= {
        "kubectl create": Way(kubectl("create", "-f", "-")),
        "kubectl apply": Way(kubectl("apply", "-f", "-", resource=DEPLOYMENTS), DEPLOYMENTS),
        "kubectl apply --server-side": Way(
            kubectl("apply", "--server-side", "-f", "-", resource=STATEFULSETS), STATEFULSETS
        ),
        "kubectl patch": Way(kubectl_patch, DEPLOYMENTS, prepare),
    }


async def remove(client: Client, way: Way, namespace: str, pod: Object) -> None:
    """Remove what was made, and the pods of it."""
    await client.delete(way.made, named(pod), namespace, propagation="Background", grace=0)
