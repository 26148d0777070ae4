"""Make room for a class on a platform: names, accounts, tenants, settings, cards.

Every step may be done again, and each is done in the order that loses nothing when the process is
killed between two of them: first the sheet with the passwords, then the accounts, then class.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labclass import cards, front, place, roster, tenants
from labclass.front import FrontDoor, Tenant
from labclass.roster import INSTRUCTOR, STUDENT, BadClass, Folder, Person
from labrunner import curriculum, files

OWN, SHARED = "own", "shared"
MOST = 200
Tell = Callable[[str], None]


@dataclass(frozen=True)
class ClassOptions:
    """What is asked of a class."""

    students: int | None
    tenants: str = OWN
    prefix: str = "student"
    instructor: str = INSTRUCTOR
    hub: Mapping[str, Any] | None = None
    workshop: str | None = None  # all of labs.toml when absent
    practice: bool | None = None  # whether the panel opens practice copies; as before when absent
    on_demand: bool = False  # whether a server waits for its learner


@dataclass(frozen=True)
class Prepared:
    """A class that can begin, and what its instructor should know."""

    people: tuple[Person, ...]
    notes: tuple[str, ...]

    @property
    def students(self) -> list[str]:
        """Return the learners' names."""
        return [person.name for person in self.people if person.role == STUDENT]


def enrol(folder: Folder, options: ClassOptions) -> tuple[list[Person], list[str]]:
    """Return who is in the class after this call, and what to say about it; changes nothing."""
    facts, people = roster.read_facts(folder), roster.read_sheet(folder)
    before = sum(person.role == STUDENT for person in people)
    students = before if options.students is None else options.students
    if not 1 <= students <= MOST:
        found = "no number, and no class yet" if options.students is None else f"{students}"
        raise BadClass(
            f"Expected 1 to {MOST} students, found {found}. Type `labs class --students 12`."
        )
    if facts.get("tenants", options.tenants) != options.tenants:
        raise BadClass(
            f"Expected `--tenants {facts['tenants']}`, as this class began, found "
            f"{options.tenants!r}. Type it so, or begin another class with --folder."
        )
    roster.check_names(options.prefix, options.instructor)
    notes = []
    if students < before:
        notes.append(
            f"Expected {before} students, as the class has, found {students}: nobody was "
            f"removed. Begin another class with --folder, or type `labs class --students {before}`."
        )
    return roster.enrolled(people, students, options.prefix, options.instructor), notes


def prepare(
    folder: Folder, options: ClassOptions, settings: Mapping[str, str], root: Path, tell: Tell
) -> Prepared:
    """Prepare everything for a class on the platform of these settings."""
    people, notes = enrol(folder, options)
    place.check(settings)
    is_own = Path(settings.get(place.STATE, "/")) == folder.platform
    place.check_same(
        roster.read_facts(folder).get("platform", {}), settings["EZMERAL_URL"], is_own, folder.root
    )
    theirs = settings.get("EZMERAL_TENANT")
    shared = (theirs or "K8sMLTenant") if options.tenants == SHARED else None
    people = roster.placed(people, shared, theirs)
    people = _known_already(people, folder, place.passwords(settings))
    hub = dict(options.hub or {})
    roster.write_sheet(folder, people, str(hub.get("url", "")))
    tell("making tenants and accounts")
    spaces = _accounts(people, settings, _names_of(folder), notes, tell)
    people = [replace(person, namespace=spaces[person.tenant].namespace) for person in people]
    notes += _equip(people, settings, root, options, tell)
    _write(folder, options, people, settings, {"own": is_own, **_place(settings)}, hub)
    return Prepared(tuple(people), tuple(notes))


def _place(settings: Mapping[str, str]) -> dict[str, str]:
    return {"url": settings["EZMERAL_URL"], "ca": settings["EZMERAL_CA"]}


def _known_already(people: list[Person], folder: Folder, sheet: Mapping[str, str]) -> list[Person]:
    """Take over the passwords of accounts that the laptop platform made for itself."""
    ours = {person.name for person in roster.read_sheet(folder)}
    return [
        replace(person, password=sheet[person.name])
        if person.name in sheet and person.name not in ours
        else person
        for person in people
    ]


