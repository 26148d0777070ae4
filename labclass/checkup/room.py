"""Room: does the tenant's quota hold a class, and would its pods be let in?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from labclass.checkup import sizes
from labclass.checkup.api import Api, said
from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.operator import ACCOUNT
from labclass.checkup.sizes import parse
from labclass.checkup.visit import Visit

EXECUTORS: Mapping[str, str] = {"pods": "2", "cpu": "1", "memory": "3Gi"}
"""What Spark on Kubernetes takes beside it: deploy/kubernetes/hub/spark-defaults.conf."""


def needs(students: int, *, spark: bool) -> dict[str, Decimal]:
    """Return what a class takes, by the names that a quota counts under."""
    total: dict[str, Decimal] = {}
    for part in (sizes.learner(), EXECUTORS) if spark else (sizes.learner(),):
        for name, amount in part.items():
            total[name] = total.get(name, Decimal(0)) + students * parse(amount)
    counted = dict(total)
    for name in ("cpu", "memory"):
        counted |= {f"requests.{name}": total[name], f"limits.{name}": total[name]}
    return counted


def quota(visit: Visit) -> Iterator[Finding]:
    """Look whether the learners of a class all find room in the quota."""
    api = visit.require_api()
    _, body = api.get(api.core("resourcequotas"))
    spark = visit.value("SPARK_MASTER").startswith("k8s://")
    wanted = needs(visit.students, spark=spark)
    learners = "a learner" if visit.students == 1 else f"{visit.students} learners"
    expected = f"room for {learners} in the quota of {api.namespace}"
    hard = False
    short: list[str] = []
    for item in body.get("items") or []:
        status = item.get("status") or {}
        hard = hard or bool(status.get("hard"))
        short += _short(status.get("hard") or {}, status.get("used") or {}, wanted)
    if short:
        yield missing(
            "Room",
            expected,
            "; ".join(short),
            f"Raise the quota (site-example/tenant), or make room: "
            f"`kubectl get kdcluster -n {api.namespace}` shows what is left over.",
        )
    elif not hard:
        cure = (
            "Without one a single learner can take the cluster: deploy/kubernetes/tenant has one."
        )
        yield advice("Room", expected, "no quota; the nodes are the only limit", cure)
    else:
        yield ok("Room", expected, f"for {learners}; whether the nodes have it, their owner knows")


def _short(
    hard: Mapping[str, str], used: Mapping[str, str], wanted: Mapping[str, Decimal]
) -> Iterator[str]:
    for name, limit in hard.items():
        free = parse(limit) - parse(used.get(name, "0"))
        if name in wanted and free < wanted[name]:
            yield f"{name}: {_text(name, free)} free of {limit}, {_text(name, wanted[name])} wanted"


def _text(name: str, amount: Decimal) -> str:
    """Return an amount as people read it.

    >>> _text("limits.memory", Decimal(3 * 2**30)), _text("cpu", Decimal("7.20"))
    ('3Gi', '7.2')
    """
    if name.endswith("memory"):
        return f"{amount / 2**30:.4g}Gi"
    return f"{amount.normalize():f}"


def pod(api: Api) -> dict[str, Any]:
    """Return a pod as KubeDirector makes one for lab core-02."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "labs-doctor", "namespace": api.namespace},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "containers": [
                {
                    "name": "app",
                    "image": "labs-doctor-is-never-started",
                    "resources": {"requests": sizes.notebook(), "limits": sizes.notebook()},
                }
            ],
        },
    }


def admitted(visit: Visit) -> Iterator[Finding]:
    """Try a pod of the labs: limits, security standards and policies have their say."""
    api = visit.require_api()
    asks = sizes.notebook()
    expected = f"a pod of {asks['cpu']} and {asks['memory']} let in, only tried"
    status, body = api.tried(api.core("pods"), pod(api))
    if status == 201:
        yield ok("Pods", expected, "a pod of lab core-02 would be let in")
        return
    words = said(body)
    cure = "Ask who runs the cluster for the rule that is named; lab core-02 would meet it."
    if "PodSecurity" in words:
        cure = (
            "KubeDirector's pods run as root: label the namespace "
            "pod-security.kubernetes.io/enforce=baseline, as deploy/kubernetes/tenant does."
        )
    elif "quota" in words:
        cure = "There is no room for one more pod: see Room."
    elif "usage per Container" in words:
        cure = "The LimitRange is smaller than a lab: deploy/kubernetes/tenant has one that fits."
    yield missing("Pods", expected, f"{status}: {words}", cure)
