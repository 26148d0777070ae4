"""`labsandbox up --directory`: people of an LDAP server sign in, and their groups decide where."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ldap3
import pytest
import requests

from labapps.member.login import Login
from labrunner import environments
from labsandbox.directory import people
from tests.repo.tree import ROOT
from tests.sandbox.platform.program import environment, family, labsandbox, session, until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    environments.ensure(ROOT, ["directory"], print)
    state = tmp_path_factory.mktemp("directory") / "state"
    labsandbox("up", "--state", str(state), "--detach", "--directory")
    yield environment(state)
    labsandbox("down", "--state", str(state))
    assert family(state) == [], "the LDAP server ends with the platform"


def password(env: dict[str, str], name: str) -> str:
    return Path(env["EZMERAL_PASSWORD_FILE"]).with_name(name).read_text()


def bound(env: dict[str, str], name: str, word: str) -> ldap3.Connection:
    tls = ldap3.Tls(ca_certs_file=env["EZMERAL_CA"], validate=ssl.CERT_REQUIRED)
    server = ldap3.Server(env["EZMERAL_DIRECTORY"], tls=tls, get_info=ldap3.NONE)
    connection = ldap3.Connection(server, people.people_dn(name), word)
    connection.bind()
    return connection


def role(env: dict[str, str], name: str) -> tuple[int, str]:
    answer = session(env, name)
    if answer.status_code != 201:
        return answer.status_code, str(answer.json()["message"])
    key = {"X-BDS-SESSION": answer.headers["Location"]}
    address = f"{env['EZMERAL_URL']}/api/v2/session"
    found = requests.get(address, headers=key, verify=env["EZMERAL_CA"], timeout=20).json()
    return 201, str(found["role_name"])


def test_groups_decide_the_role(env: dict[str, str]) -> None:
    until("the directory", lambda: role(env, "anna")[0] != 503)
    assert role(env, "anna") == (201, "Member")
    assert role(env, "ines") == (201, "Admin"), "the stronger of two groups"
    assert role(env, "student1") == (201, "Member"), "the platform's own accounts are there, too"
    status, message = role(env, "otto")
    assert status == 403
    assert "none of their groups has a role" in message


@pytest.mark.parametrize("word", ["", "wrong", "*"])
def test_wrong_password_is_refused_and_an_empty_one_is_no_anonymous_bind(
    env: dict[str, str], word: str
) -> None:
    body = {"name": "anna", "password": word, "tenant_name": env["EZMERAL_TENANT"]}
    address = f"{env['EZMERAL_URL']}/api/v2/session"
    answer = requests.post(address, json=body, verify=env["EZMERAL_CA"], timeout=20)
    assert answer.status_code in (400, 401), answer.text


@pytest.mark.parametrize(
    "name", ["anna,ou=people", "*", "anna)(uid=ines", "student1\x00", "nobody"]
)
def test_name_is_a_name_and_no_query(env: dict[str, str], name: str) -> None:
    body = {"name": name, "password": password(env, "anna"), "tenant_name": env["EZMERAL_TENANT"]}
    address = f"{env['EZMERAL_URL']}/api/v2/session"
    answer = requests.post(address, json=body, verify=env["EZMERAL_CA"], timeout=20)
    assert answer.status_code in (400, 401), answer.text


def test_same_password_opens_what_asks_the_platform(env: dict[str, str]) -> None:
    """A deployed notebook asks in this way; its owner may be somebody of the directory."""
    login = Login(env["EZMERAL_URL"], Path(env["EZMERAL_CA"]).read_text(), env["EZMERAL_TENANT"])
    assert login.check("anna", password(env, "anna"))
    assert not login.check("anna", password(env, "ines"))


def test_who_leaves_a_group_loses_its_role(env: dict[str, str]) -> None:
    admin = {
        "X-BDS-SESSION": requests.post(
            f"{env['EZMERAL_URL']}/api/v2/session",
            json={"name": "admin", "password": password(env, "admin")},
            verify=env["EZMERAL_CA"],
            timeout=20,
        ).headers["Location"]
    }

    def ask(method: str, path: str, body: Any = None) -> requests.Response:
        address = f"{env['EZMERAL_URL']}{path}"
        return requests.request(
            method, address, json=body, headers=admin, verify=env["EZMERAL_CA"], timeout=20
        )

    tenants = ask("GET", "/api/v1/tenant").json()["_embedded"]["tenants"]
    ours = next(one for one in tenants if one["label"]["name"] == env["EZMERAL_TENANT"])
    href, before = ours["_links"]["self"]["href"], ours["external_user_groups"]
    assert {one["group"] for one in before} == {people.group_dn(one) for one in people.GROUPS}
    held = session(env, "anna").headers["Location"]
    only = [one for one in before if "admins" in one["group"]]
    body = {"external_user_groups": only}
    assert ask("PUT", f"{href}?external_user_groups", body).status_code == 204
    try:
        assert role(env, "anna")[0] == 403
        assert role(env, "ines") == (201, "Admin")
        assert (
            ask("PUT", f"{href}?external_user_groups", {"external_user_groups": 1}).status_code
            == 400
        )
    finally:
        ask("PUT", f"{href}?external_user_groups", {"external_user_groups": before})
    assert role(env, "anna") == (201, "Member")
    assert held, json.dumps(ours)


def test_directory_is_read_after_a_bind_and_never_written(env: dict[str, str]) -> None:
    everybody = (people.BASE, "(objectClass=*)")
    anna = bound(env, "anna", password(env, "anna"))
    anna.search(*everybody, attributes=ldap3.ALL_ATTRIBUTES)
    assert len(anna.entries) == 3 + len(people.PEOPLE) + len(people.GROUPS)
    assert "userPassword" not in str(anna.response)
    assert "SSHA" not in str(anna.response)
    anna.search(people.BASE, "(userPassword={SSHA}*)")
    assert anna.result["description"] == "insufficientAccessRights"
    anna.modify(people.people_dn("anna"), {"sn": [(ldap3.MODIFY_REPLACE, ["Oak"])]})
    assert anna.result["description"] == "unwillingToPerform"
    anna.unbind()
    stranger = bound(env, "anna", "wrong")
    assert not stranger.bound
    stranger.search(*everybody)
    assert stranger.result["description"] == "insufficientAccessRights"
    stranger.unbind()
