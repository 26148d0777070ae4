"""The proxy before the hub: what a browser and a kernel say to each other arrives as it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from labclass import certificate
from tests.classroom_folder import free_port

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = "v1.kernel.websocket.jupyter.org"
TOKEN = {"Authorization": "token t0ken"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Proxy:
    """A running proxy, and how to reach it."""

    def __init__(self, scheme: str, context: ssl.SSLContext | None, *options: str) -> None:
        self.port, self.api_port = free_port(), free_port()
        self.url, self.context = f"{scheme}://127.0.0.1:{self.port}", context
        self.api = f"http://127.0.0.1:{self.api_port}/api/routes"
        words = [f"--port={self.port}", f"--api-port={self.api_port}", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labclass.proxy", *words],
            env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": "t0ken"},
            cwd=ROOT,
        )

    def run(self, test: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
        """Run a test with a client that takes the proxy's certificate."""

        async def session() -> None:
            connector = aiohttp.TCPConnector(ssl=self.context or True)
            async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
                async with asyncio.timeout(60):
                    await self._ready(client)
                    await test(client)

        asyncio.run(session())

    async def _ready(self, client: aiohttp.ClientSession) -> None:
        while self.process.poll() is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(f"{self.url}/_chp_healthz") as said:
                    assert await said.json() == {"status": "OK"}
                    return
            await asyncio.sleep(0.05)
        raise AssertionError(f"the proxy ended with {self.process.returncode}")

    async def route(self, client: aiohttp.ClientSession, path: str, target: str) -> None:
        """Add a route as the hub does it."""
        body = {"target": target, "jupyterhub": True}
        async with client.post(self.api + path, json=body, headers=TOKEN) as said:
            assert said.status == 201


