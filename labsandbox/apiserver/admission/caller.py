"""Calls webhooks over HTTPS, by address or by service, and words failures as Go does."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.network import reach

if TYPE_CHECKING:
    import aiohttp

    from labsandbox.apiserver.api import Api

Json = dict[str, Any]
# What a webhook may answer at most: an object of the largest size and its patch, encoded.
LIMIT = 8 * 1024 * 1024
HEADERS = {
    "User-Agent": "kube-apiserver-admission",
    "Accept": "application/json, */*",
    "Content-Type": "application/json",
    "Accept-Encoding": "gzip",
}


class CallFailed(Exception):
    """The webhook could not be reached, or did not answer with success."""


class Caller:
    """Keeps connections to webhooks."""

    def __init__(self, api: Api, stock: Collections) -> None:
        self._api = api
        self._stock = stock
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, config: Json, timeout: int, body: Json) -> Any:
        """Send a question; return the decoded answer."""
        import aiohttp  # a third of the server's start; most servers never call a webhook

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=64, force_close=False), trust_env=False
            )
        url, shown, server_name = self._address(config)
        query = f"timeout={timeout}s"
        url, shown = f"{url}?{query}", f"{shown}?{query}"
        try:
            async with asyncio.timeout(timeout):
                async with self._session.post(
                    url,
                    data=orjson.dumps(body),
                    headers=HEADERS,
                    ssl=_trust(config.get("caBundle") or ""),
                    server_hostname=server_name,
                    allow_redirects=False,
                ) as response:
                    raw = await response.content.read(LIMIT)
                    status = response.status
        except TimeoutError:
            raise CallFailed(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f'Post "{shown}": {_explain(error, url)}') from error
        if status != 200:
            raise CallFailed(_explain_status(status, raw))
        try:
            return orjson.loads(raw)
        except ValueError as error:
            raise CallFailed(f"couldn't get version/kind; json parse error: {error}") from error

    def _address(self, config: Json) -> tuple[str, str, str | None]:
        """Where to connect, how messages show it, and the name the certificate must carry."""
        if config.get("url"):
            url = str(config["url"])
            return url, url, None
        service = config.get("service") or {}
        name, namespace = str(service.get("name")), str(service.get("namespace"))
        port, path = int(service.get("port") or 443), str(service.get("path") or "/")
        host = f"{name}.{namespace}.svc"
        shown = f"https://{host}:{port}/{path.lstrip('/')}"
        if self._stock.find("", "services", name, namespace) is None:
            raise CallFailed(f'service "{name}" not found')
        target = self._endpoint(name, namespace, port)
        if target is None:
            raise CallFailed(f'no endpoints available for service "{name}"')
        return f"https://{target}/{path.lstrip('/')}", shown, host

    def _endpoint(self, name: str, namespace: str, port: int) -> str | None:
        service = self._stock.find("", "services", name, namespace) or {}
        ports = (service.get("spec") or {}).get("ports") or ()
        wanted = next((one.get("name", "") for one in ports if one.get("port") == port), None)
        endpoints = self._stock.find("", "endpoints", name, namespace) or {}
        for subset in endpoints.get("subsets") or ():
            for one in subset.get("ports") or ():
                for address in subset.get("addresses") or ():
                    if wanted is not None and one.get("name", "") == wanted:
                        host, number = reach(str(address["ip"]), one["port"])
                        return f"{host}:{number}"
        return None


@lru_cache(maxsize=64)
def _trust(bundle: str) -> ssl.SSLContext:
    """Trust the CA of the configuration, or the system's when it names none."""
    if not bundle:
        return ssl.create_default_context()
    try:
        pem = base64.b64decode(bundle).decode()
        return ssl.create_default_context(cadata=pem)
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise ValueError(
            "unable to load root certificates: unable to parse bytes as PEM block"
        ) from error


def _explain(error: BaseException, url: str) -> str:
    import aiohttp

    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port or 443}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {_certificate_problem(error)}"
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return "tls: handshake failure"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {parts.hostname}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        cause = getattr(error, "os_error", error)
        if isinstance(cause, ConnectionRefusedError):
            return f"dial tcp {address}: connect: connection refused"
        return f"dial tcp {address}: connect: {getattr(cause, 'strerror', None) or cause}"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
        return "EOF"
    return str(error) or type(error).__name__


def _certificate_problem(error: BaseException) -> str:
    cause = getattr(error, "certificate_error", error)
    text = str(getattr(cause, "verify_message", "") or cause).lower()
    if "expired" in text:
        return "certificate has expired or is not yet valid"
    if "mismatch" in text or "doesn't match" in text or "not valid for" in text:
        return "certificate is valid for another name"
    return "certificate signed by unknown authority"


def _explain_status(status: int, raw: bytes) -> str:
    """The words client-go has for an answer that is not a Status."""
    text = raw[:2048].decode(errors="replace").strip() or "unknown"
    if status == 404:
        return "the server could not find the requested resource"
    if status == 401:
        return "the server has asked for the client to provide credentials"
    if status == 403:
        return text
    if status == 405:
        return "the server does not allow this method on the requested resource"
    if status == 503:
        return "the server is currently unable to handle the request"
    if status == 504:
        return "the server was unable to return a response in the time allotted"
    if status >= 500:
        shown = orjson.dumps(text).decode()
        return f"an error on the server ({shown}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more information"
