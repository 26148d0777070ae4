"""Rights: may a learner do all that the labs do, and nothing that lab core-01 shows to be shut?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from labclass.checkup.api import GROUP, Api
from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.visit import Visit

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Right(NamedTuple):
    """One verb on one resource; `group` is empty for the core group."""

    verb: str
    resource: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def _all(verbs: str, resource: str, group: str = "") -> list[Right]:
    return [Right(verb, resource, group) for verb in verbs.split()]


NEEDED = (
    *_all("get list create patch delete", "kubedirectorclusters", GROUP),
    *_all("get list", "kubedirectorapps", GROUP),
    *_all("get list create update patch delete", "configmaps"),
    *_all("get list create patch delete", "secrets"),
    *_all("get list watch", "pods"),
    *_all("get list", "services"),
    *_all("list", "events"),
    *_all("get list", "statefulsets", "apps"),
    *_all("get", "pods/log"),
    *_all("create get", "pods/exec"),
    *_all("get", "serviceaccounts"),
    *_all("list", "resourcequotas"),
)
"""What the labs call, and what `kubectl` calls beside them."""

SHUT = (
    Right("create", "rolebindings", "rbac.authorization.k8s.io"),
    Right("delete", "nodes"),
    Right("list", "secrets in other namespaces"),
)
"""What lab core-01 shows to be nobody's business."""


def allowed(api: Api, right: Right, namespace: str) -> bool:
    """Ask the cluster, which answers without doing anything."""
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "resource": resource.partition(" ")[0],
        "subresource": subresource,
        "group": right.group,
        "namespace": namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    _, answer = api.call("POST", REVIEWS, body)
    return bool((answer.get("status") or {}).get("allowed"))


def needed(visit: Visit) -> Iterator[Finding]:
    """Look whether a learner has every right that the labs use."""
    api = visit.require_api()
    refused = [right for right in NEEDED if not allowed(api, right, api.namespace)]
    expected = f"{len(NEEDED)} verbs that the labs use in {api.namespace}"
    if not refused:
        visit.reached.add("rights")
        yield ok("Rights", expected, f"all {expected}")
        return
    told = ", ".join(map(str, refused[:6])) + (", …" if len(refused) > 6 else "")
    yield missing(
        "Rights",
        expected,
        f"not allowed: {told}",
        f"Bind the learners' group to ClusterRole hpecp-member in {api.namespace}: "
        "`kubectl apply -k` your copy of deploy/kubernetes/site-example, which says how.",
    )


def shut(visit: Visit) -> Iterator[Finding]:
    """Look whether the doors are shut that lab core-01 shows to be shut."""
    api = visit.require_api()
    places = {"rolebindings": api.namespace, "nodes": ""}
    opened = [
        right for right in SHUT if allowed(api, right, places.get(right.resource, "kube-system"))
    ]
    expected = "no right to hand out rights, to remove nodes, to read others' secrets"
    if not opened:
        yield ok("Shut doors", expected, "as shut as lab core-01 shows them")
        return
    yield advice(
        "Shut doors",
        expected,
        f"allowed: {', '.join(map(str, opened))}",
        "Lab core-01 fails where these are open, and learners can break the platform. Is this user "
        "an administrator, or is a binding too wide? `kubectl auth can-i --list`.",
    )
