"""Who is in the directory: three people of a company and two groups, as LDIF.

Their passwords are generated and noted where those of the platform's own accounts are.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["BASE", "GROUPS", "PEOPLE", "Entry", "group_dn", "ldif", "people_dn"]

BASE = "dc=lake,dc=example"


@dataclass(frozen=True)
class Entry:
    """Somebody in the directory, and the groups that hold them."""

    name: str
    full_name: str
    groups: tuple[str, ...]

    @property
    def role(self) -> int:
        """Return the number of the strongest role that the groups have; a member's without one."""
        return min((GROUPS[group] for group in self.groups), default=3)


# Group, and the number of the role that its members have in the learners' tenant.
GROUPS = {"lake-admins": 2, "lake-members": 3}
PEOPLE = (
    Entry("anna", "Anna Ash", ("lake-members",)),
    Entry("ines", "Ines Ivy", ("lake-members", "lake-admins")),
    Entry("otto", "Otto Oak", ()),  # in the company, in no group of the platform
)


def people_dn(name: str) -> str:
    """Return the distinguished name of somebody whose name needs no escape."""
    return f"uid={name},ou=people,{BASE}"


def group_dn(group: str) -> str:
    """Return the distinguished name of a group.

    >>> group_dn("lake-members")
    'cn=lake-members,ou=groups,dc=lake,dc=example'
    """
    return f"cn={group},ou=groups,{BASE}"


def ldif(passwords: Mapping[str, str]) -> str:
    """Return the directory as LDIF; passwords are salted hashes in it."""
    found = [_entry(BASE, {"objectClass": "domain", "dc": "lake"})]
    for unit in ("people", "groups"):
        found.append(_entry(f"ou={unit},{BASE}", {"objectClass": "organizationalUnit", "ou": unit}))
    for one in PEOPLE:
        surname = one.full_name.split()[-1]
        own = {"objectClass": "inetOrgPerson", "uid": one.name, "cn": one.full_name, "sn": surname}
        own["userPassword"] = _hashed(passwords[one.name])
        found.append(_entry(people_dn(one.name), own))
    for group in GROUPS:
        members = [people_dn(one.name) for one in PEOPLE if group in one.groups]
        found.append(_entry(group_dn(group), {"objectClass": "groupOfNames", "cn": group}, members))
    return "version: 1\n\n" + "\n\n".join(found) + "\n\n"


def _entry(dn: str, attributes: Mapping[str, str], members: Sequence[str] = ()) -> str:
    lines = [f"dn: {dn}", *(f"{name}: {value}" for name, value in attributes.items())]
    return "\n".join([*lines, *(f"member: {member}" for member in members)])


def _hashed(password: str) -> str:
    """Return the hash that the directory compares with; generated passwords cannot be guessed."""
    salt = secrets.token_bytes(16)
    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()
