"""KubeDirector: is it there, and does it judge manifests?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labclass.checkup import sizes
from labclass.checkup.api import GROUP, KUBEDIRECTOR, said
from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.visit import Visit

ACCOUNT = "ecp-tenant-member-sa"
_PLURALS = ("kubedirectorapps", "kubedirectorclusters", "kubedirectorconfigs")


def kinds(visit: Visit) -> Iterator[Finding]:
    """Look whether the cluster knows KubeDirector's kinds."""
    status, body = visit.require_api().get(KUBEDIRECTOR)
    served = {entry["name"] for entry in body.get("resources") or []}
    absent = [plural for plural in _PLURALS if plural not in served]
    expected = f"{GROUP}/v1beta1 with {', '.join(_PLURALS)}"
    if status != 200 or absent:
        yield missing(
            "KubeDirector",
            expected,
            f"no {', '.join(absent)}",
            "Install KubeDirector: `kubectl get crd` must list its definitions.",
        )
        return
    visit.reached.add("kubedirector")
    yield ok("KubeDirector", expected, expected)


def manifest(role: str) -> dict[str, Any]:
    """Return a kdcluster as lab core-02 makes one."""
    member = {
        "id": role,
        "members": 1,
        "serviceAccountName": ACCOUNT,
        "resources": {"requests": sizes.notebook(), "limits": sizes.notebook()},
    }
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "KubeDirectorCluster",
        "metadata": {"name": "labs-doctor"},
        "spec": {
            "app": "jupyter-notebook",
            "appCatalog": "local",
            "namingScheme": "CrNameRole",
            "roles": [member],
        },
    }


def judges(visit: Visit) -> Iterator[Finding]:
    """Try a wrong manifest and a right one; neither is stored."""
    api = visit.require_api()
    expected = "a wrong role refused and a right one taken, both only tried"
    path = api.custom("kubedirectorclusters")
    status, body = api.tried(path, manifest("no-such-role"))
    words = said(body)
    if "does not support dry run" in words:
        cure = "Lab core-02 shows it; its webhook does not say that it may be tried."
        yield advice("Operator", expected, "it cannot be tried without making something", cure)
        return
    if status >= 500:
        yield missing(
            "Operator",
            expected,
            f"{status}: {words}",
            "KubeDirector does not answer, so no kdcluster is taken. "
            "`kubectl get pod -A -l name=kubedirector` shows it, its log says why.",
        )
        return
    if status < 300:
        yield missing(
            "Operator",
            expected,
            "a manifest with a role that does not exist was taken",
            "Nobody judges manifests: KubeDirector's webhook is not registered. Is it running? "
            "`kubectl get mutatingwebhookconfiguration`.",
        )
        return
    if "Invalid role" not in words:
        yield missing("Operator", expected, f"{status}: {words}", _cure(words))
        return
    status, body = api.tried(path, manifest("controller"))
    if status != 201:
        yield missing("Operator", expected, f"{status}: {said(body)}", _cure(said(body)))
        return
    visit.reached.add("operator")
    yield ok("Operator", expected, "refuses a wrong role, takes a right one")


def _cure(words: str) -> str:
    if "Invalid app" in words:
        return "The catalogue is not in the tenant: `kubectl apply -k` deploy/kubernetes."
    if "quota" in words:
        return "There is no room for one more kdcluster: see Room."
    if ACCOUNT in words:
        return f"Make the service account {ACCOUNT}: `kubectl apply -k` deploy/kubernetes."
    return "The sentence is KubeDirector's own; lab core-02 would show it to every learner."
