"""The few requests to Kubernetes that the workbench makes, in one namespace.

In a pod with its service account; elsewhere with a kubeconfig, which the official client reads (it
knows exec plugins and their renewal).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from labapps.workbench.resolve import Names

__all__ = ["Access", "Kube", "KubeError", "from_kubeconfig", "in_cluster"]

Object = dict[str, Any]
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
GROUPS = {
    "jobs": "apis/batch/v1",
    "cronjobs": "apis/batch/v1",
    "deployments": "apis/apps/v1",
    "horizontalpodautoscalers": "apis/autoscaling/v2",
    "pods": "api/v1",
    "services": "api/v1",
    "secrets": "api/v1",
}


class KubeError(Exception):
    """The API server refused a request; carries the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Kubernetes answered {status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Access:
    """How to reach an API server: where, whom to trust, and what to send."""

    url: str
    context: ssl.SSLContext | None
    authorization: Callable[[], str]
    namespace: str


def in_cluster(root: str) -> Access:
    """Return the access of a pod's service account; its token is renewed on disk."""
    folder = Path(root + ACCOUNT)
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return Access(
        f"https://{host}:{port}",
        ssl.create_default_context(cafile=str(folder / "ca.crt")),
        lambda: f"Bearer {(folder / 'token').read_text().strip()}",
        (folder / "namespace").read_text().strip(),
    )


def from_kubeconfig(path: Path, namespace: str = "") -> Access:
    """Return the access that a kubeconfig describes."""
    from kubernetes import client, config  # 1 s to import, and a pod needs none of it

    _, active = config.list_kube_config_contexts(str(path))  # type: ignore[no-untyped-call]
    made = client.Configuration()
    config.load_kube_config(  # type: ignore[no-untyped-call]
        str(path), client_configuration=made
    )
    if not made.verify_ssl:
        raise SystemExit(
            f"Expected a kubeconfig that checks the server's certificate; {path} says that none is "
            "checked. Write certificate-authority: <file of the cluster's CA> in its place."
        )
    context = None
    if made.host.startswith("https"):
        context = ssl.create_default_context(cafile=made.ssl_ca_cert)
        if made.cert_file:
            context.load_cert_chain(made.cert_file, made.key_file)
    chosen = namespace or active["context"].get("namespace") or "default"
    return Access(
        made.host,
        context,
        lambda: str(made.auth_settings().get("BearerToken", {}).get("value") or ""),
        chosen,
    )


class Kube:
    """A client of one namespace."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.namespace = access.namespace
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def list(self, kind: str, selector: str) -> list[Object]:
        """Return the objects with these labels."""
        found = await self._ask("GET", kind, params={"labelSelector": selector})
        items: list[Object] = found.get("items") or []
        return items

    async def get(self, kind: str, name: str) -> Object | None:
        try:
            return await self._ask("GET", kind, name)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def ensure(self, kind: str, manifest: Object) -> None:
        """Create an object; one of that name is as good."""
        try:
            await self._ask("POST", kind, body=manifest)
        except KubeError as error:
            if error.status != 409:
                raise

    async def apply(self, kind: str, manifest: Object, first: Object | None = None) -> None:
        """Create an object, or merge its fields into the one there is.

        The fields of `first` are what others may change later; they count when it is created.
        """
        name = manifest["metadata"]["name"]
        if await self.patch(kind, name, manifest):
            return
        merged = manifest | {k: manifest.get(k, {}) | v for k, v in (first or {}).items()}
        await self.ensure(kind, merged)

    async def patch(self, kind: str, name: str, change: Object) -> bool:
        """Merge a change into an object; return whether there is one."""
        try:
            await self._ask("PATCH", kind, name, change)
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object and what it owns."""
        try:
            await self._ask("DELETE", kind, name, {"propagationPolicy": "Background"})
        except KubeError as error:
            if error.status != 404:
                raise

    async def _ask(
        self,
        verb: str,
        kind: str,
        name: str = "",
        body: Object | None = None,
        params: dict[str, str] | None = None,
    ) -> Object:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=30, connect=10)
            connector = aiohttp.TCPConnector(resolver=Names())
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        group = GROUPS[kind]
        url = f"{self.access.url}/{group}/namespaces/{self.namespace}/{kind}"
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if verb == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        if authorization := self.access.authorization():
            headers["Authorization"] = authorization
        async with self._session.request(
            verb,
            f"{url}/{name}" if name else url,
            data=orjson.dumps(body) if body is not None else None,
            params=params,
            headers=headers,
            ssl=self.access.context or True,
        ) as reply:
            content = await reply.read()
        if reply.status >= 400:
            raise KubeError(reply.status, _message(content))
        found: Object = orjson.loads(content)
        return found


def _message(content: bytes) -> str:
    try:
        return str(orjson.loads(content).get("message"))
    except (ValueError, AttributeError):
        return content[:300].decode("utf-8", "replace")
