"""The real Kubernetes clients, and what a lab asks of a KubeDirector cluster again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from kubernetes import client

from labhelpers.deadline import WaitTimeout, wait
from labhelpers.environment import settings
from labhelpers.errors import EngineRefused, LabMissing
from labhelpers.repository import missing
from labkube import kubeconfig, remote
from labkube.connection import OVER, Connection
from labkube.errors import SignInNeeded
from labkube.service import addresses, token_of
from labshow.live import Live

__all__ = [
    "KUBEDIRECTOR",
    "Clients",
    "apply",
    "apply_config_map",
    "caller",
    "cluster_of",
    "connect",
    "endpoints",
    "labels",
    "remote",
    "remove",
    "restarts",
    "served",
    "token",
    "wait_configured",
    "wait_served",
]

# group, version and plural: how the official client names a custom resource
KUBEDIRECTOR = {"group": "kubedirector.hpe.com", "version": "v1beta1"}
LABEL, OWNER = "labs.house-on-the-lake/lab", "labs.house-on-the-lake/user"
MOST = 2  # pods whose words fit into an error


@dataclass(frozen=True)
class Clients:
    """The official client's APIs, and the namespace your tenant lives in."""

    core: Any  # CoreV1Api
    apps: Any  # AppsV1Api
    custom: Any  # CustomObjectsApi
    auth: Any  # AuthorizationV1Api
    namespace: str


def connect() -> Clients:
    """Return clients for the kubeconfig of lab core-01; say so when the session is over."""
    path = settings().kubeconfig
    if not path.exists():
        raise SignInNeeded(f"Expected a kubeconfig at {path}: run lab core-01 first.")
    api = Connection(path)
    try:
        client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    except client.ApiException as error:
        if error.status != 403:  # 401 is told by the connection; 403: nobody was known at all
            raise
        raise SignInNeeded(OVER) from None
    except urllib3.exceptions.HTTPError as error:
        raise SignInNeeded(
            f"The cluster that {path} names does not answer, or is another one by now "
            f"({type(error).__name__}). Run `labsandbox status`, then lab core-01 again."
        ) from error
    return Clients(
        client.CoreV1Api(api),
        client.AppsV1Api(api),
        client.CustomObjectsApi(api),
        client.AuthorizationV1Api(api),
        kubeconfig.read(path).namespace,
    )


