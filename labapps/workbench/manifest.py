"""What the workbench asks of Kubernetes: pure functions from records to objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from labapps.workbench.layout import REGISTRY
from labapps.workbench.program import RETRY_DELAY
from labapps.workbench.store import Record

__all__ = [
    "LABEL",
    "Frame",
    "Images",
    "autoscaler",
    "cronjob",
    "deployment",
    "job",
    "secret",
    "service",
]

Object = dict[str, Any]
LABEL = "workbench.labs"
REPOSITORY = "/bd-fs-mnt/project_repo"
TTL = 3600
"""Seconds for which a finished Job stays in Kubernetes; its record and log stay in any case."""
PORT = 8100
LIMIT, PUSH_LIMIT = 900, 3600
"""Seconds a build may take, the installation of its requirements included; one with an image."""
UNIT, UNIT_FIELD = "WORKBENCH_UNIT", "metadata.labels['batch.kubernetes.io/job-name']"


@dataclass(frozen=True)
class Images:
    """Where the images of builds are pushed: `<registry>/<name>`, and the Secret of an account."""

    prefix: str
    secret: str = ""


@dataclass(frozen=True)
class Frame:
    """What is the same in all pods: which workbench, and where the project repository comes from.

    `claim` is the PersistentVolumeClaim of the project repository; empty where the platform mounts
    the repository by itself. `uid` is that of the kdcluster `name`, whose objects these are: they
    go with it. It is empty for a workbench that runs beside a cluster. Without `images` a build is
    a folder of the repository alone.
    """

    name: str
    claim: str = ""
    uid: str = ""
    images: Images | None = None

    def labels(self, kind: str, **more: str) -> dict[str, str]:
        found = {"app.kubernetes.io/managed-by": "workbench", f"{LABEL}/name": self.name}
        return found | {f"{LABEL}/kind": kind} | {f"{LABEL}/{k}": v for k, v in more.items()}

    def selector(self, kind: str) -> str:
        return f"{LABEL}/name={self.name},{LABEL}/kind={kind}"

    def meta(self, name: str, labels: dict[str, str]) -> Object:
        """Return the metadata of an object that goes when the workbench goes."""
        found: Object = {"name": name, "labels": labels}
        if self.uid:
            found["ownerReferences"] = [
                {
                    "apiVersion": "kubedirector.hpe.com/v1beta1",
                    "kind": "KubeDirectorCluster",
                    "name": self.name,
                    "uid": self.uid,
                }
            ]
        return found


def pod(frame: Frame, image: str, words: list[str], record: Record, env: dict[str, str]) -> Object:
    """Return the spec of a pod that runs a module of the workbench."""
    size = {"cpu": amount(record.get("cpu"), "1"), "memory": memory(record.get("memory"), "1")}
    container: Object = {
        "name": "program",
        "image": image,
        "command": ["python", "-u", "-m", *words],
        "env": [
            *({"name": name, "value": value} for name, value in env.items() if name != UNIT),
            {"name": UNIT, "valueFrom": {"fieldRef": {"fieldPath": UNIT_FIELD}}},
        ],
        "envFrom": [{"secretRef": {"name": environment_name(frame), "optional": True}}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": size},
    }
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
    }
    if frame.images and frame.images.secret:
        spec["imagePullSecrets"] = [{"name": frame.images.secret}]
    if frame.claim:
        claim = {"persistentVolumeClaim": {"claimName": frame.claim}}
        spec["volumes"] = [{"name": "repository", **claim}]
        container["volumeMounts"] = [{"name": "repository", "mountPath": REPOSITORY}]
    return spec


def job_spec(spec: Object, labels: dict[str, str], limit: int, attempts: int) -> Object:
    found: Object = {
        "backoffLimit": attempts,
        "ttlSecondsAfterFinished": TTL,
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    if limit:
        found["activeDeadlineSeconds"] = limit
    return found


def job(frame: Frame, name: str, record: Record) -> Object:
    """Return the Job of one run."""
    labels = frame.labels("run", job=record["job_id"], run=record["id"])
    names = {
        "WORKBENCH_PROJECT": record["project_id"],
        "WORKBENCH_JOB": record["job_id"],
        "WORKBENCH_RUN": record["id"],
    }
    if record["parent_run_id"]:
        names["WORKBENCH_PARENT_RUN"] = record["parent_run_id"]
        names["WORKBENCH_PARENT_FACTS"] = json.dumps(record["parent_facts"])
    spec = run_pod(frame, record, names)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": frame.meta(name, labels),
        "spec": job_spec(spec, labels, seconds(record), retries(record)),
    }


def run_pod(frame: Frame, record: Record, names: dict[str, str]) -> Object:
    words = [record["project_id"], record["script"], record["arguments"]]
    if record["build_digest"]:
        words = ["--score", words[0], record["build_digest"], record["target"], words[2]]
    env = json.loads(record["environment"]) | names
    if retries(record) and (delay := record.get("retry_delay")):
        env[RETRY_DELAY] = str(delay)
    words.insert(0, "labapps.workbench.program")
    return pod(frame, record["runtime_identifier"], words, record, env)


def seconds(record: Record) -> int:
    """Return after how many seconds a run is ended; 0 for never."""
    return int(record["timeout"]) if record["kill_on_timeout"] else 0


def retries(record: Record) -> int:
    return int(record["max_retry"]) if record["retry_enabled"] else 0


def cronjob(frame: Frame, record: Record) -> Object:
    """Return the CronJob of a job with a schedule.

    Its Jobs are suspended until the workbench lets them start: it knows the runs by hand too, and
    skips a Job whose run before is still active.
    """
    labels = frame.labels("run", job=record["id"])
    names = {"WORKBENCH_PROJECT": record["project_id"], "WORKBENCH_JOB": record["id"]}
    made = job_spec(run_pod(frame, record, names), labels, seconds(record), retries(record))
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": frame.meta(f"job-{record['id']}", frame.labels("cron")),
        "spec": {
            "schedule": record["schedule"],
            "timeZone": record["timezone"],
            "suspend": bool(record["paused"]),
            "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 10,
            "failedJobsHistoryLimit": 10,
            "jobTemplate": {
                "metadata": {"labels": labels},
                "spec": made | {"suspend": True},
            },
        },
    }


def build(frame: Frame, record: Record, default: str) -> Object:
    """Return the Job that imports a build's function once, and then pushes its image."""
    labels = frame.labels("build", build=record["id"])
    words = ["--build", record["digest"], record["target"]]
    if script := record.get("build_script_path"):
        words = ["--script", record["source"], script, record["target"]]
    if version := record["registered_model_version_id"]:
        name, _, number = version.rpartition(":")
        words = ["--registered", name, number]
    words.insert(0, "labapps.workbench.program")
    spec = pod(frame, record["engine_image"], words, {"memory": 2}, {})
    if frame.images:
        push(spec, frame.images, record, default)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": frame.meta(f"build-{record['id']}", labels),
        "spec": job_spec(spec, labels, PUSH_LIMIT if frame.images else LIMIT, 0),
    }


