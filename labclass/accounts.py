"""Who may sign in: the people on the class's sheet, with the passwords printed on their cards.

The hub's own accounts (NativeAuthenticator's) are made from credentials.csv before the hub answers
its first request. Nobody can sign up. Who changed their password at the hub keeps it, until the
sheet holds a new one: so an instructor hands out a new password by writing it there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
from jupyterhub.handlers.login import LogoutHandler
from jupyterhub.orm import new_token
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from traitlets import Bool, Integer, Unicode

from labrunner import files
from labrunner.errors import LabError

INSTRUCTOR = "instructor"
_COLUMNS = ("name", "password", "role", "tenant")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
# The password is random and stands on the sheet beside this: a slow hash would protect nothing
# and keep a class of a hundred waiting for a minute.
_ROUNDS = 5


class BadSheet(LabError):
    """The class's credentials.csv cannot be used."""


@dataclass(frozen=True)
class Person:
    """One line of the sheet."""

    name: str
    password: str
    role: str
    tenant: str = ""

    @property
    def is_instructor(self) -> bool:
        """Tell whether this person leads the class."""
        return self.role == INSTRUCTOR


def read(sheet: Path) -> list[Person]:
    """Read credentials.csv; complain about what the hub would silently make something else of."""
    try:
        with sheet.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise BadSheet(
            f"Expected the class's names and passwords in {sheet}, found: {error.strerror}. "
            "Type `labs class --students 12`, which writes it."
        ) from error
    people = []
    for number, row in enumerate(rows, start=2):
        name, word, role, tenant = (row.get(key) or "" for key in _COLUMNS)
        person = Person(name, word, role, tenant)
        if not _NAME.fullmatch(person.name) or not person.password:
            raise BadSheet(
                f"Expected a name in small letters and a password in line {number} of {sheet}, "
                f"found the name {person.name!r} and {'a' if person.password else 'no'} password. "
                "Correct the line and start again."
            )
        people.append(person)
    if not people:
        raise BadSheet(f"Expected somebody on {sheet}, found nobody. Type `labs class`.")
    return people


class ClassAuthenticator(NativeAuthenticator):  # type: ignore[misc]
    """The class's accounts and nobody else's."""

    sheet = Unicode(help="The class's credentials.csv.").tag(config=True)
    issued = Unicode(help="Where the hub remembers which passwords it took over.").tag(config=True)

    # Nobody signs up. Ten wrong passwords close a name for a minute. A password that a learner
    # chooses is not among the common ones. Whoever left the sheet is noticed within a minute.
    enable_signup = Bool(False).tag(config=True)
    allowed_failed_logins = Integer(10).tag(config=True)
    seconds_before_next_try = Integer(60).tag(config=True)
    minimum_password_length = Integer(10).tag(config=True)
    check_common_password = Bool(True).tag(config=True)
    auth_refresh_age = Integer(60).tag(config=True)

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        people = read(Path(self.sheet))
        self.allowed_users = {person.name for person in people}
        self._take_over(people, Path(self.issued))

    def _take_over(self, people: list[Person], issued: Path) -> None:
        """Make the accounts that are missing, and set the passwords that are new on the sheet."""
        known = json.loads(issued.read_text("utf-8")) if issued.exists() else {}
        now = {person.name: _digest(person.password) for person in people}
        for person in people:
            account = UserInfo.find(self.db, person.name)
            if account is None:
                account = UserInfo(username=person.name, password=_hashed(person.password))
                self.db.add(account)
            elif known.get(person.name) != now[person.name]:
                account.password = _hashed(person.password)
            account.is_authorized = True
        for account in UserInfo.all_users(self.db):
            if account.username not in now:
                self.db.delete(account)
        self.db.commit()
        files.write_private(issued, json.dumps(now, indent=1))

    def get_handlers(self, app: Any) -> list[Any]:
        """Add a way out after which no copy of a cookie opens the hub."""
        return [("/logout", Logout), *super().get_handlers(app)]

    async def refresh_user(self, user: Any, handler: Any = None, **more: Any) -> Any:
        """Send away who is no longer on the sheet, whatever cookie they hold."""
        if UserInfo.find(self.db, user.name) is None:
            return False
        return await super().refresh_user(user, handler, **more)


class Logout(LogoutHandler):  # type: ignore[misc]
    """Sign a person out everywhere: the hub's own handler only asks the browser to forget."""

    async def handle_logout(self) -> None:
        """Give the person another number for cookies; those with the old one open nothing."""
        user = self.current_user
        if user is not None:
            user.orm_user.cookie_id = new_token()
            self.db.commit()


def _hashed(password: str) -> bytes:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS))


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
