"""The webhook as an HTTPS server of its own, with a certificate made on the spot."""

from __future__ import annotations

import asyncio
import base64
import copy
import os
import random
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from labsandbox.client import Client
from labsandbox.client.kubeconfig import Access
from labsandbox.kubedirector.admission.gather import Gatherer
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.certificate import make_context
from labsandbox.kubedirector.definition import load_crds
from labsandbox.kubedirector.install import HARD, SOFT, make_webhook
from labsandbox.kubedirector.store import Store
from labsandbox.kubedirector.webhook import Webhook

pytestmark = pytest.mark.fast


async def ask(body: dict[str, Any], authority: Path | None = None) -> dict[str, Any]:
    """Start a webhook, send it an AdmissionReview as an API server does, return its answer."""
    client = Client(Access("https://127.0.0.1:9", "default"))
    store = Store(client)
    webhook = Webhook(Gatherer(client, store, "kubedirector"), Codes())
    context, ca = make_context("127.0.0.1", authority)
    port = await webhook.start("127.0.0.1", 0, context)
    trust = ssl.create_default_context(cadata=ca.decode())
    try:
        async with aiohttp.ClientSession() as session:
            url = f"https://127.0.0.1:{port}"
            async with session.get(f"{url}/healthz", ssl=trust) as answer:
                assert answer.status == 200
            async with session.post(f"{url}/validate", json=body, ssl=trust) as answer:
                return dict(orjson.loads(await answer.read()))
    finally:
        await webhook.stop()
        await client.close()


LIMITS = {"limits": {"memory": "1Gi", "cpu": "1"}}
SPECS: list[tuple[str, dict[str, Any]]] = [
    (
        "KubeDirectorCluster",
        {
            "app": "a",
            "connections": {"clusters": ["b"], "secrets": [], "configmaps": ["m"]},
            "roles": [
                {
                    "id": "one",
                    "members": 2,
                    "resources": LIMITS,
                    "storage": {"size": "1Gi"},
                    "env": [{"name": "A", "value": "b"}],
                    "secret": {"name": "s", "mountPath": "/s"},
                    "fileInjections": [{"srcURL": "https://127.0.0.1/x", "destDir": "/d"}],
                    "secretKeys": [{"name": "k", "value": "v"}],
                    "volumeProjections": [{"pvcName": "p", "mountPath": "/m"}],
                }
            ],
        },
    ),
    (
        "KubeDirectorApp",
        {
            "label": {"name": "x"},
            "distroID": "x",
            "version": "1",
            "configSchemaVersion": 7,
            "services": [{"id": "web", "label": {"name": "w"}, "endpoint": {"port": 80}}],
            "roles": [{"id": "one", "cardinality": "1+", "imageRepoTag": "x"}],
            "config": {
                "selectedRoles": ["one"],
                "roleServices": [{"roleID": "one", "serviceIDs": ["web"]}],
            },
        },
    ),
    ("KubeDirectorConfig", {"defaultServiceType": "LoadBalancer", "podLabels": {"a": "b"}}),
]


STATUS = {
    "state": "configured",
    "generationUID": "g",
    "roles": [{"id": "one", "members": [{"pod": "p", "stateDetail": {"pendingNotifyCmds": []}}]}],
}


def make_review(operation: str, kind: str, **more: Any) -> dict[str, Any]:
    request = {
        "uid": "u1",
        "operation": operation,
        "kind": {"group": "kubedirector.hpe.com", "version": "v1beta1", "kind": kind},
        "name": "x",
        "namespace": "ns",
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def test_webhook_answers_over_tls_of_its_own() -> None:
    spec = {
        "label": {"name": "x"},
        "distroID": "x",
        "version": "1",
        "configSchemaVersion": 7,
        "roles": [{"id": "a", "cardinality": "1", "imageRepoTag": "x"}],
        "config": {"selectedRoles": ["a"], "roleServices": []},
    }
    review = make_review("CREATE", "KubeDirectorApp", object={"metadata": {}, "spec": spec})
    response = asyncio.run(ask(review))["response"]
    assert (response["uid"], response["allowed"]) == ("u1", True)
    patches = orjson.loads(base64.b64decode(response["patch"]))
    assert {"op": "add", "path": "/spec/roles/0/maxLogSizeDump", "value": 256} in patches


def test_webhook_refuses_with_a_leading_newline() -> None:
    old = {"metadata": {"labels": {"kubedirector.hpe.com/restoring": ""}}, "spec": {}}
    review = make_review("DELETE", "KubeDirectorCluster", oldObject=old)
    response = asyncio.run(ask(review))["response"]
    assert response["allowed"] is False
    assert response["status"]["message"].startswith("\ndelete not allowed while")


def test_webhook_that_cannot_look_things_up_refuses_and_says_so() -> None:
    obj = {"metadata": {"name": "x"}, "spec": {"app": "a", "roles": []}}
    review = make_review("CREATE", "KubeDirectorCluster", object=obj)
    response = asyncio.run(ask(review))["response"]
    assert response["allowed"] is False
    assert "could not look up what it has to check" in response["status"]["message"]


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("KubeDirectorCluster", {"roles": []}, "spec.app: Required value"),
        ("KubeDirectorCluster", None, "spec: Required value"),
        ("KubeDirectorCluster", [], "spec: must be an object; found an array"),
        ("KubeDirectorCluster", {"app": {}, "roles": []}, "spec.app: must be a string"),
        ("KubeDirectorCluster", {"app": "a", "roles": [None]}, "spec.roles[0]: Required value"),
        ("KubeDirectorCluster", {"app": "a", "roles": [{"id": "x"}]}, "resources: Required value"),
        ("KubeDirectorApp", {"roles": [{}]}, "spec.roles[0].id: Required value"),
        ("KubeDirectorConfig", {"defaultServiceType": 7}, "must be a string; found an integer"),
    ],
)
def test_spec_without_its_form_is_refused_in_a_sentence(kind: str, spec: Any, words: str) -> None:
    for operation in ("CREATE", "UPDATE"):
        obj = {"metadata": {"name": "x"}, "spec": spec}
        review = make_review(operation, kind, object=obj, oldObject={"metadata": {}, "spec": {}})
        response = asyncio.run(ask(review))["response"]
        assert response["allowed"] is False
        assert words in response["status"]["message"]


