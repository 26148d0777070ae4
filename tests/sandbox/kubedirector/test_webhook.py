"""The webhook as an HTTPS server of its own, with a certificate made on the spot."""

from __future__ import annotations

import asyncio
import base64
import ssl
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
from labsandbox.kubedirector.install import HARD, SOFT, load_crds, make_webhook
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
