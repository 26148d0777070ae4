"""The registry of a connected MLflow, by its REST API: MLflow's own client takes 2 s to import."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from labapps.workbench.connection import CERTIFICATE
from labapps.workbench.refusal import Refusal, missing
from labapps.workbench.resolve import Names

__all__ = ["Tracking"]

Json = dict[str, Any]
SECONDS = 30
MOST = 200
CODES = {400: 3, 401: 7, 403: 7, 404: 5, 409: 6, 429: 8}


class Tracking:
    """A tracking server."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.url = env.get("MLFLOW_TRACKING_URI", "").rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise Refusal(
                12,
                "No MLflow is connected, so there are no registered models. Connect a kdcluster: "
                "`connections: {clusters: [mlflow]}` in the spec of the workbench's, and "
                "`kubectl apply` it.",
            )
        token = env.get("MLFLOW_TRACKING_TOKEN", "")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        path = env.get(CERTIFICATE)
        self.trust = ssl.create_default_context(cafile=path) if path else True

    async def ask(self, verb: str, path: str, **fields: Any) -> Json:
        """Send a request; what MLflow refuses is refused in its words."""
        url = f"{self.url}/api/2.0/mlflow/{path}"
        more: Json = {"params": fields} if verb == "GET" else {"json": fields}
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=timeout,
                    headers=self.headers,
                    connector=aiohttp.TCPConnector(resolver=Names()),
                ) as session,
                session.request(verb, url, ssl=self.trust, **more) as reply,
            ):
                content, status = await reply.read(), reply.status
        except (aiohttp.ClientError, TimeoutError) as error:
            why = error or type(error).__name__
            raise Refusal(14, f"MLflow at {self.url} does not answer: {why}.") from error
        try:
            found = orjson.loads(content) if content else {}
        except orjson.JSONDecodeError:
            found = {"message": content[:300].decode("utf-8", "replace")}
        if status >= 400:
            text = found.get("message") or found.get("error") or ""
            raise Refusal(CODES.get(status, 14), f"MLflow answered {status}: {text}")
        return dict(found)

    async def logged_model(self, run: Json, name: str) -> str:
        """Return the id of the newest model that a run logged by a name; empty for plain files."""
        outputs = (run.get("outputs") or {}).get("model_outputs") or []
        for one in sorted(outputs, key=lambda output: -int(output.get("step") or 0)):
            found = await self.ask("GET", f"logged-models/{one['model_id']}")
            if found["model"]["info"].get("name") == name:
                return str(one["model_id"])
        return ""

    async def models(self) -> list[Json]:
        """Return all registered models, by name."""
        return await self._all("registered-models/search", "registered_models")

    async def model(self, name: str) -> Json:
        found = await self.ask("GET", "registered-models/get", name=name)
        return dict(found["registered_model"])

    async def versions(self, name: str) -> list[Json]:
        """Return the versions of a model, oldest first."""
        quote = '"' if "'" in name else "'"
        found = await self._all("model-versions/search", "model_versions",
                                filter=f"name={quote}{name}{quote}")  # fmt: skip
        return sorted(found, key=lambda version: int(version["version"]))

    async def version(self, name: str, number: str) -> Json:
        if not (number.isascii() and number.isdigit()):
            raise missing(f"There is no version {number!r} of {name}; versions are numbers.")
        found = await self.ask("GET", "model-versions/get", name=name, version=number)
        return dict(found["model_version"])

    async def _all(self, path: str, key: str, **fields: str) -> list[Json]:
        found: list[Json] = []
        token = ""
        while True:
            more = {"page_token": token} if token else {}
            page = await self.ask("GET", path, max_results=str(MOST), **fields, **more)
            found += page.get(key) or []
            token = page.get("next_page_token") or ""
            if not token:
                return found
