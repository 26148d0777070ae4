"""What each tenant of a class needs in Kubernetes before learners come: what it shares.

Done as the instructor, an Admin of the tenant, with the kubeconfig the platform gives her: the
same on the laptop platform and on a real one. Namespaces, rights and the catalogue are the
platform's own work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from labclass.front import FrontDoor, PlatformRefused
from labhelpers.deadline import WaitTimeout, wait
from labrunner.workshop import Workshop

KDCLUSTERS = {
    "group": "kubedirector.hpe.com",
    "version": "v1beta1",
    "plural": "kubedirectorclusters",
}
TRAINING = "training-engine"
_SECONDS = 600.0
_AT_ONCE = 4


class Space:
    """One tenant's namespace, as its administrator reaches it."""

    def __init__(self, door: FrontDoor, namespace: str) -> None:
        from kubernetes import client, config

        self.namespace = namespace
        connect: Any = config.new_client_from_config_dict
        self._api: Any = connect(door.kubeconfig())
        self._core: Any = client.CoreV1Api(self._api)
        self._custom: Any = client.CustomObjectsApi(self._api)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def ensure(self, manifest: dict[str, Any]) -> None:
        """Create a kdcluster unless there is one of its name."""
        from kubernetes.client import ApiException

        try:
            self._custom.create_namespaced_custom_object(
                namespace=self.namespace, body=manifest, **KDCLUSTERS
            )
        except ApiException as error:
            if error.status != 409:
                raise PlatformRefused(
                    f"Expected to make {manifest['metadata']['name']} in {self.namespace}, "
                    f"found HTTP {error.status}: {_said(error)} "
                    "`labs doctor --platform FILE` looks at what a platform needs."
                ) from error

    def state(self, name: str) -> str:
        """Return the state of a kdcluster, in KubeDirector's word."""
        found = self._custom.get_namespaced_custom_object(
            namespace=self.namespace, name=name, **KDCLUSTERS
        )
        return str((found.get("status") or {}).get("state", "accepted"))

    def most_pods(self) -> int | None:
        """Return how many pods the quotas allow; None when nothing limits them."""
        quotas = self._core.list_namespaced_resource_quota(self.namespace).items
        limits = [int(q.spec.hard["pods"]) for q in quotas if "pods" in (q.spec.hard or {})]
        return min(limits, default=None)


def shared(root: Path, workshops: Iterable[Workshop], learners: int) -> list[dict[str, Any]]:
    """Return the manifests of what a tenant shares, from the folders of the catalogue.

    A cluster for one learner is idle most of the day: there each job imports its libraries itself
    (3 s), instead of the cluster keeping them ready (120 MB).
    """
    apps = dict.fromkeys(app for workshop in workshops for app in workshop.shared)
    found = []
    for app in apps:
        for file in sorted((root / "catalog" / app / "shared").glob("*.yaml")):
            manifest = dict(yaml.safe_load(file.read_text("utf-8")))
            if learners == 1 and app == TRAINING:
                for role in manifest["spec"]["roles"]:
                    role["env"] = [{"name": "TRAINING_PRELOAD", "value": "labapps.training.child"}]
            found.append(manifest)
    return found


def pods_of(manifests: Iterable[dict[str, Any]]) -> int:
    """Return how many pods kdclusters have."""
    return sum(role["members"] for one in manifests for role in one["spec"]["roles"])


def equip(
    sign_in: Callable[[str], FrontDoor],
    learners: dict[str, tuple[str, int]],
    root: Path,
    workshops: Sequence[Workshop],
    tell: Callable[[str], None],
) -> list[str]:
    """Give each tenant (name: namespace, learners) what it shares; return what to know."""
    done = 0

    def one(tenant: str) -> str:
        nonlocal done
        namespace, students = learners[tenant]
        manifests = shared(root, workshops, students)
        with sign_in(tenant) as door:
            space = Space(door, namespace)
            try:
                for manifest in manifests:
                    space.ensure(manifest)
                for manifest in manifests:
                    _configured(space, manifest["metadata"]["name"])
                done += 1
                tell(f"{done} of {len(learners)} tenants have what they share")
                each = max((workshop.most_pods for workshop in workshops), default=0)
                needed = pods_of(manifests) + each * students
                return _tightness(tenant, space.most_pods(), needed)
            finally:
                space.close()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [note for note in pool.map(one, learners) if note]


def _configured(space: Space, name: str) -> None:
    try:
        wait(
            f"{name} in {space.namespace} to be configured",
            lambda: space.state(name),
            until=lambda state: state == "configured",
            deadline=_SECONDS,
        )
    except WaitTimeout as error:
        raise PlatformRefused(
            f"{error} `kubectl --namespace {space.namespace} describe kdcluster {name}` says why; "
            "type the same again when it is mended."
        ) from error


def _tightness(tenant: str, most: int | None, needed: int) -> str:
    """Say when a quota is too small for those who work in the tenant.

    >>> _tightness("Team-zoe", 35, 6)
    ''
    >>> _tightness("K8sMLTenant", 35, 50)[:61]
    'Expected room for 50 pods in K8sMLTenant, found a quota of 35'
    """
    if most is None or most >= needed:
        return ""
    return (
        f"Expected room for {needed} pods in {tenant}, found a quota of {most}: not everybody "
        "will be able to deploy. Ask the platform's administrator for more; the laptop platform "
        "gives it with `labsandbox up --seats N`."
    )


def _said(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def namespaces(people: Iterable[tuple[str, str, bool]]) -> dict[str, tuple[str, int]]:
    """Count learners by tenant, from (tenant, namespace, is a student).

    >>> namespaces([("A", "a", True), ("A", "a", True), ("B", "b", False)])
    {'A': ('a', 2), 'B': ('b', 0)}
    """
    found: dict[str, tuple[str, int]] = {}
    for tenant, namespace, is_student in people:
        found[tenant] = (namespace, found.get(tenant, ("", 0))[1] + is_student)
    return found
