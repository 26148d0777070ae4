"""What the steps of the core workshop made on the platform, and the commands that show the same.

kubectl shows it in a terminal; curl asks the API itself, through `kubectl proxy`, which adds the
learner's credentials. The proxy listens on a socket file that only the learner can open: every
user of a class's host could use a port.

Read-only, with the learner's own kubeconfig: the page shows what the learner may read. The content
of Secrets, tokens and passwords is not asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config

from labkube import kubeconfig
from labkube.connection import Connection
from labkube.errors import KubeError
from labkube.service import addresses

__all__ = ["PROXY", "Section", "look"]

LAB = "labs.house-on-the-lake/lab"
CLUSTER, ROLE = "kubedirector.hpe.com/kdcluster", "kubedirector.hpe.com/role"
MODELS, SECRETS = "kubedirector.hpe.com/cmType=model", "kubedirector.hpe.com/secretType"
KIND = {"group": "kubedirector.hpe.com", "version": "v1beta1"}
SECONDS = 10
MOST_EVENTS = 15
PROXY = 'kubectl proxy --unix-socket="$HOME/kube.sock" &'
CURL = 'curl --silent --unix-socket "$HOME/kube.sock"'
# A Table holds the columns that kubectl prints, and no content of a Secret.
TABLE = "--header 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1'"
WHO = """--json '{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}'"""
SIGN_IN = "Expected a session on the platform, found none that is valid. Run lab core-01 again."
REFUSED = (KubeError, client.ApiException, config.ConfigException, urllib3.exceptions.HTTPError)
Rows = list[list[str]]


@dataclass(frozen=True)
class Section:
    """Objects of one kind: where a lab makes them, a table, and the commands that show the same."""

    title: str
    step: str
    commands: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Rows = field(default_factory=list)
    trouble: str = ""


@dataclass(frozen=True)
class Cluster:
    """The clients, and the namespace of the learner's tenant."""

    core: Any
    custom: Any
    namespace: str

    def custom_objects(self, plural: str) -> list[dict[str, Any]]:
        """List KubeDirector's objects of one kind."""
        listed = self.custom.list_namespaced_custom_object(
            namespace=self.namespace, plural=plural, _request_timeout=SECONDS, **KIND
        )
        return list(listed["items"])

    def listed(self, kind: str, selector: str = "") -> list[Any]:
        """List objects of the core API of one kind."""
        call = getattr(self.core, f"list_namespaced_{kind}")
        found = call(self.namespace, label_selector=selector, _request_timeout=SECONDS)
        return list(found.items)


def look(repository: Path | None = None, user: str = "") -> tuple[list[Section], str]:
    """Return the sections, and why the platform could not be asked; nothing when it was."""
    path = kubeconfig.locate()
    try:
        cluster = _connect(path)
    except (OSError, ValueError, KeyError, TypeError, *REFUSED):
        return [], SIGN_IN
    where = _context(path)
    core, custom = f"/api/v1/namespaces/{cluster.namespace}", _custom_path(cluster.namespace)
    parts = [
        _section(
            "Tenant",
            "core-01, steps 1 and 4",
            (
                "kubectl config current-context && kubectl auth whoami",
                f"{CURL} {WHO} http://localhost/apis/authentication.k8s.io/v1/selfsubjectreviews",
            ),
            ("namespace", "user", "cluster"),
            lambda: [where],
        ),
        _section(
            "Applications",
            "core-02, step 1",
            ("kubectl get kdapp", asked(f"{custom}/kubedirectorapps")),
            ("name", "what it is", "roles"),
            lambda: applications(cluster.custom_objects("kubedirectorapps")),
        ),
        _section(
            "Secrets",
            "core-02, steps 2 and 7",
            (
                f"kubectl get secret -l {SECRETS} --show-labels",
                asked(f"{core}/secrets", SECRETS, TABLE),
            ),
            ("name", "type", "made by lab"),
            lambda: secrets(cluster.listed("secret", SECRETS)),
        ),
        _section(
            "Virtual clusters and their connections",
            "core-02, step 4; core-03; core-05, step 4",
            ("kubectl get kdcluster", asked(f"{custom}/kubedirectorclusters")),
            ("name", "application", "state", "connected to", "made by lab"),
            lambda: clusters(cluster.custom_objects("kubedirectorclusters")),
        ),
        _section(
            "Members",
            "core-02, step 5; core-06, step 6",
            (f"kubectl get pod -l {CLUSTER}", asked(f"{core}/pods", CLUSTER)),
            ("pod", "cluster", "role", "phase", "restarts"),
            lambda: members(cluster.listed("pod", CLUSTER)),
        ),
        _section(
            "Endpoints",
            "core-02, step 6; core-06, step 1",
            (
                f"kubectl get service -l {CLUSTER} -o yaml | grep hpecp-internal-gateway",
                f"{asked(f'{core}/services', CLUSTER)} | grep hpecp-internal-gateway",
            ),
            ("cluster", "role", "port", "address"),
            lambda: endpoints(cluster.listed("service", CLUSTER)),
        ),
        _section(
            "Tables",
            "core-03, steps 2 to 7",
            ('ls "$PROJECT_REPO/lakehouse/$EZMERAL_USER"',),
            ("table", "versions in the log", "newest commit"),
            lambda: tables(repository, user),
        ),
        _section(
            "Trained models",
            "core-04, step 4; core-07, steps 3 and 6",
            ('ls "$PROJECT_REPO/models/$EZMERAL_USER"',),
            ("file", "bytes"),
            lambda: files(repository, user),
        ),
        _section(
            "Registered models",
            "core-05, step 3; core-07, step 4",
            (f"kubectl get configmap -l {MODELS}", asked(f"{core}/configmaps", MODELS)),
            ("name", "model", "version", "made by lab"),
            lambda: models(cluster.listed("config_map", MODELS)),
        ),
        _section(
            "Events",
            "core-02, step 4; core-07, step 4",
            ("kubectl get events --sort-by .lastTimestamp", asked(f"{core}/events")),
            ("when", "object", "reason", "what happened"),
            lambda: events(cluster.listed("event")),
        ),
    ]
    return parts, ""


