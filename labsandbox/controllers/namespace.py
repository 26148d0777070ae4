"""Namespace deletion: delete all content, say what remains, let the namespace go."""

from __future__ import annotations

from typing import Any

from labsandbox.client import Resource
from labsandbox.client.resources import EVENTS, LEASES, NAMESPACES
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Again, DeleteAll, Finalize, Replace

Object = dict[str, Any]

_RETRY_SECONDS = 2.0


def reconcile(
    namespace: Object, content: list[tuple[Resource, list[Object]]], now: float
) -> list[Action]:
    """Return the next step of a namespace's deletion.

    `content` holds every namespaced resource that is followed, with what the namespace has of it.
    Events and leases are not: nobody waits for them, so the last step deletes what there may be.
    """
    if not objects.is_deleted(namespace):
        return []
    finalizers = (namespace.get("spec") or {}).get("finalizers") or []
    if "kubernetes" not in finalizers:
        return []
    name = namespace["metadata"]["name"]
    left = [(resource, held) for resource, held in content if held]
    actions: list[Action] = [
        DeleteAll(resource, name)
        for resource, held in left
        if not all(objects.is_deleted(obj) for obj in held)
    ]
    status = {
        "phase": "Terminating",
        "conditions": _conditions(namespace, [] if actions else left, now),
    }
    if actions:
        return [*actions, Again(0.05)]
    if (namespace.get("status") or {}) != status:
        actions.append(Replace(NAMESPACES, {**namespace, "status": status}, "status"))
        return [*actions, Again(0)]
    if left:
        return [*actions, Again(_RETRY_SECONDS)]
    kept = [one for one in finalizers if one != "kubernetes"]
    return [
        DeleteAll(EVENTS, name),
        DeleteAll(LEASES, name),
        Finalize({**namespace, "spec": {**namespace["spec"], "finalizers": kept}}),
    ]


def _conditions(
    namespace: Object, left: list[tuple[Resource, list[Object]]], now: float
) -> list[Object]:
    remaining = [
        f"{resource.plural}.{resource.group} has {len(held)} resource instances"
        for resource, held in left
    ]
    counts: dict[str, int] = {}
    for _, held in left:
        for obj in held:
            for name in obj["metadata"].get("finalizers") or []:
                counts[name] = counts.get(name, 0) + 1
    finalizers = [f"{name} in {count} resource instances" for name, count in sorted(counts.items())]
    wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            False,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            False,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            bool(remaining),
            "SomeResourcesRemain" if remaining else "ContentRemoved",
            f"Some resources are remaining: {', '.join(sorted(remaining))}"
            if remaining
            else "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(finalizers),
            "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {', '.join(finalizers)}"
            if finalizers
            else "All content-preserving finalizers finished",
        ),
    ]
    before = {c["type"]: c for c in (namespace.get("status") or {}).get("conditions") or []}
    found = []
    for kind, is_true, reason, message in wanted:
        status = "True" if is_true else "False"
        old = before.get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == status else objects.when(now)
        found.append(
            {
                "type": kind,
                "status": status,
                "lastTransitionTime": since,
                "reason": reason,
                "message": message,
            }
        )
    return found
