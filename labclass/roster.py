"""Who is in a class, and where a class keeps its things.

The sheet, credentials.csv, is the truth about names and passwords: it is written, whole and on the
disk, before an account is made anywhere, so no account is ever lost that somebody could use.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labrunner import files
from labrunner.errors import LabError

STUDENT, INSTRUCTOR = "student", "instructor"
COLUMNS = ("name", "password", "tenant", "role", "address")
# Letters and digits that nobody mistakes for one another on a printed card.
_ALPHABET = "abcdefghjkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY3479"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


class BadClass(LabError):
    """The class folder, or what is asked of the class, does not fit."""


@dataclass(frozen=True)
class Person:
    """Somebody on the sheet."""

    name: str
    password: str
    tenant: str
    role: str = STUDENT
    namespace: str = ""


@dataclass(frozen=True)
class Folder:
    """The folder of one class."""

    root: Path

    @property
    def facts(self) -> Path:
        """Return the file that says what the class is."""
        return self.root / "class.json"

    @property
    def sheet(self) -> Path:
        """Return the instructor's sheet with the passwords."""
        return self.root / "credentials.csv"

    @property
    def cards(self) -> Path:
        """Return the page with one card for each learner."""
        return self.root / "cards.html"

    @property
    def platform(self) -> Path:
        """Return the state of the platform that the class started for itself."""
        return self.root / "platform"

    @property
    def hub(self) -> Path:
        """Return the hub's own folder."""
        return self.root / "hub"

    @property
    def attendance(self) -> Path:
        """Return the folder with what is known of everybody's progress."""
        return self.root / "attendance"

    def home(self, name: str) -> Path:
        """Return somebody's home on the hub."""
        return self.root / "homes" / name

    def settings(self, name: str) -> Path:
        """Return the file with somebody's platform settings."""
        return self.root / "learners" / f"{name}.env"

    def make(self) -> None:
        """Create what is missing, closed to everybody else; refuse what is no class folder."""
        if self.root.exists() and not self._is_class():
            raise BadClass(
                f"Expected an empty folder or a class in {self.root}, found other files. "
                "Type `labs class --folder` with another name."
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            for name in ("learners", "homes", "hub", "attendance"):
                (self.root / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise BadClass(
                f"Expected a folder to write to at {self.root}, found: {error.strerror}. "
                "Type `labs class --folder` with another name."
            ) from error

    def _is_class(self) -> bool:
        ours = {"class.json", "credentials.csv", "learners", "platform", ".lock"}
        found = {path.name for path in self.root.iterdir()} if self.root.is_dir() else {"a file"}
        return not found or bool(found & ours)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Refuse a second `labs class` in this folder while one runs."""
        with open(self.root / ".lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadClass(
                    f"Expected {self.root} to be free, found another `labs class` at work there. "
                    "End it with Ctrl-C first, or choose another --folder."
                ) from error
            yield


def read_facts(folder: Folder) -> dict[str, Any]:
    """Return what class.json says, or nothing before the first call."""
    try:
        found = json.loads(folder.facts.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadClass(
            f"Expected to read {folder.facts}, found: {error}. Delete that one file and type the "
            "same `labs class` again: names and passwords stand on credentials.csv."
        ) from error
    return found if isinstance(found, dict) else {}


def read_sheet(folder: Folder) -> list[Person]:
    """Return everybody on the sheet; nobody when there is none."""
    if not folder.sheet.exists():
        return []
    spaces = {one["name"]: one["namespace"] for one in read_facts(folder).get("students", ())}
    people = []
    with folder.sheet.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            name, password = row.get("name") or "", row.get("password") or ""
            if not _NAME.fullmatch(name) or not password:
                raise BadClass(
                    f"Expected a name in small letters and a password in line {number} of "
                    f"{folder.sheet}, found {name!r} and {'a' if password else 'no'} password. "
                    "Correct the line, or take it out, and type the same again."
                )
            role = row.get("role") or STUDENT
            space = spaces.get(name, "")
            people.append(Person(name, password, row.get("tenant") or "", role, space))
    return people


def write_sheet(folder: Folder, people: list[Person], address: str) -> None:
    """Write the sheet, whole or not at all, readable by its owner alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((p.name, p.password, p.tenant, p.role, address) for p in people)
    files.write_private(folder.sheet, text.getvalue())


def enrolled(people: list[Person], students: int, prefix: str, instructor: str) -> list[Person]:
    """Return everybody on the sheet, and as many new students as are missing; nobody leaves.

    >>> class_ = enrolled([], 2, "student", "teacher")
    >>> [person.name for person in class_]
    ['teacher', 'student1', 'student2']
    >>> [person.name for person in enrolled(class_, 1, "student", "teacher")] == [
    ...     person.name for person in class_]
    True
    """
    people = list(people)
    if not any(person.role == INSTRUCTOR for person in people):
        people.insert(0, Person(instructor, new_password(), "", INSTRUCTOR))
    taken = {person.name for person in people}
    missing = students - sum(person.role == STUDENT for person in people)
    number = 0
    while missing > 0:
        number += 1
        if (name := f"{prefix}{number}") not in taken:
            people.append(Person(name, new_password(), ""))
            missing -= 1
    return people


def placed(people: list[Person], shared: str | None, instructors: str | None) -> list[Person]:
    """Give everybody a tenant: the shared one, or one each; whoever has one keeps it.

    >>> [p.tenant for p in placed([Person("zoe", "x", ""), Person("al", "x", "")], None, None)]
    ['Team-zoe', 'Team-al']
    """

    def tenant(person: Person) -> str:
        own = instructors if person.role == INSTRUCTOR else None
        return person.tenant or shared or own or f"Team-{person.name}"

    return [replace(person, tenant=tenant(person)) for person in people]


def check_names(prefix: str, instructor: str) -> None:
    """Refuse names that a Kubernetes label or a file's name could not hold."""
    for option, name in (("--prefix", prefix), ("--instructor", instructor)):
        if not _NAME.fullmatch(name) or len(name) > 20:
            raise BadClass(
                f"Expected small letters, digits and dashes, a letter first and at most 20 in all, "
                f"after {option}; found {name!r}. Type for example `{option} student`."
            )


def new_password() -> str:
    """Return a password of about 80 bits that can be typed from a card."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(3))