def _names_of(folder: Folder) -> set[str]:
    """Return whom an earlier call has given an account."""
    facts = roster.read_facts(folder)
    return {one["name"] for one in facts.get("students", ())} | set(facts.get("instructors", ()))


def _accounts(
    people: list[Person],
    settings: Mapping[str, str],
    ours: set[str],
    notes: list[str],
    tell: Tell,
) -> dict[str, Tenant]:
    """Make the tenants, users and roles that are missing; return the tenants by name."""
    url, ca = settings["EZMERAL_URL"], settings["EZMERAL_CA"]
    with FrontDoor(url, ca, *place.administrator(settings)) as door:
        users, roles, there = door.users(), door.roles(), door.tenants()
        strange = _strange(people, users, url, ca)
        _refuse_taken([name for name in strange if name not in ours])
        notes += [
            f"Expected the password of the sheet for {name} on the platform, found another. At the "
            "hub the sheet's counts; lab core-01 asks for the one the platform knows."
            for name in strange
        ]
        wanted = dict.fromkeys(person.tenant for person in people)
        spaces = {}
        for name in wanted:
            if name not in there:
                door.add_tenant(name, "A class of the labs")
            spaces[name] = door.ready_tenant(name)
        for person in people:
            if person.name not in users:
                users[person.name] = door.add_user(person.name, person.password)
            role = roles[front.ADMIN if person.role == INSTRUCTOR else front.MEMBER]
            door.assign(users[person.name], spaces[person.tenant], role)
            tell(f"{person.name} has an account and the tenant {person.tenant}")
        for leader in (person for person in people if person.role == INSTRUCTOR):
            for tenant in spaces.values():
                door.assign(users[leader.name], tenant, roles[front.ADMIN])
    return spaces


def _strange(people: list[Person], users: Mapping[str, str], url: str, ca: str) -> list[str]:
    """Return who has an account that the sheet's password does not open."""
    return [
        person.name
        for person in people
        if person.name in users and not front.can_sign_in(url, ca, person.name, person.password)
    ]


def _refuse_taken(taken: list[str]) -> None:
    """Refuse names that somebody else has; said before anything is made."""
    if taken:
        raise BadClass(
            f"Expected free names on the platform, or the passwords of the sheet, found accounts "
            f"of others: {', '.join(taken)}. Choose other names with `--prefix` and "
            "`--instructor`, or write the right passwords into credentials.csv of the class."
        )


def _equip(
    people: list[Person], settings: Mapping[str, str], root: Path, options: ClassOptions, tell: Tell
) -> list[str]:
    leader = next(person for person in people if person.role == INSTRUCTOR)
    url, ca = settings["EZMERAL_URL"], settings["EZMERAL_CA"]
    known = curriculum.load(root)
    return tenants.equip(
        lambda tenant: FrontDoor(url, ca, leader.name, leader.password, tenant),
        tenants.namespaces((p.tenant, p.namespace, p.role == STUDENT) for p in people),
        root,
        known.workshops if options.workshop is None else (known.workshop(options.workshop),),
        tell,
    )


def _write(
    folder: Folder,
    options: ClassOptions,
    people: list[Person],
    settings: Mapping[str, str],
    platform: Mapping[str, object],
    hub: Mapping[str, object],
) -> None:
    """Write what the hub and people read: settings, homes, cards and, last, class.json."""
    spaces = {person.tenant: person.namespace for person in people}
    is_practice = options.practice
    if is_practice is None:
        is_practice = bool(roster.read_facts(folder).get("practice"))
    for person in people:
        home = folder.home(person.name)
        home.mkdir(exist_ok=True, mode=0o700)
        found = place.of_learner(settings, person, home, spaces)
        if is_practice:
            found["LABS_PRACTICE"] = "1"  # the panel reads it
        files.write_private(folder.settings(person.name), place.as_lines(found))
    address = str(hub.get("url", ""))
    roster.write_sheet(folder, people, address)
    files.write_private(folder.cards, cards.page(people, address))
    facts = {
        "students": [
            {"name": p.name, "tenant": p.tenant, "namespace": p.namespace}
            for p in people
            if p.role == STUDENT
        ],
        "instructors": [p.name for p in people if p.role == INSTRUCTOR],
        "tenants": options.tenants,
        "practice": is_practice,
        "platform": platform,
        "hub": hub,
    }
    files.write_private(folder.facts, json.dumps(facts, indent=1) + "\n")