@pytest.fixture(scope="module", params=["http", "https"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Return a proxy, without and with TLS."""
    options, context = ["--error-target=http://127.0.0.1:1/hub/error"], None
    if request.param == "https":
        made = certificate.provide(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])
        options += [f"--ssl-cert={made.certificate}", f"--ssl-key={made.key}"]
        context = ssl.create_default_context(cafile=made.authority)
    running = Proxy(request.param, context, *options)
    yield running
    running.process.terminate()
    assert running.process.wait(20) == 0


@contextlib.asynccontextmanager
async def behind(
    **handlers: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Serve handlers below /user/a/ and give the address."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_route("*", f"/user/a/{name}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def test_request_arrives_whole_and_forged_addresses_do_not(proxy: Proxy) -> None:
    async def echo(request: web.Request) -> web.Response:
        answer = web.json_response(
            {
                "path": request.raw_path,
                "method": request.method,
                "body": (await request.read()).decode(),
                "headers": dict(request.headers),
            },
            status=201,
        )
        answer.headers.add("Set-Cookie", "a=1")
        answer.headers.add("Set-Cookie", "b=2")
        return answer

    async def test(client: aiohttp.ClientSession) -> None:
        async with behind(echo=echo) as target:
            await proxy.route(client, "/user/a", target)
            forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "gopher", "X-Own": "1"}
            url = aiohttp.client.URL(f"{proxy.url}/user/a/echo?x=%2F%20y", encoded=True)
            async with client.put(url, data=b"body", headers=forged) as said:
                found = await said.json()
                assert said.status == 201
                assert said.headers.getall("Set-Cookie") == ["a=1", "b=2"]
            assert found["path"] == "/user/a/echo?x=%2F%20y"
            assert (found["method"], found["body"]) == ("PUT", "body")
            headers = found["headers"]
            assert headers["X-Forwarded-For"] == "127.0.0.1"
            assert headers["X-Forwarded-Proto"] == proxy.url.partition(":")[0]
            assert headers["X-Forwarded-Port"] == str(proxy.port)
            assert headers["Host"] == f"127.0.0.1:{proxy.port}"
            assert headers["X-Own"] == "1"

    proxy.run(test)


def test_answer_is_handed_on_while_it_is_being_made(proxy: Proxy) -> None:
    async def test(client: aiohttp.ClientSession) -> None:
        seen = asyncio.Event()

        async def events(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            await answer.write(b"data: first\n\n")
            await seen.wait()  # never, if the proxy waits for the end
            await answer.write(b"data: last\n\n")
            return answer

        async with behind(events=events) as target:
            await proxy.route(client, "/user/a", target)
            async with client.get(f"{proxy.url}/user/a/events") as said:
                assert await said.content.readline() == b"data: first\n"
                seen.set()
                assert b"data: last\n" in await said.content.read()

    proxy.run(test)


def test_half_an_answer_is_not_taken_for_a_whole_one(proxy: Proxy) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return answer

    async def test(client: aiohttp.ClientSession) -> None:
        async with behind(broken=broken) as target:
            await proxy.route(client, "/user/a", target)
            with pytest.raises(aiohttp.ClientError):
                async with client.get(f"{proxy.url}/user/a/broken") as said:
                    await said.read()

    proxy.run(test)


@pytest.mark.parametrize("wanted", [(PROTOCOL,), ("other", PROTOCOL), ()])
def test_server_behind_chooses_the_subprotocol(proxy: Proxy, wanted: tuple[str, ...]) -> None:
    async def channels(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=[PROTOCOL], max_msg_size=0)
        await socket.prepare(request)
        await socket.send_str("first")  # before the browser asked for anything
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    async def test(client: aiohttp.ClientSession) -> None:
        async with behind(channels=channels) as target:
            await proxy.route(client, "/user/a", target)
            url = f"{proxy.url}/user/a/channels"
            async with client.ws_connect(url, protocols=wanted, max_msg_size=0) as socket:
                assert socket.protocol == (PROTOCOL if wanted else None)
                assert await socket.receive_str() == "first"
                big = os.urandom(12 << 20)  # a picture in an output
                await socket.send_bytes(big)
                assert await socket.receive_bytes() == big

    proxy.run(test)


def test_closing_one_side_of_a_websocket_closes_the_other(proxy: Proxy) -> None:
    async def test(client: aiohttp.ClientSession) -> None:
        gone = asyncio.Event()

        async def waits(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                if message.data == "go":
                    await socket.close(code=4001)
            gone.set()
            return socket

        async with behind(waits=waits) as target:
            await proxy.route(client, "/user/a", target)
            async with client.ws_connect(f"{proxy.url}/user/a/waits") as socket:
                await socket.send_str("go")
                message = await socket.receive()
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4001)
            gone.clear()
            async with client.ws_connect(f"{proxy.url}/user/a/waits"):
                pass
            await gone.wait()

    proxy.run(test)


def test_refused_websocket_is_refused_with_the_same_status(proxy: Proxy) -> None:
    async def forbidden(request: web.Request) -> web.Response:
        return web.Response(status=403)

    async def test(client: aiohttp.ClientSession) -> None:
        async with behind(forbidden=forbidden) as target:
            await proxy.route(client, "/user/a", target)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await client.ws_connect(f"{proxy.url}/user/a/forbidden")
            assert refusal.value.status == 403

    proxy.run(test)


def test_server_that_is_gone_gives_503_and_a_path_of_nobody_404(proxy: Proxy) -> None:
    async def test(client: aiohttp.ClientSession) -> None:
        await proxy.route(client, "/user/gone", f"http://127.0.0.1:{free_port()}")
        for path, status in (("/user/gone/lab", 503), ("/nobody", 404)):
            async with client.get(proxy.url + path) as said:
                assert said.status == status
                assert "the hub does not answer" in await said.text()

    proxy.run(test)


def test_hubs_own_page_is_shown_for_an_error(proxy: Proxy) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"<p>{request.query['url']}</p>", content_type="text/html")

    async def test(client: aiohttp.ClientSession) -> None:
        app = web.Application()
        app.router.add_get("/hub/error/404", page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        other = Proxy("http", None, f"--error-target=http://127.0.0.1:{port}/hub/error")
        try:
            await other._ready(client)
            async with client.get(f"{other.url}/no/body") as said:
                assert (said.status, await said.text()) == (404, "<p>/no/body</p>")
                assert said.content_type == "text/html"
        finally:
            other.process.terminate()
            other.process.wait(20)
            await runner.cleanup()

    proxy.run(test)


def test_routes_are_changed_by_the_hub_alone_and_know_the_last_use(proxy: Proxy) -> None:
    async def fine(request: web.Request) -> web.Response:
        return web.Response(text="fine")

    async def test(client: aiohttp.ClientSession) -> None:
        for headers in ({}, {"Authorization": "token wrong"}):
            async with client.post(
                f"{proxy.api}/x", json={"target": "http://x"}, headers=headers
            ) as no:
                assert no.status == 403
        async with behind(fine=fine) as target:
            await proxy.route(client, "/user/a", target)
            async with client.get(f"{proxy.url}/user/a/fine") as said:
                assert await said.text() == "fine"
            async with client.get(proxy.api, headers=TOKEN) as said:
                used = (await said.json())["/user/a"]["last_activity"]
            assert used.endswith("+00:00"), "a time that means the same everywhere"
            async with client.delete(f"{proxy.api}/user/a", headers=TOKEN) as said:
                assert said.status == 204
            async with client.get(f"{proxy.url}/user/a/fine") as said:
                assert said.status == 404

    proxy.run(test)


def test_port_that_is_taken_is_named() -> None:
    taken = Proxy("http", None, "--error-target=http://127.0.0.1:1")
    try:

        async def test(client: aiohttp.ClientSession) -> None:
            words = [f"--port={taken.port}", f"--api-port={free_port()}", "--error-target=http://x"]
            done = subprocess.run(
                [sys.executable, "-m", "labclass.proxy", *words],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert f"Expected to listen on 127.0.0.1:{taken.port}" in done.stderr

        taken.run(test)
    finally:
        taken.process.terminate()
        taken.process.wait(20)
