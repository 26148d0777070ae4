"""Ask a connected MLflow server: what an alias means, which files a version has, what moved."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from labapps.member.names import address

__all__ = ["Tracking", "TrackingError", "Version"]

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
PROXIED = "mlflow-artifacts:"
DIGEST = "sha256"
WAIT = 20.0
POLL = 1.0
PIECE = 1 << 20
LIMIT = 2 << 30


class TrackingError(Exception):
    """The tracking server gave something else; `lasting` when asking again is no use."""

    def __init__(self, text: str, *, lasting: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting


@dataclass(frozen=True)
class Version:
    """A registered version, with the digest that its server noted."""

    name: str
    number: str
    digest: str


class Resolver(AbstractResolver):
    """Looks names up as the rest of a pod does; see `labapps.member.names`."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        ip, real = await address(host, port)
        found = ResolveResult(hostname=host, host=ip, port=real, family=family, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        return


class Tracking:
    """One tracking server, as the environment of MLflow's client describes it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)
        self.url = env["MLFLOW_TRACKING_URI"].rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._last: int | None = None
        self._history = True

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise TrackingError(f"{self.url} is no longer connected.")
        if self._session is None:
            headers, auth = {}, None
            user = self.env.get("MLFLOW_TRACKING_USERNAME")
            if user:
                auth = aiohttp.BasicAuth(user, self.env.get("MLFLOW_TRACKING_PASSWORD", ""))
            elif token := self.env.get("MLFLOW_TRACKING_TOKEN"):
                headers["Authorization"] = f"Bearer {token}"
            ca = self.env.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
            connector = aiohttp.TCPConnector(
                resolver=Resolver(), ssl=ssl.create_default_context(cafile=ca) if ca else True
            )
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
            self._session = aiohttp.ClientSession(
                connector=connector, headers=headers, auth=auth, timeout=timeout
            )
        return self._session

    async def close(self) -> None:
        """End the connections; who still asks gets an error."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _get(self, path: str, /, **query: str) -> dict[str, Any]:
        try:
            async with self._open().get(
                self.url + path, params=query, allow_redirects=False
            ) as reply:
                if reply.status == 200 and "json" in reply.content_type:
                    found = await reply.json()
                    return found if isinstance(found, dict) else {}
                text = await reply.text(errors="replace")
                raise TrackingError(_words(reply.status, text), lasting=reply.status in (400, 404))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise TrackingError(
                f"The tracking server {self.url} does not answer: {type(error).__name__}: {error}"
            ) from error

    async def version(self, name: str, number: str = "", alias: str = "") -> Version:
        """Return the version of a model that an alias or a number means."""
        if alias:
            found = await self._get(f"{API}/registered-models/alias", name=name, alias=alias)
        else:
            found = await self._get(f"{API}/model-versions/get", name=name, version=number)
        try:
            model = found["model_version"]
            tags = {tag["key"]: tag.get("value") for tag in model.get("tags") or []}
            return Version(name, str(model["version"]), str(tags.get(DIGEST) or ""))
        except (AttributeError, KeyError, TypeError) as error:
            raise TrackingError(f"{self.url} does not answer as MLflow does: {error!r}") from error

    async def location(self, version: Version) -> str:
        """Return the URI of a version's files."""
        path = f"{API}/model-versions/get-download-uri"
        found = await self._get(path, name=version.name, version=version.number)
        return str(found.get("artifact_uri", ""))

    async def download(self, location: str, folder: Path) -> None:
        """Copy the files of a version that the server hands out into a folder."""
        parts = urlsplit(location)
        if parts.scheme + ":" != PROXIED or parts.netloc:
            raise TrackingError(
                f"The files lie at {location}. Expected a server that hands them out "
                f"({PROXIED}/…), or a folder of the project repository.",
                lasting=True,
            )
        root = PurePosixPath(unquote(parts.path).lstrip("/"))
        left = LIMIT
        async for name, size in self._files(root, PurePosixPath()):
            left -= size
            if left < 0:
                raise TrackingError(f"The model has more than {LIMIT} bytes.", lasting=True)
            await self._copy(root / name, folder / name)

    async def _files(
        self, root: PurePosixPath, below: PurePosixPath
    ) -> AsyncIterator[tuple[PurePosixPath, int]]:
        found = await self._get(FILES, path=str(root / below))
        for file in found.get("files") or []:
            if not isinstance(file, dict) or not isinstance(file.get("file_size") or 0, int):
                raise TrackingError(f"{self.url} does not list files as MLflow does.", lasting=True)
            name = PurePosixPath(str(file.get("path", "")))
            if len(name.parts) != 1 or name.is_absolute() or name.name in ("", ".", ".."):
                raise TrackingError(f"The server lists the file {name}.", lasting=True)
            if file.get("is_dir"):
                async for one in self._files(root, below / name):
                    yield one
            else:
                yield below / name, int(file.get("file_size") or 0)

    async def _copy(self, source: PurePosixPath, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        url, size = f"{self.url}{FILES}/{quote(str(source))}", 0
        try:
            async with self._open().get(url, allow_redirects=False) as reply:
                if reply.status != 200:
                    raise TrackingError(_words(reply.status, f"no file {source.name}"))
                with target.open("wb") as file:
                    async for piece in reply.content.iter_chunked(PIECE):
                        size += len(piece)
                        if size > LIMIT:
                            raise TrackingError(f"{source.name} does not end.", lasting=True)
                        await asyncio.to_thread(file.write, piece)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TrackingError(
                f"The file {source.name} did not arrive: {type(error).__name__}: {error}"
            ) from error

    async def news(self) -> None:
        """Return when an alias may have moved: at once where the server tells, else every second.

        Our own tracking server answers when something moved; any other one is asked again.
        """
        if self._history:
            wait = {} if self._last is None else {"after": str(self._last), "wait": f"{WAIT:g}"}
            try:
                found = await self._get("/labs/moves", **wait)
                self._last = int(found["last"])
                return
            except TrackingError as error:
                self._history = not error.lasting
            except (KeyError, TypeError, ValueError):
                self._history = False
        await asyncio.sleep(POLL)  # pause: the time between two questions


def _words(status: int, text: str) -> str:
    """Return what a server says in its refusal: MLflow's message, or the text."""
    try:
        text = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        text = text.strip()
    return f"The tracking server answered {status}: {text[:300]}"
