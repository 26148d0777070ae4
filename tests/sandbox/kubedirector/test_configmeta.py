"""configmeta.json, the connection hash, names and secret keys: exact values."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import configmeta, naming, secretkey
from labsandbox.kubedirector.configmeta import Connected
from labsandbox.kubedirector.connection import compute_hash
from labsandbox.kubedirector.model import GlobalConfig
from labsandbox.kubedirector.secretkey import SecretKeyError

from .simulation import NAMESPACE, make_app, make_cluster, make_role

pytestmark = pytest.mark.fast

KEY = "ab" * 32


def make_status(**more: Any) -> dict[str, Any]:
    def member(pod: str, node: int, state: str = "configured") -> dict[str, Any]:
        return {"pod": pod, "nodeID": node, "state": state, "authToken": "t" * 32}

    roles = [
        {"id": "LoadBalancer", "members": [member("lb-0", 1)]},
        {"id": "RESTServer", "members": [member("rs-0", 2), member("rs-1", 3, "deleting")]},
    ]
    return {"clusterService": "training", "roles": roles, **more}


def describe(cluster: dict[str, Any], connected: Connected, pod: str = "rs-0") -> dict[str, Any]:
    settings = GlobalConfig(master_key=KEY)
    common = configmeta.build(cluster, make_app(), make_status(), connected, settings)
    return configmeta.for_member(common, cluster, make_app(), make_status(), settings, pod)


def test_member_is_told_who_it_is_and_who_else_there_is() -> None:
    encrypted = secretkey.encrypt("opensesame", KEY)
    keys = [{"name": "password", "encryptedValue": encrypted}]
    cluster = make_cluster(make_role("LoadBalancer"), make_role("RESTServer", secretKeys=keys))
    meta = describe(cluster, Connected())
    domain = f"training.{NAMESPACE}.svc.cluster.local"
    assert meta["version"] == "7"
    assert meta["node"] == {
        "role_id": "RESTServer",
        "nodegroup_id": "1",
        "id": "2",
        "hostname": f"rs-0.{domain}",
        "fqdn": f"rs-0.{domain}",
        "domain": domain,
        "distro_id": "labs/training-engine",
        "depends_on": {},
    }
    group = meta["nodegroups"]["1"]
    assert group["config_metadata"] == {"ml_engine": "python"}
    role = group["roles"]["RESTServer"]
    assert role["fqdns"] == role["hostnames"] == [f"rs-0.{domain}"]
    assert role["fqdn_mappings"] == {f"rs-0.{domain}": "2"}
    assert role["flavor"] == {
        "storage": "n/a", "name": "n/a", "memory": "2048", "description": "n/a", "cores": "1",
    }  # fmt: skip
    assert role["secret_keys"] == {"password": "opensesame"}
    path = ["nodegroups", "1", "roles", "RESTServer"]
    assert role["services"]["gunicorn"] == {
        "qualifiers": [],
        "name": "API Server",
        "id": "gunicorn",
        "hostnames": {"bdvlibrefkey": [*path, "hostnames"]},
        "global_id": "1_RESTServer_gunicorn",
        "fqdns": {"bdvlibrefkey": [*path, "fqdns"]},
        "exported_service": "",
        "endpoints": [f"http://rs-0.{domain}:10001"],
        "authToken": "t" * 32,
    }
    assert meta["services"]["ssh"] == {
        "1": {"RESTServer": {"bdvlibrefkey": [*path, "services", "ssh"]}}
    }
    assert meta["distros"] == {"labs/training-engine": {"1": {"bdvlibrefkey": ["nodegroups", "1"]}}}
    assert meta["cluster"]["id"] == "5f1d"
    assert meta["connections"] == {"clusters": {}, "configmaps": {}, "secrets": {}}


def test_connected_objects_are_described() -> None:
    other = make_cluster()
    other["metadata"]["name"] = "shared"
    other["status"] = make_status()
    labels = {"kubedirector.hpe.com/cmType": "model"}
    model = {"metadata": {"name": "m", "labels": labels}, "data": {"name": "m"}}
    plain = {"metadata": {"name": "p"}, "data": {"name": "p"}}
    secret = {
        "metadata": {"name": "s", "labels": {"kubedirector.hpe.com/secretType": "kubeconfig"}},
        "data": {"config": "aGVsbG8="},
    }
    connected = Connected([(other, make_app())], [model, plain], [secret])
    found = describe(make_cluster(), connected)["connections"]
    (described,) = found["configmaps"]["model"]
    assert described == {
        "metadata": {"name": "m"}, "data": {"name": "m"}, "labels": labels, "annotations": {},
    }  # fmt: skip
    (hidden,) = found["secrets"]["kubeconfig"]
    assert hidden["data"] == {"config": "aGVsbG8="}
    assert base64.b64decode(hidden["metadata"]["name"]) == b"s"
    assert [base64.b64decode(v) for v in hidden["labels"].values()] == [b"kubeconfig"]
    shared = found["clusters"]["shared"]
    assert "node" not in shared
    prefix = ["connections", "clusters", "shared", "nodegroups", "1"]
    assert shared["distros"]["labs/training-engine"]["1"] == {"bdvlibrefkey": prefix}
    service = shared["nodegroups"]["1"]["roles"]["LoadBalancer"]["services"]["gunicorn"]
    assert service["fqdns"] == {"bdvlibrefkey": [*prefix, "roles", "LoadBalancer", "fqdns"]}


def test_hash_follows_names_and_versions_in_order() -> None:
    cluster = make_cluster(
        connections={
            "clusters": ["a", "gone", "new"],
            "configmaps": ["m", "none"],
            "secrets": ["s"],
        }
    )
    known = {
        ("clusters", "a"): {
            "metadata": {"name": "a"},
            "spec": {},
            "status": {"specGenerationToProcess": 4},
        },
        ("clusters", "new"): {"metadata": {"name": "new"}, "spec": {}},
        ("configmaps", "m"): {"metadata": {"resourceVersion": "17"}},
        ("secrets", "s"): {"metadata": {"resourceVersion": "9"}},
    }
    found = compute_hash(cluster, lambda kind, name: known.get((kind, name)))
    expected = "a4" + "gone" + "newnil" + "m17" + "none" + "s9"
    assert found == hashlib.md5(expected.encode()).hexdigest()


def test_hash_of_nothing_is_that_of_the_empty_text() -> None:
    assert compute_hash(make_cluster(), lambda kind, name: None) == hashlib.md5(b"").hexdigest()


def test_names_are_short_lower_case_and_always_the_same() -> None:
    cluster = make_cluster()
    cluster["metadata"]["name"] = "A.very_long." + "x" * 60
    name = naming.stateful_set(cluster, "RESTServer", "CrNameRole")
    assert name == naming.stateful_set(cluster, "RESTServer", "CrNameRole")
    assert name.startswith("a-very-long-xxx")
    assert len(name) == naming.LENGTH_LIMIT + len("-xxxxx")
    assert name != naming.stateful_set(cluster, "LoadBalancer", "CrNameRole")
    assert naming.stateful_set(cluster, "r", "UID") != naming.stateful_set(cluster, "r", "UID", 1)


def test_secret_key_needs_the_key_it_was_made_with() -> None:
    one, other = secretkey.encrypt("v", KEY), secretkey.encrypt("v", KEY)
    assert one != other
    assert secretkey.decrypt(one, KEY) == secretkey.decrypt(other, KEY) == "v"
    with pytest.raises(SecretKeyError, match="set the secret key's value again"):
        secretkey.decrypt(one, "cd" * 32)


def test_persisted_directories_do_not_lie_within_one_another() -> None:
    app = make_app()
    role = app["spec"]["roles"][0]
    role["persistDirs"] = ["/home", "/home/user", "/etc", "/usr/local/lib/python"]
    assert apps.persisted(app, "LoadBalancer") == [
        "/etc",
        "/opt/guestconfig",
        "/var/log/guestconfig",
        "/usr/local/bin",
        "/usr/local/lib",
        "/home",
    ]
    role["configPackage"] = None
    assert apps.persisted(app, "LoadBalancer")[:1] == ["/etc"]


def test_package_absent_null_and_given_differ() -> None:
    app = make_app(defaultConfigPackage={"packageURL": "file:///default.tgz"})
    one, other = app["spec"]["roles"]
    del one["configPackage"]
    other["configPackage"] = None
    package = apps.package(app, "LoadBalancer")
    assert package is not None
    assert package.url == "file:///default.tgz"
    assert apps.package(app, "RESTServer") is None
