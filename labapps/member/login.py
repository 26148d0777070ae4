"""Check a user's password with the platform, through the connected external-auth Secret."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass

from labapps.member.configmeta import Configmeta

__all__ = ["Login", "find"]


@dataclass(frozen=True)
class Login:
    """Where passwords are checked."""

    url: str
    ca: str
    tenant: str

    def check(self, user: str, password: str) -> bool:
        """Tell whether the platform lets this user in; OSError when it cannot be asked."""
        body = {"name": user, "password": password, "tenant_name": self.tenant}
        request = urllib.request.Request(
            self.url.rstrip("/") + "/api/v2/session",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cadata=self.ca or None)
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as reply:
                session = reply.headers.get("Location", "")
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (400, 401, 403):
                    return False
            raise OSError(f"{self.url} answered {error.code}") from error
        self._end(session, context)
        return True

    def _end(self, session: str, context: ssl.SSLContext) -> None:
        """Give the session back: only the answer was wanted."""
        if not session:
            return
        request = urllib.request.Request(
            self.url.rstrip("/") + session, headers={"X-BDS-SESSION": session}, method="DELETE"
        )
        try:
            urllib.request.urlopen(request, timeout=10, context=context).close()
        except OSError:
            return


def find(meta: Configmeta) -> Login | None:
    """Return the login that a connected Secret describes."""
    for kind in meta.secret_kinds():
        for secret in meta.secrets(kind):
            if secret.data.get("url") and secret.data.get("tenant"):
                return Login(
                    secret.data["url"], secret.data.get("ca.crt", ""), secret.data["tenant"]
                )
    return None
