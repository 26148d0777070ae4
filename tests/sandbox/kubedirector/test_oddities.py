"""The operator serves a good kdcluster after many odd objects that it watches."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import pytest

from labsandbox.client import ApiError, Resource
from labsandbox.client.resources import (
    CONFIGMAPS,
    KDAPPS,
    KDCLUSTERS,
    PODS,
    PVCS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
)

from .harness import Platform

pytestmark = [pytest.mark.timeout(600)]

SEED = int(os.environ.get("ATTACK_SEED", "1"))
AT_ONCE = 8
GROUP = "kubedirector.hpe.com"
NUMBERS = ("0", "-1", "²", "1e9", "9" * 4000, "", "null", "a\tb", "☃" * 50)
LABELS = ("", "1", "c", "odd-1", "A.b-C_d", "9" * 63)
NOWHERE = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}
CONTAINER = {"name": "c", "image": "no-such-image"}
Object = dict[str, Any]


def make(number: int, chance: random.Random) -> tuple[Resource, Object]:
    """Return an odd object that the operator watches."""
    resource, obj = chance.choice((cluster, cluster, cluster, application, typed, owned))(chance)
    meta = obj.setdefault("metadata", {})
    meta["name"] = f"odd-{number}"
    meta["annotations"] = {
        f"{GROUP}/{chance.choice(('connUpdateCounter', 'hashChangeCounter', 'kdapp-prettyName'))}":
            chance.choice(NUMBERS),
        "hpecp-internal-gateway/80": chance.choice(NUMBERS),
    }  # fmt: skip
    labels = meta.setdefault("labels", {})
    labels |= {f"{GROUP}/kdcluster": chance.choice(LABELS), f"{GROUP}/role": chance.choice(LABELS)}
    if chance.random() < 0.3:
        meta["ownerReferences"] = [
            {
                "apiVersion": f"{GROUP}/v1beta1",
                "kind": "KubeDirectorCluster",
                "name": chance.choice(("c", "odd-1", "²")),
                "uid": chance.choice(NUMBERS) or "u",
                "controller": chance.random() < 0.5,
            }
        ]
    if chance.random() < 0.2:
        meta["finalizers"] = [f"odd.example/{number}"]
    return resource, obj


def cluster(chance: random.Random) -> tuple[Resource, Object]:
    role: Object = {
        "id": "one",
        # Few pods: a node has room for 110, and the good kdcluster needs some.
        "members": int(chance.random() < 0.04),
        "resources": {"limits": {"memory": "1Ki", "cpu": chance.choice(("1m", "9E", "1n"))}},
        "env": [{"name": "²", "value": chance.choice(NUMBERS)}],
        "affinity": chance.choice((None, {"odd": []}, {"podAffinity": "²"})),
        "podLabels": chance.choice((None, {"x": ""}, {f"{GROUP}/kdcluster": "c"})),
        "serviceAnnotations": {"hpecp-internal-gateway/80": chance.choice(NUMBERS)},
        "secretKeys": [{"name": chance.choice(NUMBERS) or "n", "value": chance.choice(NUMBERS)}],
    }
    names = [chance.choice(("c", "odd-1", "no-such", "²", ""))]
    found: Object = {
        "app": "odd",
        "roles": [role],
        "connections": {"clusters": names, "configmaps": names, "secrets": names * 2},
    }
    for name in [one for one in role if role[one] is None or chance.random() < 0.4]:
        if name not in ("id", "resources"):
            del role[name]
    if chance.random() < 0.5:
        found["roles"].append(role | {"id": "many", "members": 0})
    if chance.random() < 0.5:
        del found["connections"]
    meta: Object = {"labels": {}}
    if chance.random() < 0.1:
        meta["labels"][f"{GROUP}/restoring"] = ""
    return KDCLUSTERS, {"metadata": meta, "spec": found}


def application(chance: random.Random) -> tuple[Resource, Object]:
    services = [{"id": "web", "label": {"name": "²"}, "endpoint": {"port": 80}}]
    return KDAPPS, {
        "spec": {
            "label": {"name": chance.choice(NUMBERS) or "n"},
            "distroID": "²",
            "version": chance.choice(NUMBERS) or "1",
            "configSchemaVersion": 7,
            "services": chance.choice((services, [])),
            "roles": [{"id": "one", "cardinality": chance.choice(("1", "0+", "1000+")),
                       "imageRepoTag": chance.choice(NUMBERS) or "i"}],
            "config": {"selectedRoles": chance.choice((["one"], ["none"], [])),
                       "roleServices": [], "configMeta": {"²": chance.choice(NUMBERS)}},
        }
    }  # fmt: skip


def typed(chance: random.Random) -> tuple[Resource, Object]:
    """Return what a kdcluster may connect."""
    if chance.random() < 0.5:
        labels = {f"{GROUP}/cmType": chance.choice(LABELS)}
        return CONFIGMAPS, {"metadata": {"labels": labels}, "data": {"k": chance.choice(NUMBERS)}}
    labels = {f"{GROUP}/secretType": chance.choice(LABELS)}
    text = chance.choice(NUMBERS)
    return SECRETS, {"metadata": {"labels": labels}, "stringData": {"k": text, ".k": text}}


def owned(chance: random.Random) -> tuple[Resource, Object]:
    """Return what looks as if it belonged to a kdcluster."""
    template = {
        "metadata": {"labels": {"odd": "1"}},
        "spec": {"containers": [CONTAINER], **NOWHERE},
    }
    rows: list[tuple[Resource, Object]] = [
        (PODS, {"spec": template["spec"]}),
        (SERVICES, {"spec": {"ports": [{"port": 80}], "selector": {"odd": "1"}}}),
        (STATEFULSETS, {"spec": {"replicas": 0, "serviceName": "c",
                                 "selector": {"matchLabels": {"odd": "1"}},
                                 "template": template}}),
        (PVCS, {"spec": {"accessModes": ["ReadWriteOnce"],
                         "resources": {"requests": {"storage": "1"}}}}),
    ]  # fmt: skip
    return chance.choice(rows)


async def feed(platform: Platform, namespace: str, count: int) -> Counter[str]:
    """Create odd objects; return how many of each kind were taken."""
    chance = random.Random(SEED)
    rows = iter([make(number, chance) for number in range(count)])
    taken: Counter[str] = Counter()

    async def work() -> None:
        for resource, obj in rows:
            try:
                await platform.client.create(resource, obj, namespace)
            except ApiError as error:
                if not 400 <= error.status < 500:
                    raise
                taken["refused"] += 1
                continue
            taken[resource.plural] += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return taken


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(150, marks=pytest.mark.sandbox),
        pytest.param(1000, marks=pytest.mark.nightly),
    ],
)
def test_operator_configures_a_good_cluster_after_many_odd_objects(
    platform: Platform, namespace: str, count: int
) -> None:
    roles = [{"id": "one", "cardinality": "0+"}, {"id": "many", "cardinality": "0+"}]
    platform.make_app(namespace, "odd", roles=roles, defaultImageRepoTag="no-such/image:1.0")
    taken = platform.run(feed(platform, namespace, count))
    print(f"taken: {dict(taken)}")
    assert sum(taken.values()) == count
    assert taken["refused"] < count / 2
    kinds = ("kubedirectorclusters", "kubedirectorapps", "configmaps", "secrets", "statefulsets")
    assert min(taken[kind] for kind in kinds) > 0
    good = platform.make_namespace(f"good{count}")
    platform.make_app(good)
    platform.make_cluster("c", good)
    platform.wait_configured("c", good, 120)
    assert platform.processes["kubedirector"].poll() is None
    log = (platform.state / "kubedirector.log").read_text(errors="replace")
    assert "cannot be judged" not in log
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
    platform.delete_cluster("c", good)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"roles": []}, "spec.app: Required value"),
        ({"app": "test", "roles": {}}, "spec.roles: must be an array; found an object"),
        ({"app": "test", "roles": [{"id": "one"}]}, "spec.roles[0].resources: Required value"),
        ({}, "spec.app: Required value, spec.roles: Required value"),
    ],
)
def test_cluster_without_its_form_is_refused_by_the_api_in_a_sentence(
    platform: Platform, namespace: str, spec: Object, words: str
) -> None:
    with pytest.raises(ApiError) as refused:
        platform.create(KDCLUSTERS, {"metadata": {"name": "x"}, "spec": spec}, namespace)
    assert 400 <= refused.value.status < 500
    assert words in refused.value.message
