"""The REST API as its clients meet it, over a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from aiohttp import web

from labsandbox.catalogue import OURS
from labsandbox.ezmeral import kubeconfig, tokenreview, webhook
from labsandbox.ezmeral.accounts import Accounts, Tenant
from labsandbox.ezmeral.inventory import Inventory
from labsandbox.ezmeral.rest import FrontDoor

pytestmark = pytest.mark.fast

_CA = "-----BEGIN CERTIFICATE-----\nnobody\n-----END CERTIFICATE-----\n"


class Door:
    """A front door in a thread of its own, as a client sees it."""

    def __init__(self, folder: Path, seconds: float = 60) -> None:
        (folder / "ca.crt").write_text(_CA)
        self.prepared: list[str] = []
        self.cluster_is_down = False
        self._started = threading.Event()
        self._folder, self._seconds = folder, seconds
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(10)

    async def _serve(self) -> None:
        accounts = Accounts(self._folder / "accounts.db")
        ours, theirs = accounts.add_tenant("K8sMLTenant"), accounts.add_tenant("Other")
        accounts.set_role(accounts.add_user("student1", "right"), ours, 3)
        accounts.set_role(accounts.add_user("auditor", "right"), theirs, 3)
        accounts.add_user("admin", "right", is_site_admin=True)
        place = kubeconfig.Endpoint(
            "127.0.0.1:8080", "https://127.0.0.1:9500", self._folder / "ca.crt"
        )

        async def prepare(tenant: Tenant) -> None:
            self.prepared.append(tenant.namespace)
            if self.cluster_is_down:
                raise OSError("the cluster is away")

        door = FrontDoor(accounts, place, prepare, self._seconds)
        app = door.application()
        Inventory(door, "127.0.0.1", place.ca, OURS).add_to(app)
        app.router.add_post(webhook.PATH, tokenreview.handler(accounts, "shared"))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()
        accounts.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def login(self, name: str = "student1", **more: Any) -> requests.Response:
        body = {"name": name, "password": "right", **more}
        return requests.post(f"{self.url}/api/v2/session", json=body, timeout=10)

    def session(self, name: str = "student1", tenant: str | None = "K8sMLTenant") -> dict[str, str]:
        more = {"tenant_name": tenant} if tenant else {}
        return {"X-BDS-SESSION": self.login(name, **more).headers["Location"]}

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=10)

    def review(self, token: str, secret: str = "shared", version: str = "v1") -> requests.Response:
        version = f"authentication.k8s.io/{version}"
        return requests.post(
            self.url + webhook.PATH,
            json={"kind": "TokenReview", "apiVersion": version, "spec": {"token": token}},
            headers={"Authorization": f"Bearer {secret}"},
            timeout=10,
        )


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    opened = Door(tmp_path)
    yield opened
    opened.close()


def test_login_answers_as_published(door: Door) -> None:
    answer = door.login(tenant_name="K8sMLTenant")
    assert answer.status_code == 201
    assert answer.content == b"201 Created\r\n"
    assert len(answer.content) == 13
    assert answer.headers["Location"].startswith("/api/v2/session/")
    # The published notebooks look for the header with a capital L.
    assert any(name == "Location" for name in answer.raw.headers)
    assert answer.headers["Server"].startswith("HPE Ezmeral Container Platform")


def test_session_document_has_the_published_fields(door: Door) -> None:
    found = door.get("/api/v2/session", door.session()).json()
    assert found["user_name"] == "student1"
    assert found["tenant_name"] == "K8sMLTenant"
    assert found["role_name"] == "Member"
    assert found["role"] == "/api/v1/role/3"
    assert abs(found["expiry_time"] - time.time() - 60) < 10
    assert found["_links"]["self"]["href"].startswith("/api/v2/session/")


def test_v1_login_opens_v2_paths(door: Door) -> None:
    answer = requests.post(
        f"{door.url}/api/v1/login",
        json={"name": "student1", "password": "right", "tenant": "/api/v1/tenant/1"},
        timeout=10,
    )
    session = answer.headers["location"]
    assert session.startswith("/api/v1/session/")
    assert door.get("/api/v2/k8skubeconfig/", {"X-BDS-SESSION": session}).status_code == 200


def test_wrong_password_and_unknown_user_are_refused_alike(door: Door) -> None:
    wrong = door.login(password="wrong")
    unknown = door.login("nobody")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


def test_guessing_is_slowed_down(door: Door) -> None:
    answers = [door.login(password="wrong").status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]
    assert "Retry-After" in door.login().headers


def test_foreign_tenant_is_refused_as_if_it_did_not_exist(door: Door) -> None:
    foreign, missing = door.login(tenant_name="Other"), door.login(tenant_name="Nowhere")
    assert foreign.status_code == missing.status_code == 403
    assert foreign.json()["message"].replace("Other", "Nowhere") == missing.json()["message"]
    assert "K8sMLTenant" in foreign.json()["hint"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": 1}', b"[" * 20000, b"\xff"])
def test_bad_bodies_are_refused_with_a_reason(door: Door, body: bytes) -> None:
    answer = requests.post(f"{door.url}/api/v2/session", data=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_signed_out_session_is_over_at_once(door: Door) -> None:
    session = door.session()
    token = door.get("/api/v2/k8stoken", session).json()["token"]
    gone = requests.delete(door.url + session["X-BDS-SESSION"], headers=session, timeout=10)
    assert gone.status_code == 204
    assert door.get("/api/v2/session", session).status_code == 401
    assert door.review(token).json()["status"] == {"authenticated": False}


def test_nobody_sees_another_session(door: Door) -> None:
    theirs = door.session("auditor", "Other")
    answer = door.get(theirs["X-BDS-SESSION"], door.session())
    assert answer.status_code == 404


def test_expired_session_says_when_it_ended(tmp_path: Path) -> None:
    door = Door(tmp_path, seconds=0.05)
    try:
        session = door.session()
        deadline = time.monotonic() + 10
        while (answer := door.get("/api/v2/session", session)).status_code == 200:
            assert time.monotonic() < deadline
        assert answer.status_code == 401
        assert "ended at" in answer.json()["message"]
        assert "POST /api/v2/session" in answer.json()["hint"]
    finally:
        door.close()


def test_kubeconfig_has_the_published_shape(door: Door) -> None:
    answer = door.get("/api/v2/k8skubeconfig", door.session())
    assert answer.headers["Content-Type"] == "text/yaml"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="config"'
    document = yaml.safe_load(answer.text)
    assert document["current-context"] == "lab-sandbox-k8smltenant-student1"
    spec = document["users"][0]["user"]["exec"]
    assert "127.0.0.1:8080" in spec["args"]
    assert any("hpecp-user=student1" in word for word in spec["args"])
    session = {one["name"]: one["value"] for one in spec["env"]}["HPECP_SESSION"]
    assert door.get("/api/v2/session", {"X-BDS-SESSION": session}).status_code == 200
    assert not any(session.rpartition("/")[2] in word for word in spec["args"])
    assert spec["interactiveMode"] == "Never"


def test_kubeconfig_with_a_plain_token_on_request(door: Door) -> None:
    answer = door.get("/api/v2/k8skubeconfig?token=true", door.session())
    token = yaml.safe_load(answer.text)["users"][0]["user"]["token"]
    status = door.review(token).json()["status"]
    assert status["user"]["username"] == "student1"
    assert "hpecp:k8smltenant:member" in status["user"]["groups"]


def test_kubeconfig_needs_a_tenant(door: Door) -> None:
    answer = door.get("/api/v2/k8skubeconfig", door.session(tenant=None))
    assert answer.status_code == 403
    assert "tenant_name" in answer.json()["hint"]


def test_token_review_is_for_the_api_server_alone(door: Door) -> None:
    assert door.review("anything", secret="guess").status_code == 401


def test_member_sees_only_own_tenant_and_self(door: Door) -> None:
    session = door.session()
    tenants = door.get("/api/v1/tenant/", session).json()["_embedded"]["tenants"]
    assert [one["label"]["name"] for one in tenants] == ["K8sMLTenant"]
    users = door.get("/api/v1/user/", session).json()["_embedded"]["users"]
    assert [one["label"]["name"] for one in users] == ["student1"]
    assert door.get("/api/v1/tenant/2", session).status_code == 404


def test_site_admin_makes_tenants_and_users(door: Door) -> None:
    session = door.session("admin", None)
    made = requests.post(
        f"{door.url}/api/v1/tenant",
        json={"label": {"name": "New Team"}, "tenant_type": "k8s"},
        headers=session,
        timeout=10,
    )
    assert made.status_code == 201
    assert door.prepared == ["new-team"]
    user = requests.post(
        f"{door.url}/api/v1/user",
        json={"label": {"name": "zoe"}, "password": "right"},
        headers=session,
        timeout=10,
    ).headers["Location"]
    assigned = requests.put(
        f"{door.url}{made.headers['Location']}?user",
        json={"operation": "assign", "user": user, "role": "/api/v1/role/3"},
        headers=session,
        timeout=10,
    )
    assert assigned.status_code == 204
    assert door.login("zoe", tenant_name="New Team").status_code == 201


def test_tenant_that_could_not_be_made_may_be_made_again(door: Door) -> None:
    session, body = door.session("admin", None), {"label": {"name": "New Team"}}
    door.cluster_is_down = True
    first = requests.post(f"{door.url}/api/v1/tenant", json=body, headers=session, timeout=10)
    door.cluster_is_down = False
    again = requests.post(f"{door.url}/api/v1/tenant", json=body, headers=session, timeout=10)
    assert (first.status_code, again.status_code) == (500, 201)


def test_member_makes_no_tenant(door: Door) -> None:
    answer = requests.post(
        f"{door.url}/api/v1/tenant",
        json={"label": {"name": "Mine"}},
        headers=door.session(),
        timeout=10,
    )
    assert answer.status_code == 403
    assert door.prepared == []


def test_unknown_path_is_a_json_404(door: Door) -> None:
    answer = door.get("/api/v2/nothing")
    assert answer.status_code == 404
    assert json.loads(answer.text)["hint"].startswith("GET /apidocs")


def test_config_probe_needs_no_session(door: Door) -> None:
    assert door.get("/api/v2/config").status_code == 200
    assert door.get("/api/v1/config").status_code == 401


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_token_review_is_answered_in_the_version_it_was_asked_in(door: Door, version: str) -> None:
    token = door.get("/api/v2/k8stoken", door.session()).json()["token"]
    answer = door.review(token, version=version).json()
    assert answer["apiVersion"] == f"authentication.k8s.io/{version}"
    assert answer["status"]["user"]["username"] == "student1"


def test_token_review_in_another_version_is_refused_with_the_flag_to_set(door: Door) -> None:
    answer = door.review("t", version="v9")
    assert answer.status_code == 400
    assert "--authentication-token-webhook-version=v1" in answer.json()["hint"]


HPECP = """
import json, os
import configparser
configparser.SafeConfigParser = configparser.ConfigParser  # its old name, until Python 3.11
from hpecp import ContainerPlatformClient
client = ContainerPlatformClient(
    username="admin", password="right", api_host="127.0.0.1", api_port=int(os.environ["PORT"]),
    use_ssl=False, verify_ssl=False)
