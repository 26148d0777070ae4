"""Spark: do the settings fit the cluster that SPARK_MASTER names?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from labclass.checkup import rights
from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.rights import Right
from labclass.checkup.visit import SECONDS, Visit

EXECUTORS = (
    *(Right(verb, "pods") for verb in ("create", "get", "list", "watch", "delete")),
    *(Right(verb, "configmaps") for verb in ("create", "delete")),
)


def option(visit: Visit, name: str) -> str:
    """Return a Spark setting as labhelpers would read it from SPARK_CONF_…."""
    return visit.value("SPARK_CONF_" + name.replace("_", "__").replace(".", "_"))


def settings(visit: Visit) -> Iterator[Finding]:
    """Look at SPARK_MASTER and at what that kind of cluster needs."""
    master = visit.value("SPARK_MASTER")
    if not master or master.startswith("local"):
        yield ok("Spark", "a master", f"{master or 'local[*]'}: inside each learner's Jupyter")
    elif master.startswith("spark://"):
        yield _standalone(master)
    elif master.startswith("k8s://"):
        yield from _kubernetes(visit, master)
    else:
        cure = "Leave SPARK_MASTER out, or name spark://host:7077 or k8s://https://host:port."
        yield missing("Spark", "local[…], spark://… or k8s://…", master, cure)


def _standalone(master: str) -> Finding:
    place = urlsplit(master)
    expected = f"a Spark master at {place.netloc}"
    try:
        socket.create_connection((place.hostname or "", place.port or 7077), SECONDS).close()
    except OSError as error:
        cure = "Is it up, and may this machine reach it? Names of the cluster resolve only there."
        return missing("Spark", expected, str(error.strerror or error), cure)
    return ok("Spark", expected, "it answers")


def _kubernetes(visit: Visit, master: str) -> Iterator[Finding]:
    api = visit.require_api()
    namespace = option(visit, "spark.kubernetes.namespace") or "what spark-defaults.conf says"
    expected = f"executors in {api.namespace}, made by {master}"
    if not urlsplit(master.removeprefix("k8s://")).hostname:
        cure = "Name the API server, such as k8s://https://kubernetes.default.svc."
        yield missing("Spark", "SPARK_MASTER=k8s://https://host:port", master, cure)
        return
    if namespace not in (api.namespace, "what spark-defaults.conf says"):
        cure = f"Set SPARK_CONF_spark_kubernetes_namespace={api.namespace}."
        yield missing("Spark", expected, f"executors in {namespace}", cure)
        return
    image = option(visit, "spark.kubernetes.container.image")
    status, _ = api.get(api.core("persistentvolumeclaims", "project-repo"))
    if status != 200:
        cure = "Executors mount it: `kubectl apply -k` your copy of deploy/kubernetes/site-example."
        yield missing("Spark", expected, f"no claim project-repo in {api.namespace}", cure)
        return
    refused = [right for right in EXECUTORS if not rights.allowed(api, right, api.namespace)]
    if refused:
        cure = "The driver makes executors as pods: see Rights."
        yield missing("Spark", expected, f"not allowed: {', '.join(map(str, refused))}", cure)
        return
    if not image:
        yield advice(
            "Spark",
            expected,
            f"no image named here; executors in {namespace}",
            "On the hub ConfigMap labs-spark names it. Elsewhere set "
            "SPARK_CONF_spark_kubernetes_container_image.",
        )
        return
    yield ok("Spark", expected, f"{image} in {namespace}")