def apply(clients: Clients, plural: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Create a KubeDirector object, or merge the manifest into the one that is there."""
    where = {**KUBEDIRECTOR, "namespace": clients.namespace, "plural": plural}
    try:
        made: dict[str, Any] = clients.custom.create_namespaced_custom_object(
            body=manifest, **where
        )
    except client.ApiException as error:
        if error.status != 409:
            raise
        made = clients.custom.patch_namespaced_custom_object(
            name=manifest["metadata"]["name"], body=manifest, **where
        )
    return made


def apply_config_map(
    clients: Clients, name: str, data: dict[str, str], labels: dict[str, str]
) -> None:
    """Create a ConfigMap, or replace the one that is there."""
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)
    try:
        clients.core.create_namespaced_config_map(clients.namespace, body)
    except client.ApiException as error:
        if error.status != 409:
            raise
        clients.core.replace_namespaced_config_map(name, clients.namespace, body)


def caller(clients: Clients, kdcluster: str, role: str, port: int) -> tuple[requests.Session, str]:
    """Return a session that carries the role's token and trusts the gateway, and the address.

    After a restart of the platform a service needs a while: until then the gateway answers for it.
    """
    http = requests.Session()
    # Else REQUESTS_CA_BUNDLE, where a site sets it, would win over the platform's certificate.
    http.verify, http.trust_env = str(settings().ca), False
    http.headers["X-Auth-Token"] = token(clients, kdcluster, role)
    found = str(
        wait(f"an address for {kdcluster}", lambda: endpoints(clients, kdcluster, role).get(port))
    )
    wait(
        f"{kdcluster} to answer at {found}",
        lambda: f"HTTP {http.get(found, timeout=10).status_code}",
        until=lambda seen: seen not in ("HTTP 502", "HTTP 503"),
        deadline=180,
    )
    return http, found


def served(http: requests.Session, address: str) -> dict[str, dict[str, Any]]:
    """Return what a deployment engine says of its models, by name/version."""
    answer = http.get(f"{address}/models", timeout=10)
    try:
        listed = answer.json()["models"]
    except (ValueError, LookupError, TypeError):
        raise EngineRefused(
            f"Expected the list of models at {address}/models, found HTTP {answer.status_code}: "
            f"{answer.text[:200].strip()}. Read address and token from the service again."
        ) from None
    return {f"{one.get('name')}/{one.get('version')}": one for one in listed}


def wait_served(http: requests.Session, address: str, *models: str) -> list[str]:
    """Wait until the engine serves all these models; return the names of all it serves."""
    found = wait(
        f"the engine to serve {', '.join(models)}",
        lambda: sorted(served(http, address)),
        until=lambda seen: set(models) <= set(seen),
        ignoring=(OSError, EngineRefused),
    )
    return list(found)


def wait_configured(clients: Clients, name: str, deadline: float = 180) -> dict[str, Any]:
    """Wait until a kdcluster is configured and all its members are well; show it live."""
    where = {**KUBEDIRECTOR, "namespace": clients.namespace, "plural": "kubedirectorclusters"}
    live = Live(f"kdcluster {name}")

    def look() -> tuple[str, str]:
        try:
            found = clients.custom.get_namespaced_custom_object(name=name, **where)
        except client.ApiException as error:
            if error.status != 404:
                raise
            raise LabMissing(  # waiting does not bring it
                f"Expected kdcluster {name} in namespace {clients.namespace}, found none. "
                "`kubectl get kdcluster` lists those there are; apply its manifest (again)."
            ) from None
        status = found.get("status") or {}
        rollup = status.get("memberStateRollup") or {}
        return status.get("state", "new"), ", ".join(sorted(k for k, v in rollup.items() if v))

    try:
        wait(
            f"kdcluster {name} to be configured",
            look,
            until=lambda seen: seen == ("configured", ""),
            deadline=deadline,
            every=0.3,
            ignoring=(OSError, client.ApiException),
            on_change=lambda seen: live.add(" – ".join(part for part in seen if part)),
        )
    except WaitTimeout as late:
        told = f"{late} Its last events: {_events(clients, name)}. {_last_words(clients, name)}"
        raise WaitTimeout(told.strip()) from None
    found: dict[str, Any] = clients.custom.get_namespaced_custom_object(name=name, **where)
    return found


def endpoints(clients: Clients, kdcluster: str, role: str) -> dict[int, str]:
    """Return service port -> https address at the gateway, for one role of a kdcluster."""
    found: dict[int, str] = {}
    for notes in _annotations(clients, kdcluster, role):
        found |= addresses(notes)
    return found


def restarts(clients: Clients, kdcluster: str) -> dict[str, int]:
    """Return how often each pod of a kdcluster was restarted."""
    selector = f"kubedirector.hpe.com/kdcluster={kdcluster}"
    pods = clients.core.list_namespaced_pod(clients.namespace, label_selector=selector).items
    return {pod.metadata.name: pod.status.container_statuses[0].restart_count for pod in pods}


def token(clients: Clients, kdcluster: str, role: str) -> str:
    """Return the token that one role of a kdcluster asks its callers for."""
    tokens = map(token_of, _annotations(clients, kdcluster, role))
    return next(filter(None, tokens), "")


def cluster_of(lab: str, clients: Clients, name: str) -> dict[str, Any]:
    """Return the kdcluster an earlier lab deployed."""
    listed = clients.custom.list_namespaced_custom_object(
        namespace=clients.namespace, plural="kubedirectorclusters", **KUBEDIRECTOR
    )
    for item in listed["items"]:
        if item["metadata"]["name"] == name:
            return dict(item)
    raise missing(f"kdcluster {name}", lab)


def labels(lab: str) -> dict[str, str]:
    """Return the labels that mark an object as made by you in a lab; others share your tenant."""
    return {LABEL: lab.replace("/", "-"), OWNER: settings().user}


def remove(clients: Clients, lab: str, deadline: float = 90) -> list[str]:
    """Delete your kdclusters, ConfigMaps and Secrets of a lab; return what they were."""
    selector = ",".join(f"{key}={value}" for key, value in labels(lab).items())
    where = {**KUBEDIRECTOR, "namespace": clients.namespace, "plural": "kubedirectorclusters"}

    def clusters() -> list[str]:
        found = clients.custom.list_namespaced_custom_object(label_selector=selector, **where)
        return [item["metadata"]["name"] for item in found["items"]]

    removed = []
    for name in clusters():
        clients.custom.delete_namespaced_custom_object(name=name, **where)
        removed.append(f"kdcluster {name}")
    wait(
        f"the kdclusters of {lab} to be gone",
        clusters,
        until=lambda left: not left,
        deadline=deadline,
        ignoring=(OSError, client.ApiException),
    )
    core, namespace = clients.core, clients.namespace
    for config_map in core.list_namespaced_config_map(namespace, label_selector=selector).items:
        core.delete_namespaced_config_map(config_map.metadata.name, namespace)
        removed.append(f"configmap {config_map.metadata.name}")
    for secret in core.list_namespaced_secret(namespace, label_selector=selector).items:
        core.delete_namespaced_secret(secret.metadata.name, namespace)
        removed.append(f"secret {secret.metadata.name}")
    return removed


def _annotations(clients: Clients, kdcluster: str, role: str) -> list[dict[str, str]]:
    selector = f"kubedirector.hpe.com/kdcluster={kdcluster},kubedirector.hpe.com/role={role}"
    services = clients.core.list_namespaced_service(clients.namespace, label_selector=selector)
    return [service.metadata.annotations or {} for service in services.items]


def _events(clients: Clients, name: str) -> str:
    events = clients.core.list_namespaced_event(
        clients.namespace, field_selector=f"involvedObject.name={name}"
    ).items
    return "; ".join(event.message for event in events[-3:]) or "none"


def _last_words(clients: Clients, name: str) -> str:
    """Return why the pods that are not ready wait, or what they said last."""
    selector = f"kubedirector.hpe.com/kdcluster={name}"
    said = []
    for pod in clients.core.list_namespaced_pod(clients.namespace, label_selector=selector).items:
        if pod.status.container_statuses and all(
            one.ready for one in pod.status.container_statuses
        ):
            continue
        unplaced = [
            one.message or one.reason
            for one in pod.status.conditions or ()
            if one.type == "PodScheduled" and one.status == "False"
        ]
        if unplaced:
            said.append(f"Pod {pod.metadata.name} has no place: {unplaced[0]}")
            continue
        try:
            log = clients.core.read_namespaced_pod_log(
                pod.metadata.name, clients.namespace, tail_lines=1
            )
        except client.ApiException:  # it has not begun: it has no log
            continue
        if log and log.strip():  # None when the API answers that there is no content yet
            said.append(f"The last words of pod {pod.metadata.name}: {log.strip()}")
    more = [f"{len(said) - MOST} more pods wait, too."] if len(said) > MOST else []
    return " ".join([*said[:MOST], *more])