def push(spec: Object, images: Images, record: Record, default: str) -> None:
    """Have a pod push an image after the import test.

    The account of the registry is in this container alone: a project's code runs in the other one.
    """
    test = spec["containers"][0]
    image = record["engine_image"]
    words = ["--image", "--to", images.prefix, "--base", based(image, images)]
    words += ["--apart"] if image != default else []
    words += [record["digest"]] if record["digest"] else []
    command = ["python", "-u", "-m", "labapps.workbench.program", *words]
    spec["initContainers"] = [test | {"name": "test"}]
    spec["containers"] = [test | {"name": "push", "command": command}]
    if images.secret:
        secret = {"name": "registry", "secret": {"secretName": images.secret}}
        spec["volumes"] = [*spec.get("volumes", []), secret]
        mount = {"name": "registry", "mountPath": REGISTRY, "readOnly": True}
        spec["containers"][0]["volumeMounts"] = [*test.get("volumeMounts", []), mount]


def based(image: str, images: Images) -> str:
    """Return a runtime's image as the push reads it: without TLS where the registry has none.

    >>> based("r:5000/labs/workbench:1.0", Images("http://r:5000/models"))
    'http://r:5000/labs/workbench:1.0'
    """
    scheme, mark, rest = images.prefix.partition("://")
    is_there = mark and image.startswith(f"{rest.partition('/')[0]}/")
    return f"{scheme}://{image}" if is_there else image