def asked(path: str, selector: str = "", options: str = "") -> str:
    """Return the line with which curl asks the API for the same list.

    >>> print(asked("/api/v1/namespaces/ours/pods", "app").removeprefix(CURL))
     "http://localhost/api/v1/namespaces/ours/pods?labelSelector=app"
    """
    query = f"?labelSelector={selector}" if selector else ""
    return " ".join(part for part in (CURL, options, f'"http://localhost{path}{query}"') if part)


def _custom_path(namespace: str) -> str:
    return f"/apis/{KIND['group']}/{KIND['version']}/namespaces/{namespace}"


def _connect(path: Path) -> Cluster:
    api = Connection(path)
    core = client.CoreV1Api(api)
    cluster = Cluster(core, client.CustomObjectsApi(api), kubeconfig.read(path).namespace)
    cluster.listed("event", "asked=first")  # a session that is over is told here
    return cluster


def _context(path: Path) -> list[str]:
    found = kubeconfig.read(path)
    return [found.namespace, os.environ.get("EZMERAL_USER", ""), found.server]


def _section(
    title: str,
    step: str,
    commands: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Callable[[], Rows],
) -> Section:
    """Fill a section; what cannot be read is said in it, and takes no other section along."""
    try:
        return Section(title, step, commands, columns, rows())
    except (OSError, *REFUSED) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        return Section(title, step, commands, columns, trouble=f"This could not be read: {reason}.")


def applications(items: Iterable[Mapping[str, Any]]) -> Rows:
    """Return a row for each application of the catalogue."""
    return [
        [
            one["metadata"]["name"],
            one["spec"]["label"]["name"],
            ", ".join(role["id"] for role in one["spec"]["roles"]),
        ]
        for one in items
    ]


def secrets(items: Iterable[Any]) -> Rows:
    """Return a row for each Secret that KubeDirector knows; its content stays out."""
    rows = []
    for one in items:
        labels = one.metadata.labels or {}
        kind = labels.get("kubedirector.hpe.com/secretType", "")
        rows.append([one.metadata.name, kind, labels.get(LAB, "")])
    return rows


def clusters(items: Iterable[Mapping[str, Any]]) -> Rows:
    """Return a row for each virtual cluster."""
    rows = []
    for one in items:
        joined = (one["spec"].get("connections") or {}).values()
        connected = ", ".join(name for names in joined for name in names or ())
        made = (one["metadata"].get("labels") or {}).get(LAB, "")
        state = (one.get("status") or {}).get("state", "new")
        rows.append([one["metadata"]["name"], one["spec"]["app"], state, connected, made])
    return rows


def members(items: Iterable[Any]) -> Rows:
    """Return a row for each pod of a virtual cluster."""
    rows = []
    for one in items:
        counts = [str(each.restart_count) for each in one.status.container_statuses or ()]
        labels = one.metadata.labels
        kept = [labels.get(CLUSTER, ""), labels.get(ROLE, "")]
        rows.append([one.metadata.name, *kept, one.status.phase, ", ".join(counts) or "0"])
    return rows


def endpoints(items: Iterable[Any]) -> Rows:
    """Return a row for each port that has an address at the gateway."""
    return [
        [
            one.metadata.labels.get(CLUSTER, ""),
            one.metadata.labels.get(ROLE, ""),
            str(port),
            address,
        ]
        for one in items
        for port, address in sorted(addresses(one.metadata.annotations or {}).items())
    ]


def models(items: Iterable[Any]) -> Rows:
    """Return a row for each registered model."""
    rows = []
    for one in items:
        data, labels = one.data or {}, one.metadata.labels or {}
        said = [data.get("name", ""), data.get("model-version", ""), labels.get(LAB, "")]
        rows.append([one.metadata.name, *said])
    return rows


def events(items: Iterable[Any]) -> Rows:
    """Return a row for each of the last events, the newest first."""
    dated = [(one.last_timestamp or one.event_time, one) for one in items]
    known = sorted((pair for pair in dated if pair[0]), key=lambda pair: pair[0], reverse=True)
    return [
        [
            f"{at:%Y-%m-%d %H:%M:%S}",
            f"{one.involved_object.kind} {one.involved_object.name}",
            one.reason or "",
            one.message or "",
        ]
        for at, one in known[:MOST_EVENTS]
    ]


def tables(repository: Path | None, user: str) -> Rows:
    """Return a row for each Delta table of the learner, read from its log."""
    found = sorted(repository.glob(f"lakehouse/{user}/*/_delta_log")) if repository else []
    rows = []
    for log in found:
        commits = sorted(log.glob("[0-9]*.json"))
        if commits:
            rows.append([log.parent.name, str(int(commits[-1].stem) + 1), _operation(commits[-1])])
    return rows


def _operation(commit: Path) -> str:
    """Return what a commit did."""
    for line in commit.read_text("utf-8").splitlines():
        if line.startswith('{"commitInfo"'):
            return str(json.loads(line)["commitInfo"].get("operation", ""))
    return ""


def files(repository: Path | None, user: str) -> Rows:
    """Return a row for each model file of the learner."""
    found = sorted(repository.glob(f"models/{user}/*")) if repository else []
    return [[file.name, f"{file.stat().st_size:,}"] for file in found if file.is_file()]