client.create_session()
(gateway,) = client.gateway.list()
(host,) = client.k8s_worker.list()
print(json.dumps({
    "gateway": [gateway.state, gateway.ip, client.gateway.get(gateway.id).purpose],
    "host": [host.status, client.k8s_worker.get("/api/v2/worker/k8shost/1").ipaddr],
    "catalog": [entry.distro_id for entry in client.catalog.list()],
    "data connectors": len(list(client.datatap.list())),
    "versions": client.k8s_cluster.k8s_supported_versions(),
    "licences": client.license.list()["LicenseKeys"],
    "platform": client.license.platform_id(),
    "unlocked": client.lock.delete_all(),
    "install": client.install.get()["result"],
}))
"""


def test_inventory_answers_every_call_of_the_published_client(door: Door) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HPECP],
        env={**os.environ, "PORT": door.url.rsplit(":", 1)[1], "HPECP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert uuid.UUID(found.pop("platform"))
    assert {app["spec"]["distroID"] for app in OURS.apps()} == set(found.pop("catalog"))
    assert found == {
        "gateway": ["installed", "127.0.0.1", "proxy"],
        "host": ["configured", "127.0.0.1"],
        "data connectors": 0,
        "versions": ["1.32"],
        "licences": [],
        "unlocked": True,
        "install": "Success",
    }


def test_inventory_shows_a_learner_the_catalogue_and_not_the_hosts(door: Door) -> None:
    learner = door.session()
    assert door.get("/api/v1/catalog", learner).status_code == 200
    assert door.get("/api/v1/workers", learner).status_code == 403
    assert door.get("/api/v1/catalog").status_code == 401
    assert door.get("/api/v1/catalog/99", learner).status_code == 404


def test_inventory_refuses_changes_with_the_reason(door: Door) -> None:
    admin = door.session("admin", None)
    answer = requests.post(f"{door.url}/api/v1/lock", json={}, headers=admin, timeout=10)
    assert answer.status_code == 400
    assert "this platform is one machine" in answer.json()["message"]
