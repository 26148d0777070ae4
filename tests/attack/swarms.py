"""Objects with a great many of something, and questions about a great many things."""

from __future__ import annotations

from urllib.parse import quote

from tests.attack.documents import make_config
from tests.attack.neighbour import (
    MAPS,
    SPACE,
    Request,
    as_json,
)


def many_labels() -> Request:
    obj = make_config("labels")
    obj["metadata"]["labels"] = {f"l{number}": "v" for number in range(120_000)}
    return as_json("POST", MAPS, obj)


def bad_labels() -> Request:
    """Each label is an error, and each error is a sentence."""
    obj = make_config("labels")
    obj["metadata"]["labels"] = {f"-l{number}-": "v" for number in range(120_000)}
    return as_json("POST", MAPS, obj)


def many_owners() -> Request:
    obj = make_config("owners")
    obj["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "Pod", "name": f"p{number}", "uid": f"u{number}"}
        for number in range(30_000)
    ]
    return as_json("POST", MAPS, obj)


def many_finalizers() -> Request:
    obj = make_config("finalizers")
    obj["metadata"]["finalizers"] = [f"a.example/f{number}" for number in range(80_000)]
    return as_json("POST", MAPS, obj)


def many_containers() -> Request:
    rows = [{"name": f"c{number}", "image": "i"} for number in range(30_000)]
    pod = {"metadata": {"name": "many"}, "spec": {"containers": rows}}
    return as_json("POST", f"{SPACE}/pods?dryRun=All", pod)


def many_mounts() -> Request:
    volumes = [{"name": f"v{number}", "emptyDir": {}} for number in range(10_000)]
    mounts = [{"name": f"v{number}", "mountPath": f"/m{number}"} for number in range(10_000)]
    container = {"name": "c", "image": "i", "volumeMounts": mounts}
    pod = {"metadata": {"name": "many"}, "spec": {"containers": [container], "volumes": volumes}}
    return as_json("POST", f"{SPACE}/pods?dryRun=All", pod)


def many_ports() -> Request:
    rows = [{"port": number % 65_000 + 1, "name": f"p{number}"} for number in range(40_000)]
    value = {"metadata": {"name": "many"}, "spec": {"ports": rows}}
    return as_json("POST", f"{SPACE}/services?dryRun=All", value)


def many_peers() -> Request:
    peers = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}] * 30_000
    spec = {"podSelector": {}, "ingress": [{"from": peers}]}
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies?dryRun=All"
    return as_json("POST", path, {"metadata": {"name": "many"}, "spec": spec})


def label_selector() -> Request:
    parts = ",".join(f"a{number}!=b" for number in range(60_000))
    return Request("GET", f"{MAPS}?labelSelector={quote(parts, safe=',!=')}")


def label_values() -> Request:
    parts = "a notin (" + ",".join(f"v{number}" for number in range(60_000)) + ")"
    return Request("GET", f"{MAPS}?labelSelector={quote(parts, safe=',()')}")


def field_selector() -> Request:
    parts = ",".join(f"metadata.name!=b{number}" for number in range(30_000))
    return Request("GET", f"{MAPS}?fieldSelector={quote(parts, safe=',!=.')}")


def expression_selector() -> Request:
    rows = [{"key": f"k{number}", "operator": "Exists"} for number in range(50_000)]
    spec = {"podSelector": {"matchExpressions": rows}}
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies?dryRun=All"
    return as_json("POST", path, {"metadata": {"name": "many"}, "spec": spec})


def many_parameters() -> Request:
    return Request("GET", f"{MAPS}?" + "&".join(f"a{number}=1" for number in range(90_000)))


def long_path() -> Request:
    return Request("GET", "/api/v1/" + "a/../" * 150_000)


def role_product() -> Request:
    rule = {
        "verbs": [f"v{number}" for number in range(300)],
        "apiGroups": [f"g{number}" for number in range(300)],
        "resources": [f"r{number}" for number in range(300)],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles?dryRun=All"
    return as_json("POST", path, {"metadata": {"name": "many"}, "rules": [rule]})


def quantity() -> Request:
    limits = {f"example.com/r{number}": "9" * 4_000 + "Ei" for number in range(400)}
    container = {"name": "c", "image": "i", "resources": {"limits": limits}}
    pod = {"metadata": {"name": "many"}, "spec": {"containers": [container]}}
    return as_json("POST", f"{SPACE}/pods?dryRun=All", pod)


def access_reviews() -> Request:
    extra = {f"k{number}": ["v"] for number in range(100_000)}
    spec = {"user": "u", "groups": [f"g{n}" for n in range(60_000)], "extra": extra}
    spec["resourceAttributes"] = {"verb": "get", "resource": "pods"}
    return as_json(
        "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
    )  # fmt: skip
