"""Stand before MLflow's model registry: write moves of aliases down, and the digests of versions.

`GET /labs/moves` is the history, and with `after` and `wait` the news: a deployment engine learns
of a move at once and need not ask again and again. A registered version gets the tag `sha256` with
the digest of its files, which nobody changes afterwards: who loads the model can compare.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import math
import re
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

from labapps.member.digest import folder_digest
from labapps.mlflow.body import again
from labapps.mlflow.journal import Aliases, Journal, moves
from labapps.web.asgi import Problem, Reply, Request, answer

__all__ = ["DIGEST", "Registrar", "Registry"]

log = logging.getLogger(__name__)
DIGEST = "sha256"
MOVES = "/labs/moves"
BODY = 1 << 20
WAIT = 25.0
API = r"/(?:ajax-)?api/[^/]+/mlflow/"
MOVING = re.compile(
    API + r"(?:registered-models/(?:alias|delete|rename)|model-versions/(?:create|delete))$"
)
TAGGING = re.compile(API + r"model-versions/(?:set-tag|delete-tag)$")


class Registry(Protocol):
    """What is asked of MLflow's own registry, in this process."""

    def aliases(self, name: str) -> dict[str, str]: ...
    def location(self, name: str, version: str) -> str: ...
    def tag(self, name: str, version: str, key: str, value: str) -> None: ...


class Registrar:
    """An ASGI application between the guard and MLflow's."""

    def __init__(
        self,
        application: Any,
        registry: Registry,
        journal: Journal,
        folder: Callable[[str], Path | None],
    ) -> None:
        self.application, self.registry, self.journal = application, registry, journal
        self.folder = folder
        self._one = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the history; pass on all else, and note what it changes."""
        request = Request(scope, receive)
        path = re.sub("/+", "/", request.path)
        if path == MOVES and request.method == "GET":
            await answer(send, await self._tell(request.query))
        elif request.method != "GET" and MOVING.match(path):
            async with self._one:  # else a move could be written to another one's name
                await self._move(request, receive, send)
        elif request.method != "GET" and TAGGING.match(path):
            body = await request.body(BODY)
            if _fields(request, body).get("key") == DIGEST:
                raise Problem(
                    403,
                    f"The tag {DIGEST} is the server's: it says which files were registered.",
                    expected="another key; changed files are a new version",
                )
            await self.application(scope, again(body, receive), send)
        else:
            await self.application(scope, receive, send)

    async def _tell(self, query: dict[str, str]) -> Reply:
        after, wait = _number(query, "after", 0), _number(query, "wait", 0)
        if wait:
            await self.journal.wait(int(after), min(wait, WAIT))
        name, alias = query.get("name", ""), query.get("alias", "")
        found = await asyncio.to_thread(self.journal.read, name, alias, int(after))
        return Reply.json({"moves": found, "last": self.journal.last})

    async def _move(self, request: Request, receive: Any, send: Any) -> None:
        body = await request.body(BODY)
        fields = _fields(request, body)
        names = {str(fields[key]) for key in ("name", "new_name", "newName") if fields.get(key)}
        before = await asyncio.to_thread(self._aliases, names)
        kept: list[MutableMapping[str, Any]] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            kept.append(message)

        await self.application(request.scope, again(body, receive), keep)
        if kept and kept[0].get("status") == 200:
            after = await asyncio.to_thread(self._aliases, names)
            self.journal.add(_who(request), moves(before, after))
            await asyncio.to_thread(self._seal, b"".join(m.get("body", b"") for m in kept))
        for message in kept:
            await send(message)

    def _aliases(self, names: set[str]) -> Aliases:
        return {
            (name, alias): version
            for name in names
            for alias, version in self.registry.aliases(name).items()
        }

    def _seal(self, body: bytes) -> None:
        """Give a version that was just registered the digest of its files."""
        try:
            made = json.loads(body).get("model_version") or {}
            name, version = str(made["name"]), str(made["version"])
        except (ValueError, KeyError, AttributeError):
            return
        try:
            folder = self.folder(self.registry.location(name, version))
            if folder is not None:
                self.registry.tag(name, version, DIGEST, folder_digest(folder))
        except OSError as error:
            log.warning("%s version %s has no digest: %s", name, version, error)


def _fields(request: Request, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body) if body else request.query
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(query: dict[str, str], key: str, default: float) -> float:
    try:
        found = float(query.get(key, default))
    except ValueError:
        found = math.nan
    if not 0 <= found < 1 << 53:
        raise Problem(400, f"{key} is {query[key]!r}.", expected="a number, 0 or more")
    return found


def _who(request: Request) -> str:
    """Return the name that a client gives beside the token; empty when it gives none."""
    scheme, _, value = request.header(b"authorization").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0][:100]
    except (binascii.Error, UnicodeDecodeError):
        return ""
