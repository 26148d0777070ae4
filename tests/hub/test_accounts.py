"""The class's sheet decides who may come in, and a learner's own password is respected."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyterhub import orm
from nativeauthenticator.orm import UserInfo

from labclass.accounts import BadSheet, ClassAuthenticator, read

pytestmark = pytest.mark.sandbox
HEAD = "name,password,tenant,role,address\n"


class Class:
    """A class folder's sheet, and hubs that open it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.sheet, self.issued = folder / "credentials.csv", folder / "issued.json"
        self._session = orm.new_session_factory(f"sqlite:///{folder / 'hub.sqlite'}")

    def write(self, **people: str) -> None:
        lines = [f"{name},{word},T,student,http://x\n" for name, word in people.items()]
        self.sheet.write_text(HEAD + "".join(lines))

    def opened(self) -> ClassAuthenticator:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NativeAuthenticator uses the hub's session
            return ClassAuthenticator(
                sheet=str(self.sheet), issued=str(self.issued), db=self._session()
            )


@pytest.fixture
def school(tmp_path: Path) -> Class:
    """Return a class of two that no hub has opened yet."""
    made = Class(tmp_path)
    made.write(ann="password-of-ann", bob="password-of-bob")
    return made


def let_in(hub: ClassAuthenticator, name: str, password: str) -> bool:
    """Say whether a hub lets somebody in."""
    data = {"username": name, "password": password}
    return asyncio.run(hub.authenticate(None, data)) == name


def test_people_on_the_sheet_come_in_with_their_password_and_no_other(school: Class) -> None:
    hub = school.opened()
    assert let_in(hub, "ann", "password-of-ann")
    assert not let_in(hub, "ann", "password-of-bob")
    assert not let_in(hub, "eve", "password-of-ann")


def test_changed_password_survives_a_restart(school: Class) -> None:
    assert school.opened().change_password("ann", "chosen-by-ann-herself")
    again = school.opened()
    assert let_in(again, "ann", "chosen-by-ann-herself")
    assert not let_in(again, "ann", "password-of-ann")
    assert let_in(again, "bob", "password-of-bob")


def test_new_password_on_the_sheet_replaces_a_forgotten_one(school: Class) -> None:
    assert school.opened().change_password("ann", "forgotten-by-ann")
    school.write(ann="a-second-card", bob="password-of-bob")
    again = school.opened()
    assert let_in(again, "ann", "a-second-card")
    assert not let_in(again, "ann", "forgotten-by-ann")


def test_who_left_the_sheet_is_out_and_who_joined_is_in(school: Class) -> None:
    school.opened()
    school.write(ann="password-of-ann", cid="password-of-cid")
    again = school.opened()
    assert not let_in(again, "bob", "password-of-bob")
    assert let_in(again, "cid", "password-of-cid")
    for name, stays in (("ann", True), ("bob", False)):
        user = SimpleNamespace(name=name)
        assert bool(asyncio.run(again.refresh_user(user))) is stays


def test_passwords_are_kept_hashed_and_the_file_private(school: Class) -> None:
    hub = school.opened()
    assert UserInfo.find(hub.db, "ann").password.startswith(b"$2b$")
    assert "password-of-ann" not in school.issued.read_text()
    assert school.issued.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD, "found nobody"),
        (HEAD + "Ann,secret,T,student,x\n", "line 2 .* name 'Ann'"),
        (HEAD + "ann,secret,T,student,x\n../bob,secret,T,student,x\n", "line 3"),
        (HEAD + "ann,,T,student,x\n", "no password"),
        ("user,word\nann,secret\n", "line 2"),
    ],
    ids=["empty", "capital", "path", "no-password", "other-columns"],
)
def test_sheet_that_would_be_misunderstood_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "sheet.csv").write_text(text)
    with pytest.raises(BadSheet, match=words):
        read(tmp_path / "sheet.csv")


def test_missing_sheet_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BadSheet, match="labs class --students 12"):
        read(tmp_path / "credentials.csv")
