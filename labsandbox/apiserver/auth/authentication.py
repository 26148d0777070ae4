"""From credentials to a user: client certificate, then bearer token, else anonymous."""

from __future__ import annotations

import csv
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from labsandbox.apiserver.auth.token import ISSUER, InvalidToken, Tokens
from labsandbox.apiserver.auth.user import ANONYMOUS, User, authenticated
from labsandbox.apiserver.status import unauthorized

if TYPE_CHECKING:
    from labsandbox.apiserver.auth.webhook import TokenWebhook
    from labsandbox.apiserver.http.request import Request


def read_token_file(path: Path) -> dict[str, User]:
    """Read a token file as kube-apiserver's: token,user,uid,"group1,group2"."""
    found = {}
    with path.open(newline="") as file:
        for row in csv.reader(file, skipinitialspace=True):
            if len(row) < 3 or row[0].startswith("#"):
                continue
            token, name, uid = (cell.strip() for cell in row[:3])
            groups = row[3].split(",") if len(row) > 3 and row[3] else []
            found[token] = User(name, tuple(group.strip() for group in groups), uid)
    return found


class Authenticator:
    """Tries every way a request can prove who it is from."""

    def __init__(
        self,
        tokens: Tokens,
        static: dict[str, User] | None = None,
        webhook: TokenWebhook | None = None,
    ) -> None:
        self._tokens = tokens
        self._static = static or {}
        self._webhook = webhook

    async def authenticate(self, request: Request) -> User:
        """The user of a request; a credential that is wrong is refused, not ignored."""
        subject = getattr(request.connection, "subject", None)
        token = self._bearer(request)
        if subject is not None:
            name, groups = subject
            return authenticated(User(name, groups))
        if token is None:
            return ANONYMOUS
        user, _ = await self.review(token, None)
        if user is None:
            raise unauthorized()
        return user

    def _bearer(self, request: Request) -> str | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if kind.lower() == "bearer" and token:
            return token
        protocols = request.headers.get("sec-websocket-protocol", "")
        marker = "base64url.bearer.authorization.k8s.io."
        for protocol in protocols.split(","):
            if protocol.strip().startswith(marker):
                return _decode(protocol.strip().removeprefix(marker))
        return None

    async def review(self, token: str, audiences: list[str] | None) -> tuple[User | None, str]:
        """The user a token stands for and, when there is none, why."""
        for known, user in self._static.items():
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "replace")):
                if audiences and ISSUER not in audiences:
                    return None, "token audiences are not valid here"
                return authenticated(user), ""
        try:
            found = self._tokens.authenticate(token, audiences)
        except InvalidToken as error:
            return None, f"[invalid bearer token, {error}]"
        if found is not None:
            return authenticated(found), ""
        if self._webhook is not None:
            reviewed = await self._webhook.review(token)
            if reviewed is not None:
                return authenticated(reviewed), ""
        return None, "invalid bearer token"


def _decode(text: str) -> str | None:
    import base64

    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return None
