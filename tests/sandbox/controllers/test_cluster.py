"""The controllers at work: objects appear, change and go as a user of kubectl expects."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from labsandbox.client import Resource
from labsandbox.client.resources import (
    CONFIGMAPS,
    CRDS,
    CRONJOBS,
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    HPAS,
    JOBS,
    LEASES,
    NAMESPACES,
    PDBS,
    PODS,
    PVCS,
    PVS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    RESOURCEQUOTAS,
    SERVICEACCOUNTS,
    SERVICES,
    STATEFULSETS,
)
from tests.sandbox.cluster import Cluster, pod

pytestmark = pytest.mark.sandbox

SLEEP = "sleep 1000"


def template(script: str = SLEEP, **container: Any) -> dict[str, Any]:
    made = pod("w", script, **container)
    return {"metadata": {"labels": {"app": "w"}}, "spec": made["spec"]}


def workload(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    whole = {"selector": {"matchLabels": {"app": "w"}}, "template": template(), **spec}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, **whole}}


def names(cluster: Cluster, namespace: str) -> list[str]:
    return sorted(p["metadata"]["name"] for p in cluster.list(PODS, namespace))


def test_deployment_rolls_out_and_back(cluster: Cluster, namespace: str) -> None:
    cluster.create(DEPLOYMENTS, workload("w", 2), namespace)

    def is_done(revision: str) -> bool:
        found = cluster.get(DEPLOYMENTS, "w", namespace) or {}
        status = found.get("status", {})
        notes = found["metadata"].get("annotations") or {}
        return (
            notes.get("deployment.kubernetes.io/revision") == revision
            and status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("availableReplicas") == 2
            and status.get("replicas") == 2
        )

    cluster.until(lambda: is_done("1"), "the first revision is out")
    first = cluster.list(REPLICASETS, namespace)[0]["metadata"]["name"]
    changed = {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}
    cluster.patch(DEPLOYMENTS, "w", namespace, changed)
    cluster.until(lambda: is_done("2"), "the second revision is out")
    back = {"spec": {"template": {"metadata": {"annotations": {"a": None}}}}}
    cluster.patch(DEPLOYMENTS, "w", namespace, back)
    cluster.until(lambda: is_done("3"), "the first template is back")
    sets = {
        r["metadata"]["name"]: r["spec"]["replicas"] for r in cluster.list(REPLICASETS, namespace)
    }
    assert sets.pop(first) == 2
    assert list(sets.values()) == [0]


def test_statefulset_keeps_names_order_and_claims(cluster: Cluster, namespace: str) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    mounts = [{"name": "data", "mountPath": "/data"}]
    script = f"echo $HOSTNAME >> $POD_ROOT/data/f; {SLEEP}"
    spec = {
        "serviceName": "db",
        "template": template(script, volumeMounts=mounts),
        "volumeClaimTemplates": [claim],
    }
    cluster.create(STATEFULSETS, workload("db", 2, **spec), namespace)
    cluster.running(namespace, "db-1")
    created = [cluster.get(PODS, f"db-{n}", namespace) or {} for n in (0, 1)]
    starts = [p["status"]["startTime"] for p in created]
    assert starts == sorted(starts)
    cluster.delete(PODS, "db-0", namespace)
    before = created[0]["metadata"]["uid"]
    cluster.until(
        lambda: (cluster.get(PODS, "db-0", namespace) or created[0])["metadata"]["uid"] != before,
        "db-0 is another pod",
    )
    cluster.running(namespace, "db-0")
    read = "cat $POD_ROOT/data/f"
    cluster.until(lambda: cluster.shell(namespace, "db-0", read) == "db-0\ndb-0", "its data stayed")
    cluster.patch(STATEFULSETS, "db", namespace, {"spec": {"replicas": 1}})
    cluster.until(lambda: names(cluster, namespace) == ["db-0"], "the highest number went")
    assert len(cluster.list(PVCS, namespace)) == 2
    cluster.delete(STATEFULSETS, "db", namespace, propagation="Foreground")
    cluster.gone(STATEFULSETS, "db", namespace)
    assert names(cluster, namespace) == []
    volume = cluster.list(PVCS, namespace)[0]["spec"]["volumeName"]
    found = cluster.get(PVS, volume) or {}
    folder = found["spec"]["hostPath"]["path"]
    cluster.delete(PVCS, "data-db-0", namespace)
    cluster.gone(PVS, volume)
    cluster.until(lambda: not Path(folder).exists(), "the folder went with the claim")


def test_job_counts_every_pod_once(cluster: Cluster, namespace: str) -> None:
    work = template("exit 0", restartPolicy="Never")["spec"]
    spec = {"completions": 3, "parallelism": 2, "template": {"spec": work}}
    cluster.create(JOBS, {"metadata": {"name": "j"}, "spec": spec}, namespace)

    def is_complete() -> dict[str, Any] | None:
        status = (cluster.get(JOBS, "j", namespace) or {}).get("status", {})
        return (
            status if any(c["type"] == "Complete" for c in status.get("conditions", [])) else None
        )

    status = cluster.until(is_complete, "the job is complete")
    assert status["succeeded"] == 3
    assert not status.get("active")
    pods = cluster.list(PODS, namespace)
    assert len(pods) == 3
    assert not any(p["metadata"].get("finalizers") for p in pods)
    cluster.delete(JOBS, "j", namespace, propagation="Background")
    cluster.until(lambda: cluster.list(PODS, namespace) == [], "its pods are gone")


def test_job_that_fails_too_often_says_so(cluster: Cluster, namespace: str) -> None:
    work = template("exit 1", restartPolicy="Never")["spec"]
    spec = {"backoffLimit": 0, "template": {"spec": work}}
    cluster.create(JOBS, {"metadata": {"name": "j"}, "spec": spec}, namespace)

    def failed() -> bool:
        conditions = (cluster.get(JOBS, "j", namespace) or {}).get("status", {}).get("conditions")
        return any(
            c["type"] == "Failed" and c["reason"] == "BackoffLimitExceeded"
            for c in conditions or []
        )

    cluster.until(failed, "the job has failed")


def test_running_job_deleted_leaves_no_pod_with_its_finalizer(
    cluster: Cluster, namespace: str
) -> None:
    work = template(SLEEP, restartPolicy="Never")["spec"]
    job = {"metadata": {"name": "j"}, "spec": {"template": {"spec": work}}}
    cluster.create(JOBS, job, namespace)
    cluster.until(lambda: len(cluster.list(PODS, namespace)) == 1, "its pod is there")
    cluster.delete(JOBS, "j", namespace, propagation="Background")
    cluster.until(lambda: cluster.list(PODS, namespace) == [], "its pod is gone")


def test_suspended_cron_job_starts_nothing(cluster: Cluster, namespace: str) -> None:
    work = template("exit 0", restartPolicy="Never")["spec"]
    spec = {
        "schedule": "* * * * *",
        "suspend": True,
        "jobTemplate": {"spec": {"template": {"spec": work}}},
    }
    cluster.create(CRONJOBS, {"metadata": {"name": "c"}, "spec": spec}, namespace)
    cluster.create(CONFIGMAPS, {"metadata": {"name": "m"}}, namespace)
    assert cluster.list(JOBS, namespace) == []


def test_service_has_the_endpoints_of_its_ready_pods(cluster: Cluster, namespace: str) -> None:
    service = {
        "metadata": {"name": "s"},
        "spec": {"selector": {"app": "p"}, "ports": [{"port": 80}]},
    }
    cluster.create(SERVICES, service, namespace)
    cluster.create(PODS, pod("p", SLEEP), namespace)
    address = cluster.running(namespace, "p")["status"]["podIP"]

    def addresses() -> list[str]:
        found = cluster.get(ENDPOINTS, "s", namespace) or {}
        return [a["ip"] for s in found.get("subsets") or [] for a in s.get("addresses") or []]

    cluster.until(lambda: addresses() == [address], "the pod is an endpoint")
    cluster.delete(PODS, "p", namespace)
    cluster.until(lambda: addresses() == [], "the pod is none any more")
    cluster.delete(SERVICES, "s", namespace)
    cluster.gone(ENDPOINTS, "s", namespace)


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_deleted_owner_decides_over_its_dependents(
    cluster: Cluster, namespace: str, policy: str
) -> None:
    owner = cluster.create(CONFIGMAPS, {"metadata": {"name": "o"}}, namespace)
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "o",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    dependent = {"metadata": {"name": "d", "ownerReferences": [reference]}}
    cluster.create(CONFIGMAPS, dependent, namespace)
    cluster.delete(CONFIGMAPS, "o", namespace, propagation=policy)
    cluster.gone(CONFIGMAPS, "o", namespace)
    if policy == "Orphan":
        found = cluster.get(CONFIGMAPS, "d", namespace)
        assert found is not None
        assert "ownerReferences" not in found["metadata"]
    else:
        cluster.gone(CONFIGMAPS, "d", namespace)


def test_custom_resource_is_collected_and_goes_with_its_namespace(
    cluster: Cluster, namespace: str
) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: dict[str, Any] = {"name": "v1", "served": True, "storage": True}
    version["schema"] = {"openAPIV3Schema": schema}
    crd = {
        "metadata": {"name": "widgets.test.example"},
        "spec": {
            "group": "test.example",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "singular": "widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }
    widgets = Resource("test.example", "v1", "widgets", "Widget")
    cluster.create(CRDS, crd)
    path = "/apis/test.example/v1"

    def is_served() -> bool:
        groups = cluster.run(cluster.client.request("GET", "/apis"))["groups"]
        return any(g["name"] == "test.example" for g in groups)

    cluster.until(is_served, f"{path} is served")
    owner = cluster.create(CONFIGMAPS, {"metadata": {"name": "o"}}, namespace)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o"}
    reference["uid"] = owner["metadata"]["uid"]
    owned = {"metadata": {"name": "w", "ownerReferences": [reference]}}
    cluster.create(widgets, owned, namespace)
    cluster.delete(CONFIGMAPS, "o", namespace)
    cluster.gone(widgets, "w", namespace)
    cluster.create(widgets, {"metadata": {"name": "x"}}, namespace)
    cluster.delete(NAMESPACES, namespace, None)
    cluster.gone(NAMESPACES, namespace)
    assert cluster.list(widgets) == []
    cluster.delete(CRDS, "widgets.test.example", None)


def test_namespace_with_a_held_object_waits_and_says_why(cluster: Cluster, namespace: str) -> None:
    held = {"metadata": {"name": "m", "finalizers": ["x.io/hold"]}}
    cluster.create(CONFIGMAPS, held, namespace)
    cluster.create(DEPLOYMENTS, workload("w", 1), namespace)
    cluster.until(lambda: len(names(cluster, namespace)) == 1, "a pod is there")
    cluster.delete(NAMESPACES, namespace, None)

    def text() -> str:
        found = cluster.get(NAMESPACES, namespace) or {}
        conditions = found.get("status", {}).get("conditions") or []
        return " ".join(c["message"] for c in conditions if c["status"] == "True")

    cluster.until(lambda: "x.io/hold in 1 resource instances" in text(), "it says why")
    cluster.patch(CONFIGMAPS, "m", namespace, {"metadata": {"finalizers": None}})
    cluster.gone(NAMESPACES, namespace)


def test_service_account_and_ca_come_back(cluster: Cluster, namespace: str) -> None:
    name = "kube-root-ca.crt"
    found = cluster.until(lambda: cluster.get(CONFIGMAPS, name, namespace), "the CA is there")
    assert "BEGIN CERTIFICATE" in found["data"]["ca.crt"]
    account = cluster.get(SERVICEACCOUNTS, "default", namespace) or {}
    cluster.delete(SERVICEACCOUNTS, "default", namespace)
    cluster.until(
        lambda: (
            (cluster.get(SERVICEACCOUNTS, "default", namespace) or account)["metadata"]["uid"]
            != account["metadata"]["uid"]
        ),
        "the account is back",
    )


def test_quota_shows_what_is_used(cluster: Cluster, namespace: str) -> None:
    hard = {"pods": "5", "requests.cpu": "2", "configmaps": "9"}
    cluster.create(RESOURCEQUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}}, namespace)
    requests = {"requests": {"cpu": "250m"}}
    cluster.create(PODS, pod("p", SLEEP, resources=requests), namespace)

    def used() -> dict[str, str]:
        found = cluster.get(RESOURCEQUOTAS, "q", namespace) or {}
        return dict(found.get("status", {}).get("used") or {})

    wanted = {"pods": "1", "requests.cpu": "250m", "configmaps": "1"}
    cluster.until(lambda: used() == wanted, "the sums are right")


def test_controllers_go_on_after_a_kill(cluster: Cluster, namespace: str) -> None:
    cluster.create(DEPLOYMENTS, workload("w", 3), namespace)
    cluster.end("controllers", signal.SIGKILL)
    cluster.start("controllers")
    cluster.until(lambda: len(names(cluster, namespace)) == 3, "three pods are there")
    cluster.delete(DEPLOYMENTS, "w", namespace, propagation="Background")
    cluster.end("controllers", signal.SIGKILL)
    cluster.start("controllers")
    cluster.until(lambda: names(cluster, namespace) == [], "no pod is left")


def test_replication_controller_keeps_its_pods_and_leaves_them_when_it_goes(
    cluster: Cluster, namespace: str
) -> None:
    spec = {"replicas": 2, "selector": {"app": "w"}, "template": template()}
    cluster.create(REPLICATIONCONTROLLERS, {"metadata": {"name": "rc"}, "spec": spec}, namespace)

    def is_ready() -> bool:
        found = cluster.get(REPLICATIONCONTROLLERS, "rc", namespace) or {}
        return bool(found.get("status", {}).get("readyReplicas") == 2)

    cluster.until(is_ready, "two pods are ready")
    pods = names(cluster, namespace)
    cluster.delete(REPLICATIONCONTROLLERS, "rc", namespace)
    cluster.gone(REPLICATIONCONTROLLERS, "rc", namespace)
    assert names(cluster, namespace) == pods


def test_budget_of_a_running_deployment_is_counted(cluster: Cluster, namespace: str) -> None:
    cluster.create(DEPLOYMENTS, workload("w", 3), namespace)
    chosen = {"matchLabels": {"app": "w"}}
    budget = {"metadata": {"name": "b"}, "spec": {"selector": chosen, "maxUnavailable": "34%"}}
    cluster.create(PDBS, budget, namespace)

    def allowed(number: int) -> bool:
        status = (cluster.get(PDBS, "b", namespace) or {}).get("status", {})
        return bool(status.get("expectedPods") == 3 and status.get("disruptionsAllowed") == number)

    cluster.until(lambda: allowed(2), "two of three pods may go")
    cluster.patch(PDBS, "b", namespace, {"spec": {"maxUnavailable": 0}})
    cluster.until(lambda: allowed(0), "no pod may go")


def test_autoscaler_says_what_it_does_not_know(cluster: Cluster, namespace: str) -> None:
    hpa = {
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
            "maxReplicas": 3,
        },
    }
    cluster.create(HPAS, hpa, namespace)

    def is_told() -> bool:
        found = cluster.get(HPAS, "h", namespace) or {}
        stated = found.get("status", {}).get("conditions") or []
        return any(c["reason"] == "FailedGetScale" and c["status"] == "False" for c in stated)

    cluster.until(is_told, "the autoscaler says that its target is missing")


def test_deleted_namespace_takes_its_events_and_leases_with_it(cluster: Cluster) -> None:
    name = "short-lived"
    about = {"kind": "Pod", "name": "p", "namespace": name}
    cluster.create(NAMESPACES, {"metadata": {"name": name}})
    cluster.create(EVENTS, {"metadata": {"name": "e"}, "involvedObject": about}, name)
    cluster.create(LEASES, {"metadata": {"name": "mine"}}, name)
    cluster.delete(NAMESPACES, name, None)
    cluster.until(lambda: cluster.get(NAMESPACES, name) is None, "the namespace is gone")
    cluster.create(NAMESPACES, {"metadata": {"name": name}})
    assert cluster.list(EVENTS, name) == []
    assert cluster.list(LEASES, name) == []