def deployment(frame: Frame, record: Record, build: Record, env: dict[str, str]) -> Object:
    """Return the Deployment whose pods serve one build; how many is `size` or an autoscaler's."""
    turn = str(record["generation"])
    labels = frame.labels("replica", model=record["model_id"], deployment=record["id"])
    words = ["labapps.workbench.replica", build["digest"], build["target"]]
    spec = pod(frame, build.get("image") or build["engine_image"], words, record, env)
    spec |= {"restartPolicy": "Always", "terminationGracePeriodSeconds": 40}
    container = spec["containers"][0]
    container["env"].pop()  # a replica has no unit
    container["ports"] = [{"containerPort": PORT, "name": "model"}]
    container["readinessProbe"] = {
        "httpGet": {"path": "/ready", "port": PORT},
        "periodSeconds": 1,
        "timeoutSeconds": 5,
    }
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    if record["has_secrets"]:
        secret = {"name": "secrets", "secret": {"secretName": f"model-{record['id']}"}}
        spec.setdefault("volumes", []).append(secret)
        mount = {"name": "secrets", "mountPath": "/etc/deployment-secrets", "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": frame.meta(f"model-{record['id']}", labels),
        "spec": {
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {f"{LABEL}/deployment": record["id"]}},
            "template": {
                "metadata": {"labels": labels | {f"{LABEL}/turn": turn}},
                "spec": spec,
            },
        },
    }


def size(record: Record) -> Object:
    """Return what makes a Deployment as large as a deployment begins."""
    return {"spec": {"replicas": record["replicas"]}}


def autoscaler(frame: Frame, record: Record) -> Object:
    """Return what keeps the replicas between two limits, by the processor time they use.

    The goal is a part of what a replica may use, not of what it requests: pods request little.
    """
    policy = record["replication_policy"]
    cores = float(record["cpu"]) * policy["target_cpu_percent"] / 100
    goal = {"type": "AverageValue", "averageValue": f"{max(1, round(cores * 1000))}m"}
    name = f"model-{record['id']}"
    window = {"stabilizationWindowSeconds": policy["scale_down_seconds"]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": frame.meta(name, frame.labels("scale", deployment=record["id"])),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": policy["min_replicas"],
            "maxReplicas": policy["max_replicas"],
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": goal}}],
            "behavior": {"scaleDown": window},
        },
    }


def environment_name(frame: Frame) -> str:
    return f"workbench-{frame.name}-environment"


def environment(frame: Frame, values: dict[str, str]) -> Object:
    """Return the Secret of what all runs and replicas find in their environment."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": frame.meta(environment_name(frame), frame.labels("environment")),
        "stringData": values,
    }


def secret(frame: Frame, deployed: str, values: dict[str, str]) -> Object:
    """Return the Secret of a deployment; the workbench cannot read it back."""
    labels = frame.labels("secret", deployment=deployed)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": frame.meta(f"model-{deployed}", labels),
        "stringData": values,
    }


def replicas(frame: Frame, deployed: str) -> Object:
    """Return the headless Service of a deployment: its name is the addresses of ready pods."""
    labels = frame.labels("replicas", deployment=deployed)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": frame.meta(f"model-{deployed}", labels),
        "spec": {
            "clusterIP": "None",
            "selector": {f"{LABEL}/deployment": deployed},
            "ports": [{"name": "http", "port": PORT}],
        },
    }


def service(frame: Frame, model: str, deployed: str) -> Object:
    """Return the Service of a model: it selects the pods of the deployment that answers."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": frame.meta(f"model-{model}", frame.labels("model", model=model)),
        "spec": {
            "selector": {f"{LABEL}/deployment": deployed},
            "ports": [{"name": "http", "port": 80, "targetPort": PORT}],
        },
    }


def amount(value: Any, default: str) -> str:
    """Return an amount of cores as Kubernetes writes it."""
    return str(value) if value else default


def memory(value: Any, default: str) -> str:
    """Return GiB as Kubernetes writes them.

    >>> memory("2", "1"), memory(0.5, "1"), memory(None, "1")
    ('2Gi', '512Mi', '1Gi')
    """
    size = float(value or default)
    return f"{int(size)}Gi" if size == int(size) else f"{int(size * 1024)}Mi"
