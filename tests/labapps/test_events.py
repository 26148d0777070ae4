"""What is wrong with a model shows in the events, when the pod may write them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from labapps.member.configmeta import Configmeta
from labapps.member.events import ACCOUNT, Events
from labapps.member.place import Place
from tests.labapps import tls

pytestmark = pytest.mark.sandbox
HOST = "rest-0.svc.tenant.svc.cluster.local"
META = {"node": {"role_id": "RESTServer", "fqdn": HOST}, "cluster": {"name": "inference"}}


async def warn(events: Events, text: str) -> None:
    events.warn("model-1", text)
    await asyncio.gather(*events.tasks)


def test_broken_model_is_told_on_its_configmap_and_its_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Path(str(tmp_path) + ACCOUNT)
    account.mkdir(parents=True)
    files = tls.certificate(account)
    (account / "token").write_text("pod-token\n")
    with tls.api(files, {}) as (port, posted):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        place = Place(str(tmp_path), "127.0.0.1", tmp_path)
        asyncio.run(warn(Events(place, Configmeta(json.dumps(META).encode())), "no such file"))
    assert {path for path, _, _ in posted} == {"/api/v1/namespaces/tenant/events"}
    assert {token for _, token, _ in posted} == {"Bearer pod-token"}
    subjects = {(e["involvedObject"]["kind"], e["involvedObject"]["name"]) for _, _, e in posted}
    assert subjects == {("ConfigMap", "model-1"), ("KubeDirectorCluster", "inference")}
    assert {event["message"] for _, _, event in posted} == {"no such file"}


def test_pod_without_an_account_writes_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    events = Events(Place(str(tmp_path), "", tmp_path), Configmeta(json.dumps(META).encode()))
    asyncio.run(warn(events, "no such file"))
    assert not events.tasks
    assert not events.refused
