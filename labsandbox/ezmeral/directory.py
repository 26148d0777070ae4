"""Sign-in with a directory: the platform asks LDAP who somebody is, and groups decide their role.

The platform keeps no password of these people. Membership follows the directory at each sign-in:
who left a group loses its role then.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsandbox.ezmeral.accounts import ROLES, Accounts, Tenant, User
from labsandbox.ezmeral.errors import BadRequest, EzmeralError, Forbidden

__all__ = ["Directory", "Unreachable", "map_groups", "sign_in"]

SECONDS = 10


class Unreachable(EzmeralError):
    """The directory did not answer."""

    status = 503


@dataclass(frozen=True)
class Directory:
    """Where people are looked up."""

    url: str
    ca: Path
    base: str

    def groups(self, name: str, password: str) -> list[str] | None:
        """Return the groups of somebody with this password; None when the bind is refused."""
        import ldap3  # a fifth of a second, which only a platform with a directory needs
        from ldap3.core.exceptions import LDAPException
        from ldap3.utils.conv import escape_filter_chars
        from ldap3.utils.dn import escape_rdn

        if not password:  # a server may take a bind without a password for an anonymous one
            return None
        tls = ldap3.Tls(ca_certs_file=str(self.ca), validate=ssl.CERT_REQUIRED)
        server = ldap3.Server(self.url, tls=tls, connect_timeout=SECONDS, get_info=ldap3.NONE)
        dn = f"uid={escape_rdn(name)},ou=people,{self.base}"
        try:
            connection = ldap3.Connection(server, dn, password, receive_timeout=SECONDS)
            try:
                if not connection.bind():
                    return None
                wanted = f"(&(objectClass=groupOfNames)(member={escape_filter_chars(dn)}))"
                connection.search(f"ou=groups,{self.base}", wanted, attributes=["cn"])
                return sorted(str(entry.entry_dn) for entry in connection.entries)
            finally:
                connection.unbind()
        except LDAPException as error:
            raise Unreachable(
                f"The directory at {self.url} does not answer ({type(error).__name__}).",
                "Try again; people with accounts of the platform itself can sign in meanwhile.",
            ) from error


async def sign_in(
    directory: Directory, accounts: Accounts, name: str, password: str
) -> User | None:
    """Return the user that the directory vouches for, with the roles of their groups."""
    known = accounts.user_named(name)
    if known is not None and not accounts.is_external(known):
        return None  # the platform's own account of that name is nobody else's
    groups = await asyncio.to_thread(directory.groups, name, password)
    if groups is None:
        return None
    roles = accounts.roles_of_groups(groups)
    if not roles:
        shown = ", ".join(group.partition(",")[0] for group in groups) or "none"
        raise Forbidden(
            f"The directory knows {name}, and none of their groups has a role in a tenant.",
            f"Groups of {name}: {shown}. A site administrator maps groups to roles.",
        )
    user = known or accounts.add_external_user(name)
    accounts.follow_groups(user, roles)
    return user


def map_groups(accounts: Accounts, tenant: Tenant, body: dict[str, Any]) -> None:
    """Keep which groups have which role in a tenant, in the place of those before."""
    listed = body.get("external_user_groups")
    pairs = []
    for one in listed if isinstance(listed, list) else [None]:
        group, role = (one.get("group"), one.get("role")) if isinstance(one, dict) else (None, "")
        number = str(role).rsplit("/", 1)[-1]
        if not isinstance(group, str) or not group or number not in map(str, ROLES):
            raise BadRequest(
                "Expected a list of groups with their roles.",
                'Send {"external_user_groups": [{"role": "/api/v1/role/3", "group": "cn=…"}]}.',
            )
        pairs.append((group, int(number)))
    accounts.map_groups(tenant, pairs)
