"""Who may enter: the bearer of the notebook's token, and its owner by password."""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.auth.identity import PasswordIdentityProvider, User

from labapps.member import login
from labapps.member.configmeta import CONFIGMETA, read
from labapps.member.place import Place

__all__ = ["OwnerIdentityProvider"]


class OwnerIdentityProvider(PasswordIdentityProvider):
    """Checks a password with the platform; only the owner's is taken."""

    def passwd_check(self, password: str) -> bool:
        """Tell whether this is the owner's password."""
        meta = read(Place.from_env().path(CONFIGMETA))
        owner = os.environ.get("NOTEBOOK_OWNER", "")
        found = login.find(meta) if meta is not None else None
        if found is None or not owner:
            return False
        try:
            return found.check(owner, password)
        except OSError as error:
            self.log.error("The password cannot be checked: %s", error)
            return False

    def generate_anonymous_user(self, handler: Any) -> User:
        """Call the visitor by the owner's name: nobody else can come in."""
        owner = os.environ.get("NOTEBOOK_OWNER") or "learner"
        return User(username=owner, name=owner, display_name=owner)
