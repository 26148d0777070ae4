"""Users, tenants, sessions and the tokens made from them, in one durable SQLite file."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from labsandbox.ezmeral import passwords
from labsandbox.ezmeral.errors import BadRequest, Conflict, NotFound

ROLES = {1: "Site Admin", 2: "Admin", 3: "Member"}
_TOKEN_SECONDS = 3600

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tenants (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, description TEXT NOT NULL,
    namespace TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, hash TEXT NOT NULL,
    is_site_admin INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS members (
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    tenant INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE,
    role INTEGER NOT NULL, PRIMARY KEY (user, tenant));
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    tenant INTEGER REFERENCES tenants ON DELETE CASCADE, role INTEGER, expiry REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    digest TEXT PRIMARY KEY, session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    expiry REAL NOT NULL);
CREATE TABLE IF NOT EXISTS groups (
    tenant INTEGER NOT NULL REFERENCES tenants ON DELETE CASCADE, dn TEXT NOT NULL,
    role INTEGER NOT NULL, PRIMARY KEY (tenant, dn));
CREATE TABLE IF NOT EXISTS external (
    user INTEGER PRIMARY KEY REFERENCES users ON DELETE CASCADE);
"""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant: a namespace with members."""

    id: int
    name: str
    description: str
    namespace: str

    @property
    def href(self) -> str:
        """Return the tenant's address in the REST API."""
        return f"/api/v1/tenant/{self.id}"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can sign in."""

    id: int
    name: str
    is_site_admin: bool

    @property
    def href(self) -> str:
        """Return the user's address in the REST API."""
        return f"/api/v1/user/{self.id}"


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in that has not ended yet."""

    id: str
    user: User
    tenant: Tenant | None
    role: int | None
    expiry: float

    @property
    def path(self) -> str:
        """Return the value that travels as X-BDS-SESSION."""
        return f"/api/v2/session/{self.id}"


def namespace_of(tenant_name: str) -> str:
    """Return the namespace a tenant of this name lives in."""
    munged = re.sub(r"[^a-z0-9-]+", "-", tenant_name.lower()).strip("-")[:50]
    if not munged:
        raise BadRequest(f"{tenant_name!r} has no letter or digit to name a namespace after.")
    return munged


class Accounts:
    """The front door's memory."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;" + _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # tenants

    def add_tenant(self, name: str, description: str = "") -> Tenant:
        """Create a tenant."""
        try:
            self._db.execute(
                "INSERT INTO tenants (name, description, namespace) VALUES (?, ?, ?)",
                (name, description, namespace_of(name)),
            )
        except sqlite3.IntegrityError as error:
            raise Conflict(f"There is a tenant {name!r} already, or one so alike.") from error
        return self.tenant_named(name)

    def remove_tenant(self, tenant: Tenant) -> None:
        """Forget a tenant, its members and their sessions."""
        self._db.execute("DELETE FROM tenants WHERE id = ?", (tenant.id,))

    def tenants(self) -> list[Tenant]:
        """Return all tenants."""
        rows = self._db.execute("SELECT id, name, description, namespace FROM tenants ORDER BY id")
        return [Tenant(*row) for row in rows]

    def tenant(self, number: int) -> Tenant:
        """Return one tenant."""
        for tenant in self.tenants():
            if tenant.id == number:
                return tenant
        raise NotFound(f"There is no tenant {number}.")

    def tenant_named(self, name: str) -> Tenant:
        """Return the tenant of that name; names are case sensitive."""
        for tenant in self.tenants():
            if tenant.name == name:
                return tenant
        raise NotFound(f"There is no tenant {name!r}.")

    # users

    def add_user(self, name: str, password: str, is_site_admin: bool = False) -> User:
        """Create a user; only a hash of the password is kept."""
        try:
            self._db.execute(
                "INSERT INTO users (name, hash, is_site_admin) VALUES (?, ?, ?)",
                (name, passwords.hashed(password), int(is_site_admin)),
            )
        except sqlite3.IntegrityError as error:
            raise Conflict(f"There is a user {name!r} already.") from error
        found = self.user_named(name)
        assert found is not None
        return found

    def users(self) -> list[User]:
        """Return all users."""
        rows = self._db.execute("SELECT id, name, is_site_admin FROM users ORDER BY id")
        return [User(number, name, bool(site)) for number, name, site in rows]

    def user_named(self, name: str) -> User | None:
        """Return the user of that name, or None."""
        return next((user for user in self.users() if user.name == name), None)

    def stored_hash(self, name: str) -> str:
        """Return the hash to compare with; for an unknown name one that nothing matches."""
        row = self._db.execute("SELECT hash FROM users WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else _NOBODY

    def set_password(self, user: User, password: str) -> None:
        """Replace a password and end every session opened with the old one."""
        self._db.execute(
            "UPDATE users SET hash = ? WHERE id = ?", (passwords.hashed(password), user.id)
        )
        self._db.execute("DELETE FROM sessions WHERE user = ?", (user.id,))

    def set_role(self, user: User, tenant: Tenant, role: int) -> None:
        """Make the user a member of the tenant in that role."""
        self._db.execute(
            "INSERT INTO members VALUES (?, ?, ?) "
            "ON CONFLICT (user, tenant) DO UPDATE SET role = excluded.role",
            (user.id, tenant.id, role),
        )

    def role_in(self, user: User, tenant: Tenant) -> int | None:
        """Return the user's role in the tenant, or None for a stranger."""
        row = self._db.execute(
            "SELECT role FROM members WHERE user = ? AND tenant = ?", (user.id, tenant.id)
        ).fetchone()
        return int(row[0]) if row else None

    def tenants_of(self, user: User) -> list[Tenant]:
        """Return the tenants the user belongs to."""
        return [tenant for tenant in self.tenants() if self.role_in(user, tenant)]

    def members_of(self, tenant: Tenant) -> list[tuple[User, int]]:
        """Return who belongs to the tenant, with the role."""
        pairs = [(user, self.role_in(user, tenant)) for user in self.users()]
        return [(user, role) for user, role in pairs if role]

    # people of a directory, and its groups

    def add_external_user(self, name: str) -> User:
        """Create a user whose password only the directory knows."""
        self._db.execute("INSERT INTO users (name, hash) VALUES (?, ?)", (name, _NOBODY))
        self._db.execute("INSERT INTO external SELECT id FROM users WHERE name = ?", (name,))
        found = self.user_named(name)
        assert found is not None
        return found

    def is_external(self, user: User) -> bool:
        """Tell whether the user is one of a directory."""
        found = self._db.execute("SELECT 1 FROM external WHERE user = ?", (user.id,))
        return found.fetchone() is not None

    def map_groups(self, tenant: Tenant, groups: list[tuple[str, int]]) -> None:
        """Keep the role of each group in a tenant, in the place of those before."""
        with self._db:
            self._db.execute("DELETE FROM groups WHERE tenant = ?", (tenant.id,))
            for dn, role in groups:
                self._db.execute(
                    "INSERT OR REPLACE INTO groups VALUES (?, ?, ?)", (tenant.id, dn.lower(), role)
                )

    def groups_of(self, tenant: Tenant) -> list[tuple[str, int]]:
        """Return the groups that have a role in a tenant."""
        rows = self._db.execute("SELECT dn, role FROM groups WHERE tenant = ?", (tenant.id,))
        return [(str(dn), int(role)) for dn, role in rows]

    def roles_of_groups(self, groups: list[str]) -> dict[int, int]:
        """Return the strongest role that some groups have in each tenant, by its id."""
        held = {group.lower() for group in groups}
        found: dict[int, int] = {}
        for tenant in self.tenants():
            roles = [role for dn, role in self.groups_of(tenant) if dn in held]
            if roles:
                found[tenant.id] = min(roles)
        return found

    def follow_groups(self, user: User, roles: dict[int, int]) -> None:
        """Give a user of the directory these roles, and no other."""
        for tenant in self.tenants():
            if tenant.id in roles:
                self.set_role(user, tenant, roles[tenant.id])
            elif self.role_in(user, tenant):
                pair = (user.id, tenant.id)
                self._db.execute("DELETE FROM members WHERE user = ? AND tenant = ?", pair)
                self._db.execute("DELETE FROM sessions WHERE user = ? AND tenant = ?", pair)

    # sessions

    def open_session(self, user: User, tenant: Tenant | None, seconds: float) -> Session:
        """Start a session."""
        role = self.role_in(user, tenant) if tenant else None
        if user.is_site_admin and role is None:
            role = 1
        session = Session(str(uuid.uuid4()), user, tenant, role, time.time() + seconds)
        self._db.execute("DELETE FROM sessions WHERE expiry < ?", (time.time() - 86400,))
        self._db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
            (session.id, user.id, tenant.id if tenant else None, role, session.expiry),
        )
        return session

    def session(self, number: str) -> Session | None:
        """Return a session that exists, be it expired or not."""
        row = self._db.execute(
            "SELECT user, tenant, role, expiry FROM sessions WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        user = next(user for user in self.users() if user.id == row[0])
        tenant = self.tenant(row[1]) if row[1] else None
        return Session(number, user, tenant, row[2], row[3])

    def sessions(self) -> list[Session]:
        """Return every session that has not expired."""
        rows = self._db.execute("SELECT id FROM sessions WHERE expiry > ?", (time.time(),))
        return [found for (number,) in rows.fetchall() if (found := self.session(number))]

    def close_session(self, number: str) -> None:
        """End a session and every token made from it."""
        self._db.execute("DELETE FROM sessions WHERE id = ?", (number,))

    # tokens

    def issue_token(self, session: Session) -> tuple[str, float]:
        """Make a Kubernetes token that lives as long as the session, at most an hour."""
        token = secrets.token_urlsafe(32)
        expiry = min(session.expiry, time.time() + _TOKEN_SECONDS)
        return self._keep_token(session, token, expiry)

    def issue_session_token(self, session: Session) -> tuple[str, float]:
        """Make a Kubernetes token that lives exactly as long as the session."""
        return self._keep_token(session, secrets.token_urlsafe(32), session.expiry)

    def _keep_token(self, session: Session, token: str, expiry: float) -> tuple[str, float]:
        self._db.execute("DELETE FROM tokens WHERE expiry < ?", (time.time(),))
        self._db.execute(
            "INSERT INTO tokens VALUES (?, ?, ?)", (_digest(token), session.id, expiry)
        )
        return token, expiry

    def session_of_token(self, token: str) -> Session | None:
        """Return the live session a Kubernetes token was made from."""
        row = self._db.execute(
            "SELECT session FROM tokens WHERE digest = ? AND expiry > ?",
            (_digest(token), time.time()),
        ).fetchone()
        session = self.session(row[0]) if row else None
        return session if session and session.expiry > time.time() else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# A hash nothing matches, so that an unknown user takes as long to refuse as a known one.
_NOBODY = f"scrypt${'00' * 16}${'00' * 64}"
