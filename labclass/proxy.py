"""The proxy in front of the hub and the learners' servers.

    python -m labclass.proxy --port 8000 --api-port 8001 … (the hub adds the rest)

The routing table and the REST API by which the hub fills it are configurable-http-proxy's, the
Python one. The public side is ours, because that one's (0.4) has no TLS, loses the websocket's
subprotocol without which JupyterLab does not understand its kernels, keeps a whole answer in
memory before it sends the first byte, and gives up on an answer after 20 seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp import web
from configurable_http_proxy.configproxy import PythonProxy
from multidict import CIMultiDict
from tornado.httpserver import HTTPServer
from yarl import URL

log = logging.getLogger("labclass.proxy")

# Headers that speak of one connection and not of the message (RFC 9110, 7.6.1).
_OF_THE_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
    "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
_HEARTBEAT = 60.0
_LONGEST_HEADER = 65536


class Routes(PythonProxy):  # type: ignore[misc]
    """The routing table, with times that mean the same in every time zone."""

    def update_last_activity(self, prefix: str) -> None:
        """Note that somebody used a route now."""
        if self._routes.get(prefix):
            self._routes.update(prefix, {"last_activity": datetime.now(UTC)})


class Front:
    """The public side: hand each request to the server its path belongs to."""

    def __init__(self, routes: Routes, error_target: str, is_encrypted: bool) -> None:
        self._routes = routes
        self._error_target = error_target.rstrip("/")
        self._proto = "https" if is_encrypted else "http"
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the connections to the servers behind; made inside the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                max_line_size=_LONGEST_HEADER,
                max_field_size=_LONGEST_HEADER,
                trust_env=False,
            )
        return self._session

    async def close(self, _: web.Application) -> None:
        """Close the connections to the servers behind."""
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if request.path == "/_chp_healthz":
            return web.json_response({"status": "OK"})
        if not request.raw_path.startswith("/"):
            return web.Response(status=400, text="Expected a path.")
        found = self._routes.target_for_req(None, request.raw_path.partition("?")[0])
        if found is None:
            return await self._error(404, request)
        url = URL(found["target"].rstrip("/") + request.raw_path, encoded=True)
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        try:
            answer = await (self._join if is_socket else self._relay)(request, url, found["prefix"])
        except aiohttp.ClientConnectionError as error:
            log.warning("%s %s: %s", request.method, request.path, error)
            return await self._error(503, request)
        if answer.status < 300:
            self._routes.update_last_activity(found["prefix"])
        return answer

    async def _relay(self, request: web.Request, url: URL, _: str) -> web.StreamResponse:
        async with self.session.request(
            request.method,
            url,
            headers=self._headers(request),
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as said:
            answer = web.StreamResponse(status=said.status, reason=said.reason)
            answer.headers.extend(_of_the_message(said.headers))
            await answer.prepare(request)
            with contextlib.suppress(ConnectionResetError):  # the browser went away
                try:
                    async for piece in said.content.iter_any():
                        await answer.write(piece)
                except aiohttp.ClientError:
                    # Half an answer was sent: cut it off, so that nobody takes it for a whole one.
                    if request.transport is not None:
                        request.transport.abort()
                else:
                    await answer.write_eof()
            return answer

    async def _join(self, request: web.Request, url: URL, prefix: str) -> web.StreamResponse:
        """Join two websockets; the server behind chooses the subprotocol, so it is asked first."""
        wanted = request.headers.get("Sec-WebSocket-Protocol", "")
        protocols = [word.strip() for word in wanted.split(",") if word.strip()]
        headers = self._headers(request)
        for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
            del headers[name]
        try:
            behind = await self.session.ws_connect(
                url, headers=headers, protocols=protocols, max_msg_size=0, compress=0
            )
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status, text=error.message)
        async with behind:
            chosen = [behind.protocol] if behind.protocol else []
            browser = web.WebSocketResponse(
                protocols=chosen, max_msg_size=0, compress=False, heartbeat=_HEARTBEAT
            )
            await browser.prepare(request)
            ways = {
                asyncio.create_task(self._pass_on(browser, behind, prefix)),
                asyncio.create_task(self._pass_on(behind, browser, prefix)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                code = browser.close_code or behind.close_code
                # 1005 and 1006 mean that nobody said why; they may not be sent.
                await browser.close(code=code if code and code not in (1005, 1006) else 1001)
            return browser

    async def _pass_on(
        self,
        source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
        target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
        prefix: str,
    ) -> None:
        with contextlib.suppress(ConnectionResetError):
            async for message in source:
                self._routes.update_last_activity(prefix)
                if message.type is aiohttp.WSMsgType.TEXT:
                    await target.send_str(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await target.send_bytes(message.data)

    def _headers(self, request: web.Request) -> CIMultiDict[str]:
        headers = _of_the_message(request.headers)
        host = request.headers.get("Host", "")
        default = "443" if self._proto == "https" else "80"
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = self._proto
        headers["X-Forwarded-Host"] = host
        headers["X-Forwarded-Port"] = str(urlsplit(f"//{host}").port or default)
        return headers

    async def _error(self, status: int, request: web.Request) -> web.Response:
        """Show the hub's page for an error, which offers to start a server that is not there."""
        url = URL(f"{self._error_target}/{status}?url={quote(request.path)}", encoded=True)
        try:
            async with self.session.get(url, headers=self._headers(request)) as said:
                headers = _of_the_message(said.headers)
                headers.popall("Content-Length", None)
                return web.Response(status=status, body=await said.read(), headers=headers)
        except (aiohttp.ClientError, TimeoutError):
            sentence = f"{status}: the hub does not answer. Wait a moment and load this page again."
            return web.Response(status=status, text=sentence, headers={"Retry-After": "5"})


def _of_the_message(headers: Iterable[Any]) -> CIMultiDict[str]:
    """Copy headers without those that speak of one connection."""
    copied: CIMultiDict[str] = CIMultiDict(headers)
    named = [name for line in copied.getall("Connection", []) for name in line.split(",")]
    for name in {*_OF_THE_HOP, *(name.strip().lower() for name in named)}:
        copied.popall(name, None)
    return copied


async def serve(given: argparse.Namespace) -> None:
    """Serve until a signal says otherwise."""
    routes = Routes({"auth_token": os.environ.get("CONFIGPROXY_AUTH_TOKEN"), "log": log})
    front = Front(routes, given.error_target, bool(given.ssl_cert))
    context = None
    if given.ssl_cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.ssl_cert, given.ssl_key)
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", front.handle)
    app.on_cleanup.append(front.close)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        auto_decompress=False,
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
        shutdown_timeout=1,
    )
    await runner.setup()
    await web.TCPSite(runner, given.ip or None, given.port, ssl_context=context).start()
    api = HTTPServer(routes.api_app)
    api.listen(given.api_port, given.api_ip)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    api.stop()
    await runner.cleanup()


def main(words: list[str] | None = None) -> int:
    """Run the proxy as the hub starts it."""
    parser = argparse.ArgumentParser(prog="python -m labclass.proxy")
    parser.add_argument("--ip", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-ip", default="127.0.0.1")
    parser.add_argument("--api-port", type=int, required=True)
    parser.add_argument("--error-target", required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--ssl-key")
    parser.add_argument("--ssl-cert")
    given = parser.parse_args(words)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    try:
        asyncio.run(serve(given))
    except OSError as error:
        print(
            f"Expected to listen on {given.ip}:{given.port} and {given.api_ip}:{given.api_port}, "
            f"found: {error}.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
