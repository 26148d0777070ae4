"""Users, tenants, sessions and tokens outlive the process, and hold no password."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from labsandbox.ezmeral import passwords
from labsandbox.ezmeral.accounts import Accounts, namespace_of
from labsandbox.ezmeral.errors import BadRequest, Conflict, TooManyAttempts

pytestmark = pytest.mark.fast


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.db"


def test_session_survives_reopening_the_file(file: Path) -> None:
    accounts = Accounts(file)
    tenant = accounts.add_tenant("K8sMLTenant")
    user = accounts.add_user("student1", "secret")
    accounts.set_role(user, tenant, 3)
    session = accounts.open_session(user, tenant, 60)
    token, _ = accounts.issue_token(session)
    accounts.close()

    again = Accounts(file)
    found = again.session(session.id)
    assert found == session
    assert again.session_of_token(token) == session
    again.close()


def test_closing_a_session_ends_its_tokens(file: Path) -> None:
    accounts = Accounts(file)
    session = accounts.open_session(accounts.add_user("admin", "x", True), None, 60)
    token, _ = accounts.issue_token(session)
    assert accounts.session_of_token(token) is not None
    accounts.close_session(session.id)
    assert accounts.session_of_token(token) is None
    accounts.close()


def test_expired_session_gives_no_identity(file: Path) -> None:
    accounts = Accounts(file)
    session = accounts.open_session(accounts.add_user("admin", "x", True), None, -1)
    token, _ = accounts.issue_session_token(session)
    assert accounts.session_of_token(token) is None
    accounts.close()


def test_new_password_ends_sessions(file: Path) -> None:
    accounts = Accounts(file)
    user = accounts.add_user("student1", "old")
    session = accounts.open_session(user, None, 60)
    accounts.set_password(user, "new")
    assert accounts.session(session.id) is None
    assert passwords.matches("new", accounts.stored_hash("student1"))
    assert not passwords.matches("old", accounts.stored_hash("student1"))
    accounts.close()


def test_password_is_not_in_the_file(file: Path) -> None:
    accounts = Accounts(file)
    accounts.add_user("student1", "correct-horse-battery")
    accounts.close()
    connection = sqlite3.connect(file)
    dump = "\n".join(connection.iterdump())
    connection.close()
    assert "student1" in dump
    assert "correct-horse-battery" not in dump


def test_unknown_user_matches_no_password(file: Path) -> None:
    accounts = Accounts(file)
    for guess in ("", "0", "nobody"):
        assert not passwords.matches(guess, accounts.stored_hash("nobody"))
    accounts.close()


def test_names_are_taken_once(file: Path) -> None:
    accounts = Accounts(file)
    accounts.add_tenant("K8sMLTenant")
    with pytest.raises(Conflict, match="K8sMLTenant"):
        accounts.add_tenant("K8sMLTenant")
    # Two tenants must not share a namespace either.
    with pytest.raises(Conflict):
        accounts.add_tenant("k8smltenant")
    accounts.close()


def test_namespace_of_a_name_without_letters_is_refused() -> None:
    assert namespace_of("K8s ML_Tenant") == "k8s-ml-tenant"
    with pytest.raises(BadRequest, match="no letter or digit"):
        namespace_of("!!!")


def test_throttle_makes_guessing_slow() -> None:
    clock = [0.0]
    throttle = passwords.Throttle(now=lambda: clock[0])
    for _ in range(5):
        throttle.begin("student1")
    with pytest.raises(TooManyAttempts) as refused:
        throttle.begin("student1")
    assert refused.value.seconds == 1
    clock[0] = 1.1
    throttle.begin("student1")
    with pytest.raises(TooManyAttempts) as refused:
        throttle.begin("student1")
    assert refused.value.seconds == 2
    throttle.begin("student2")
    throttle.succeeded("student1")
    throttle.begin("student1")


def test_generated_passwords_differ() -> None:
    made = {passwords.generate() for _ in range(100)}
    assert len(made) == 100
    assert all(len(password) == 17 for password in made)
