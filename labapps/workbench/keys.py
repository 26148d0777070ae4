"""API keys: shown once, kept as a digest. A key is 256 random bits, so one hash is enough."""

from __future__ import annotations

import datetime
import hashlib
import secrets
from dataclasses import dataclass

from labapps.workbench.refusal import invalid, unauthenticated
from labapps.workbench.store import Record, Store, now, short_id

__all__ = ["ADMIN", "Keys", "User"]

ADMIN = "admin"


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    is_admin: bool = False

    @property
    def reader(self) -> str | None:
        """Whose projects are listed; all of them for the administrator."""
        return None if self.is_admin else self.name


def digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class Keys:
    """The keys of a workbench; `own` are those the platform gave to the administrator."""

    def __init__(self, store: Store, own: frozenset[str]) -> None:
        self.store = store
        self.own: frozenset[str] = frozenset()
        self.known: dict[str, Record] = {}
        self.take(own)

    def take(self, own: frozenset[str]) -> None:
        """Replace the administrator's keys by these."""
        self.own = frozenset(digest(key) for key in own)

    def create(self, user: str, expiry: str, comments: str) -> Record:
        """Make a key; only this answer has it."""
        if expiry:
            _moment(expiry)
        key = secrets.token_urlsafe(32)
        record = {
            "id": short_id(),
            "user": user,
            "digest": digest(key),
            "expiry_date": expiry,
            "comments": comments,
            "created_at": now(),
        }
        self.store.add("key", user, record)
        return public(record) | {"api_key": key}

    def user(self, key: str) -> User:
        """Return whose key it is."""
        found = digest(key)
        if key and found in self.own:
            return User(ADMIN, is_admin=True)
        record = self.known.get(found) if key else None
        if key and record is None:
            record = next(iter(self.store.find("key", digest=found)), None)
        if record is None:
            raise unauthenticated(
                "The API key is not known here. Send `Authorization: Bearer <API v2 key>`."
                if key
                else "No API key. Send `Authorization: Bearer <API v2 key>`."
            )
        self.known[found] = record
        expiry = record["expiry_date"]
        if expiry and _moment(expiry) <= datetime.datetime.now(datetime.UTC):
            raise unauthenticated(
                f"The API key ended at {expiry}. Make a new one: POST /api/v2/users/<name>/v2_keys."
            )
        return User(str(record["user"]))

    def delete(self, record: Record) -> None:
        """Delete a key: it is refused from now on."""
        self.store.delete("key", record["id"])
        self.known.pop(record["digest"], None)


def public(record: Record) -> Record:
    """Return what a client may see of a key."""
    return {
        "key_id": record["id"],
        "expiry_date": record["expiry_date"],
        "comments": record["comments"],
        "created_at": record["created_at"],
    }


def _moment(text: str) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid(
            f"expiry_date must be a date such as 2027-01-31T12:00:00Z; found {text!r}."
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
