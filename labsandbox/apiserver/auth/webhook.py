"""Ask somebody else whose token it is: the TokenReview webhook of kube-apiserver.

The file has the form of a kubeconfig, as there. A kind answer is believed for a few seconds, so
that a session that was signed out is over soon; an unkind one for one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from labsandbox.apiserver.auth.user import User

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_KNOWN_SECONDS, _UNKNOWN_SECONDS, _ASK_SECONDS = 5.0, 1.0, 10.0
_MOST_ANSWERS = 10_000


class TokenWebhook:
    """A reviewer of tokens at an HTTPS address."""

    def __init__(self, url: str, ca: Path | None, secret: str | None) -> None:
        self._url, self._ca, self._secret = url, ca, secret
        self._answers: dict[bytes, tuple[float, User | None]] = {}
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_file(cls, path: Path) -> TokenWebhook:
        """Read the address, the authority and the credential from a kubeconfig."""
        document: dict[str, Any] = yaml.safe_load(path.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"]).get("user") or {}
        authority = cluster.get("certificate-authority")
        return cls(
            cluster["server"], path.parent / authority if authority else None, user.get("token")
        )

    async def review(self, token: str) -> User | None:
        """Return whose token it is, or None."""
        key = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        until, known = self._answers.get(key, (0.0, None))
        if time.monotonic() < until:
            return known
        try:
            found = await self._ask(token)
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            log.warning("the token reviewer at %s did not answer: %s", self._url, error)
            return None
        if len(self._answers) >= _MOST_ANSWERS:
            self._answers.clear()
        seconds = _KNOWN_SECONDS if found else _UNKNOWN_SECONDS
        self._answers[key] = (time.monotonic() + seconds, found)
        return found

    async def _ask(self, token: str) -> User | None:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {},
            "spec": {"token": token},
        }
        headers = {"Content-Type": "application/json"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        async with asyncio.timeout(_ASK_SECONDS):
            async with self._open().post(
                self._url, data=orjson.dumps(review), headers=headers
            ) as answer:
                body = await answer.read()
        if answer.status >= 300:
            raise ValueError(f"HTTP {answer.status}")
        status = orjson.loads(body)["status"]
        if not status.get("authenticated"):
            return None
        user = status["user"]
        return User(
            user["username"],
            tuple(user.get("groups") or ()),
            user.get("uid", ""),
            user.get("extra") or {},
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Imported at first use: a server without a webhook does not pay for it.
            import aiohttp

            context = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        return self._session


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