def test_no_object_keeps_the_webhook_from_an_answer() -> None:
    """Good specs of the kinds with one thing in them gone, or changed to something odd."""
    chance = random.Random(int(os.environ.get("ATTACK_SEED", "5")))
    odd = (None, [], {}, "", "²", 0, -1, 2**70, True, [None], [[]], {"": None}, "a\0b", 1.5)
    reviews = []
    for _ in range(1000):
        kind, spec = chance.choice(SPECS)
        obj: dict[str, Any] = {"spec": copy.deepcopy(spec), "status": copy.deepcopy(STATUS)}
        # The API server keeps the stored spec when a status is written.
        sub = chance.choice(("", "", "status"))
        for _ in range(chance.randint(1, 3)):
            inner = {"status": obj["status"]} if sub else {"spec": obj["spec"]}
            place, key = chance.choice(list(places(inner)))
            place = obj if place is inner else place
            if chance.random() < 0.3:
                del place[key]
            else:
                place[key] = copy.deepcopy(chance.choice(odd))
            if "spec" not in obj or "status" not in obj:
                break
        obj["metadata"] = {"name": "x"}
        old = {"metadata": {"name": "x"}, "spec": spec, "status": STATUS}
        operation = "UPDATE" if sub else chance.choice(("CREATE", "UPDATE", "DELETE"))
        given = None if operation == "DELETE" else obj
        reviews.append(
            make_review(operation, kind, object=given, oldObject=old, subResource=sub)["request"]
        )

    async def judge_all() -> list[str]:
        client = Client(Access("https://127.0.0.1:9", "default"))
        webhook = Webhook(Gatherer(client, Store(client), "kubedirector"), Codes())
        found = []
        for review in reviews:
            verdict = await webhook.answer(review)
            found.append(verdict.message if verdict.errors else "allowed")
        await client.close()
        return found

    messages = asyncio.run(judge_all())
    assert [text for text in messages if "bug in labsandbox" in text] == []
    assert sum("Required value" in text for text in messages) > 100


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def test_registration_guards_the_status_and_never_claims() -> None:
    hooks = {hook["name"]: hook for hook in make_webhook("https://h:1", "Y2E=")["webhooks"]}
    assert hooks[HARD]["failurePolicy"] == "Fail"
    assert "kubedirectorclusters/status" in hooks[HARD]["rules"][0]["resources"]
    assert hooks[SOFT]["failurePolicy"] == "Ignore"
    assert hooks[SOFT]["rules"][0]["resources"] == ["persistentvolumeclaims"]
    assert hooks[SOFT]["timeoutSeconds"] == 10


def test_definitions_have_their_short_names_and_columns() -> None:
    found = {crd["spec"]["names"]["kind"]: crd["spec"] for crd in load_crds()}
    shorts = {kind: spec["names"]["shortNames"] for kind, spec in found.items()}
    assert shorts == {
        "KubeDirectorApp": ["kdapp"],
        "KubeDirectorCluster": ["kdcluster"],
        "KubeDirectorConfig": ["kdconfig"],
        "KubeDirectorStatusBackup": ["kdstatusbackup"],
    }
    (version,) = found["KubeDirectorCluster"]["versions"]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns[:4] == ["KDApp", "State", "Any Down", "Any ConfigError"]
    assert version["subresources"] == {"status": {}}
