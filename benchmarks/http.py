"""What one request costs a server in processor time: our two layers over uvicorn, and aiohttp.

    python -m benchmarks.http

Applications in pods answer through `labapps/web`, the API server through its own `http`, all other
parts of the platform through `aiohttp.web`. Each server here reads a small JSON body and answers
with it, as its layer is used; uvicorn alone is what ours stand on. Processor time is compared, so a
busy machine changes little.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import psutil
import uvicorn
import uvloop

from benchmarks.load import drive, request_bytes
from benchmarks.report import Figure, save

BODY = orjson.dumps({"inputs": [[0.5] * 8], "name": "a model", "labels": {"app": "x"}})
SECONDS, CONNECTIONS, ROUNDS = 2.0, 8, 3
GOALS = {"labapps.web": 1.0, "labsandbox.apiserver.http": 1.2, "starlette": 1.5, "uvicorn": 1.0}


async def serve_labapps(listener: socket.socket) -> None:
    """Answer as an application in a pod does."""
    from labapps.web import server
    from labapps.web.asgi import Reply, Request

    async def handle(request: Request) -> Reply:
        return Reply.json(orjson.loads(await request.body(1 << 20)))

    await server.serve(server.reply_with(handle), [listener])


async def serve_apiserver(listener: socket.socket) -> None:
    """Answer as the API server does, without what comes after its HTTP layer."""
    from labsandbox.apiserver.http.protocol import Connection
    from labsandbox.apiserver.http.request import Request
    from labsandbox.apiserver.http.response import answer, send

    async def app(scope: Any, receive: Any, send_: Any) -> None:
        request = Request(scope, receive, send_)
        try:
            await send(answer(orjson.loads(await request.body()), request), request)
        finally:
            request.release()

    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False
    )
    await uvicorn.Server(config).serve(sockets=[listener])


async def serve_aiohttp(listener: socket.socket) -> None:
    """Answer as the front door does."""
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        body = orjson.dumps(orjson.loads(await request.read()))
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/{name}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()


async def serve_starlette(listener: socket.socket) -> None:
    """Answer through the framework that most ASGI applications use."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def handle(request: Request) -> Response:
        body = orjson.dumps(orjson.loads(await request.body()))
        return Response(body, media_type="application/json")

    await _serve_uvicorn(Starlette(routes=[Route("/echo", handle, methods=["POST"])]), listener)


async def serve_uvicorn(listener: socket.socket) -> None:
    """Answer without any layer above uvicorn."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = orjson.dumps(orjson.loads((await receive())["body"]))
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    await _serve_uvicorn(app, listener)


async def _serve_uvicorn(app: Any, listener: socket.socket) -> None:
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    await uvicorn.Server(config).serve(sockets=[listener])


SERVERS: dict[str, Callable[[socket.socket], Coroutine[Any, Any, None]]] = {
    "labapps.web": serve_labapps,
    "labsandbox.apiserver.http": serve_apiserver,
    "starlette": serve_starlette,
    "uvicorn": serve_uvicorn,
    "aiohttp.web": serve_aiohttp,
}


def measure(name: str) -> float:
    """Return the microseconds of processor time of one request."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        port = listener.getsockname()[1]
        words = [sys.executable, "-m", "benchmarks.http", name, str(listener.fileno())]
        child = subprocess.Popen(words, pass_fds=[listener.fileno()])
    try:
        request = request_bytes("127.0.0.1", "/echo", BODY)
        asyncio.run(drive("127.0.0.1", port, request, CONNECTIONS, 0.5))  # what is loaded late
        process = psutil.Process(child.pid)
        before = process.cpu_times()
        done = asyncio.run(drive("127.0.0.1", port, request, CONNECTIONS, SECONDS))
        after = process.cpu_times()
        assert not done["bad"], f"{name} answered something else"
        return (sum(after[:2]) - sum(before[:2])) / done["requests"] * 1e6
    finally:
        child.terminate()
        child.wait(30)


def main() -> None:
    """Measure in turns, and print the least of each: what disturbs only adds."""
    found: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(ROUNDS):
        for name, values in found.items():
            values.append(measure(name))
            time.sleep(0.1)
    least = {name: min(values) for name, values in found.items()}
    peer = least.pop("aiohttp.web")
    save(
        "http",
        [
            Figure(
                name,
                value / peer,
                "of aiohttp's",
                f"<= {GOALS[name]:g}",
                value / peer <= GOALS[name],
                f"{value:.0f} µs and {peer:.0f} µs of processor time a request",
                ROUNDS,
            )
            for name, value in least.items()
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        uvloop.run(SERVERS[sys.argv[1]](socket.socket(fileno=int(sys.argv[2]))))
    else:
        main()
