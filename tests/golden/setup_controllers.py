"""The unrecorded steps of the areas that need controllers and a kubelet."""

from __future__ import annotations

from typing import Any

from tests.golden.setup import (
    MERGE,
    STRATEGIC,
    Call,
    Capture,
    Pause,
    Plan,
    Step,
    Until,
    config_map,
    maps,
    namespace,
)

V, A, B = (
    "/api/v1/namespaces/c20/",
    "/apis/apps/v1/namespaces/c20/",
    "/apis/batch/v1/namespaces/c20/",
)
G21 = maps("c21")
PODS22 = "/api/v1/namespaces/c22/pods"


def _fresh(name: str) -> tuple[Step, ...]:
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    return (namespace(name), Until(account, "metadata.name", "default"))


def _without_default_class() -> tuple[Step, ...]:
    """The recorded cluster had no default storage class: claims wait there."""
    path = "/apis/storage.k8s.io/v1/storageclasses/project-repo"
    notes = {"storageclass.kubernetes.io/is-default-class": "false"}
    change = Call("PATCH", path, {"metadata": {"annotations": notes}}, MERGE)
    return (Until(path, "metadata.name", "project-repo"), change)


def _image(tag: str) -> dict[str, Any]:
    containers = [{"name": "c", "image": f"i:{tag}"}]
    return {"spec": {"template": {"spec": {"containers": containers}}}}


def _stateful_set() -> dict[str, Any]:
    ports = [{"containerPort": 80, "name": "http"}]
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "replicas": 2,
            "selector": {"matchLabels": {"app": "w"}},
            "template": {
                "metadata": {"labels": {"app": "w"}},
                "spec": {
                    "containers": [{"name": "c", "image": "i:1", "ports": ports}],
                    "volumes": None,
                },
            },
            "volumeClaimTemplates": [claim],
        },
    }


def _job() -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"completions": 2, "template": {"spec": pod}},
    }


def _family(name: str, **more: Any) -> tuple[Step, ...]:
    """An owner and two dependents, whose ownerReferences get the owner's live uid."""
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": f"<uid of {name}>"}
    return (
        Call("POST", G21, config_map(name)),
        *(
            Call(
                "POST",
                G21,
                config_map(
                    f"{name}-d{i}", labels={"fam": name}, ownerReferences=[{**reference, **more}]
                ),
            )
            for i in range(2)
        ),
        Pause(0.7),
    )


def _deletion(policy: str) -> tuple[Step, ...]:
    """A family, and the version before the deletion, from where its events are read."""
    family = _family(policy.lower(), blockOwnerDeletion=True, controller=True)
    return (*family, Capture(G21, f"{policy}: events"))


TWO_OWNERS = [
    {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": f"<uid of {name}>"}
    for name in ("two", "two-b")
]
WAITING = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "name": "fg",
    "uid": "<uid of fg>",
    "blockOwnerDeletion": True,
}

CONTROLLERS = Plan(
    needs="controllers",
    start=(*_fresh("c20"), *_without_default_class(), Pause(0.5)),
    before={
        "deployment status": (
            Until(A + "deployments/w", "status.availableReplicas", 2),
            Pause(0.5),
        ),
        "endpoints": (Pause(1.5),),
        "pods are gone": (Until(V + "pods", "items", []),),
        "statefulset gone": (Until(A + "statefulsets/db"),),
        "its pods": (Pause(1.0),),
        "quota status computed": (Pause(1.0),),
        "PVC deletion with protection controller": (Call("DELETE", V + "resourcequotas/q"),),
        "PVC gone": (Pause(1.0),),
        "and recreated": (Pause(1.0),),
        "namespace deletion blocked by a finalizer": (
            Call("POST", V + "configmaps", config_map("nsfin", finalizers=["x.io/hold"])),
        ),
        "namespace gone": (
            Call("PATCH", V + "configmaps/nsfin", {"metadata": {"finalizers": None}}, MERGE),
            Until("/api/v1/namespaces/c20"),
        ),
    },
    during={
        "rolling update seen as deployment events": (
            Call("PATCH", A + "deployments/w", _image("2"), STRATEGIC),
        ),
        "statefulset start seen as pod events": (
            Call("POST", A + "statefulsets", _stateful_set()),
        ),
        "delete pod db-0: recreated under the same name": (Call("DELETE", V + "pods/db-0"),),
        "scale to 1: highest ordinal goes": (
            Call("PATCH", A + "statefulsets/db/scale", {"spec": {"replicas": 1}}, MERGE),
        ),
        "template change: rolling update": (
            Call("PATCH", A + "statefulsets/db", _image("2"), STRATEGIC),
        ),
        "job run seen as job events": (Call("POST", B + "jobs", _job()),),
        "namespace deletion blocked by a finalizer": (Call("DELETE", "/api/v1/namespaces/c20"),),
    },
)

COLLECTION = Plan(
    needs="controllers",
    start=_fresh("c21"),
    before={
        "Background: delete": _deletion("Background"),
        "Foreground: delete": _deletion("Foreground"),
        "Orphan: delete": _deletion("Orphan"),
        "no policy given: configmap default is background": _family("default"),
        "no policy: what is left": (Pause(1.0),),
        "collected": (Until(G21 + "/lost"),),
        "dependent with a second living owner stays, reference dropped": (
            *_family("two"),
            Call("POST", G21, config_map("two-b")),
            Call("PATCH", G21 + "/two-d0", {"metadata": {"ownerReferences": TWO_OWNERS}}, MERGE),
            Pause(0.5),
            Call("DELETE", G21 + "/two"),
            Pause(1.0),
        ),
        "delete foreground": (
            Call(
                "POST",
                G21,
                config_map("fg-d", finalizers=["x.io/h"], ownerReferences=[WAITING]),
            ),
            Pause(0.7),
        ),
        "owner waits": (Pause(1.0),),
        "owner gone": (
            Call("PATCH", G21 + "/fg-d", {"metadata": {"finalizers": None}}, MERGE),
            Until(G21 + "/fg"),
        ),
    },
    end=(Call("DELETE", "/api/v1/namespaces/c21"),),
)


def _pod(name: str, *containers: str, tty: bool) -> tuple[Step, ...]:
    """A pod that the stand-in kubelet says is running."""
    spec = [{"name": one, "image": "i", "tty": tty, "stdin": True} for one in containers]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": spec},
    }
    return (Call("POST", PODS22, body), Until(f"{PODS22}/{name}", "status.phase", "Running"))


STREAMS = Plan(
    needs="controllers",
    start=(*_fresh("c22"), *_pod("p", "c", tty=False), *_pod("m", "a", "b", tty=True)),
    users={"exec as bob (403)": "bob"},
    end=(Call("DELETE", "/api/v1/namespaces/c22"),),
)

PLANS = {
    "20-controllers": CONTROLLERS,
    "21-garbage-collection": COLLECTION,
    "22-pod-streams": STREAMS,
}
