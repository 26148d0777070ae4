"""The requests every component makes: one method per verb, plain dicts in and out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from labsandbox.client import exec as exec_stream
from labsandbox.client import kubeconfig
from labsandbox.client.errors import ApiError
from labsandbox.client.exec import ExecResult
from labsandbox.client.resources import Resource

Object = dict[str, Any]
# Named here because the class below has a method called list.
Objects = list[Object]
Words = list[str]

_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_PAGE = 500
_WATCH_SECONDS = 300


class Client:
    """A connection to one API server as one user."""

    def __init__(self, access: kubeconfig.Access, user_agent: str = "labsandbox") -> None:
        self.access = access
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(
        cls, path: str | Path, context: str | None = None, user_agent: str = "labsandbox"
    ) -> Self:
        """Make a client from a kubeconfig file."""
        return cls(kubeconfig.load(path, context), user_agent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the HTTP session; made at first use because it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self.access.ssl_context() or True, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                headers={"User-Agent": self._user_agent},
            )
        return self._session

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """Read one object."""
        return await self._object("GET", resource.path(namespace, name, subresource))

    async def list_page(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        limit: int | None = None,
        continue_token: str | None = None,
    ) -> Object:
        """Read one page of a collection, as the server answers it."""
        params = _present(
            labelSelector=labels, fieldSelector=fields, limit=limit, **{"continue": continue_token}
        )
        return await self._object("GET", resource.path(namespace), params=params)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> Objects:
        """Read a whole collection; every item carries its apiVersion and kind."""
        items, _ = await self.list_with_version(resource, namespace, labels=labels, fields=fields)
        return items

    async def list_with_version(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> tuple[Objects, str]:
        """Read a whole collection and the resourceVersion to watch from."""
        items: Objects = []
        token: str | None = None
        while True:
            page = await self.list_page(
                resource, namespace, labels=labels, fields=fields, limit=_PAGE, continue_token=token
            )
            for item in page.get("items") or []:
                items.append({"apiVersion": resource.api_version, "kind": resource.kind, **item})
            token = page["metadata"].get("continue")
            if not token:
                return items, str(page["metadata"].get("resourceVersion", ""))

    async def create(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
        manager: str | None = None,
    ) -> Object:
        """Create an object (or post to a subresource of `name`)."""
        namespace = namespace or (obj.get("metadata") or {}).get("namespace")
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        path = resource.path(namespace, name, subresource)
        return await self._object("POST", path, json=body, params=_present(fieldManager=manager))

    async def replace(
        self, resource: Resource, obj: Object, *, subresource: str | None = None
    ) -> Object:
        """Replace an object, or its status, by the given one."""
        meta = obj["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"], subresource)
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        return await self._object("PUT", path, json=body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Any,
        *,
        kind: str = "merge",
        subresource: str | None = None,
        manager: str | None = None,
        force: bool = False,
    ) -> Object:
        """Change part of an object; `kind` is merge, json, strategic or apply."""
        params = _present(fieldManager=manager or (self._user_agent if kind == "apply" else None))
        if force:
            params["force"] = "true"
        return await self._object(
            "PATCH",
            resource.path(namespace, name, subresource),
            json=patch,
            params=params,
            content_type=_PATCH_TYPES[kind],
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str | None = None,
        grace: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Object:
        """Delete an object, if wanted only with this uid or version."""
        conditions = _present(uid=uid, resourceVersion=resource_version)
        body = _present(propagationPolicy=propagation, gracePeriodSeconds=grace)
        if conditions:
            body["preconditions"] = conditions
        body |= {"apiVersion": "v1", "kind": "DeleteOptions"}
        return await self._object("DELETE", resource.path(namespace, name), json=body)

    async def delete_all(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> Object:
        """Delete every object of a collection that the selectors choose."""
        params = _present(labelSelector=labels, fieldSelector=fields)
        return await self._object("DELETE", resource.path(namespace), params=params)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        seconds: int = _WATCH_SECONDS,
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) until the server ends the watch; bookmarks included."""
        params = _present(
            watch="true",
            allowWatchBookmarks="true",
            timeoutSeconds=seconds,
            resourceVersion=resource_version,
            labelSelector=labels,
            fieldSelector=fields,
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=seconds + 30)
        async with self.session.get(
            self.access.server + resource.path(namespace),
            params=params,
            headers=await self._headers(),
            timeout=timeout,
        ) as answer:
            if answer.status != 200:
                raise ApiError.from_body(answer.status, await _decoded(answer))
            async for line in _lines(answer.content):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError.from_body(500, event["object"])
                yield event["type"], event["object"]

    async def exec(
        self,
        namespace: str,
        pod: str,
        command: Words,
        *,
        container: str | None = None,
        stdin: bytes | None = None,
        timeout: float | None = 60,
    ) -> ExecResult:
        """Run a command in a container and return what it printed and its exit code."""
        params = [("command", word) for word in command]
        params += [("stdout", "true"), ("stderr", "true")]
        if container:
            params.append(("container", container))
        if stdin is not None:
            params.append(("stdin", "true"))
        url = f"{self.access.server}/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        return await exec_stream.run(
            self.session, url, await self._headers(), params, stdin, timeout
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """Make any other request and return its decoded answer."""
        headers = await self._headers()
        data = None
        if json is not None:
            data = orjson.dumps(json)
            headers["Content-Type"] = content_type
        async with self.session.request(
            method,
            self.access.server + path,
            params={k: str(v) for k, v in (params or {}).items()},
            data=data,
            headers=headers,
        ) as answer:
            body = await _decoded(answer)
            if answer.status >= 400:
                raise ApiError.from_body(answer.status, body)
            return body

    async def _object(self, method: str, path: str, **options: Any) -> Object:
        answer = await self.request(method, path, **options)
        if not isinstance(answer, dict):
            raise ApiError(500, "InternalError", f"{method} {path} answered no JSON object.")
        return answer

    async def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self.access.exec_spec and not self.access.token:
            token = await asyncio.to_thread(self.access.bearer)
        else:
            token = self.access.bearer()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


async def _decoded(answer: aiohttp.ClientResponse) -> Any:
    raw = await answer.read()
    if "json" in answer.headers.get("Content-Type", ""):
        return orjson.loads(raw)
    return raw.decode(errors="replace")


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream at newlines without aiohttp's limit on the length of a line."""
    pending = bytearray()
    async for chunk in stream.iter_any():
        pending += chunk
        if b"\n" not in chunk:
            continue
        *complete, rest = pending.split(b"\n")
        pending = bytearray(rest)
        for line in complete:
            if line:
                yield bytes(line)
