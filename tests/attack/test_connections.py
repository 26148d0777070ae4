"""Many connections that ask nothing do not shut out somebody who asks."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from labapps.deployment.backends import Backends
from labapps.deployment.balancer import Balancer
from labapps.web.asgi import Reply, Request
from labapps.web.crowd import Crowd
from labapps.web.server import Connection, bind, reply_with
from labsandbox.crowd import Crowd as PlatformCrowd
from labsandbox.ezmeral.guard import guarded
from labsandbox.gateway.mapping import Target
from labsandbox.gateway.relay import Listener
from tests.sandbox.conftest import ApiServer, make_server

PLACES = 40


class Quiet:
    """A connection that is only counted."""

    def __init__(self) -> None:
        self.is_open = True

    def give_up(self) -> None:
        self.is_open = False


@pytest.mark.fast
@pytest.mark.parametrize("kind", [Crowd, PlatformCrowd])
def test_longest_silent_connection_gives_way(kind: type[Any]) -> None:
    crowd = kind(3)
    first, second, third, fourth = (Quiet() for _ in range(4))
    for one in (first, second, third):
        crowd.enter(one)
    crowd.busy(first)
    crowd.rest(second)
    crowd.enter(fourth)
    assert [one.is_open for one in (first, second, third, fourth)] == [True, True, False, True]


@pytest.mark.fast
@pytest.mark.parametrize("kind", [Crowd, PlatformCrowd])
def test_connections_that_work_are_never_given_up(kind: type[Any]) -> None:
    crowd = kind(2)
    busy = [Quiet() for _ in range(5)]
    for one in busy:
        crowd.enter(one)
        crowd.busy(one)
    assert all(one.is_open for one in busy)


class Served:
    """Something that listens, in a thread with a loop of its own."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self._ready = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            self.port = await self._start()(stack)
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


async def _front_door(stack: contextlib.AsyncExitStack) -> int:
    app = web.Application()
    app.router.add_get("/", _hello)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(guarded(runner.server, PlatformCrowd(PLACES)), "127.0.0.1", 0)
    stack.push_async_callback(runner.cleanup)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def _engine(stack: contextlib.AsyncExitStack) -> int:
    import uvicorn

    class Few(Connection):
        crowd = Crowd(PLACES)

    async def handle(_: Request) -> Reply:
        return Reply.text("hello")

    (listener,) = bind("127.0.0.1", [0])
    config = uvicorn.Config(reply_with(handle), http=Few, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def stop() -> None:
        server.should_exit = server.force_exit = True
        await task

    stack.push_async_callback(stop)
    while not server.started:
        await asyncio.sleep(0.01)
    return int(listener.getsockname()[1])


async def _backend(stack: contextlib.AsyncExitStack) -> int:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


async def _gateway(stack: contextlib.AsyncExitStack) -> int:
    behind = await _backend(stack)
    target = Target("team", "web", 80, "tcp-web")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    listener = Listener(target, port, lambda _: [("127.0.0.1", behind)], PlatformCrowd(PLACES))
    await listener.start("127.0.0.1", ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    stack.push_async_callback(listener.stop)
    return port


async def _balancer(stack: contextlib.AsyncExitStack) -> int:
    backends = Backends(await _backend(stack))
    backends.replace(["127.0.0.1"])
    balancer = Balancer(backends)
    balancer.crowd = Crowd(PLACES)
    await balancer.start("127.0.0.1", 0)
    watching = asyncio.create_task(backends.watch())
    stack.callback(watching.cancel)
    assert balancer.server is not None
    stack.callback(balancer.server.close)
    return int(balancer.server.sockets[0].getsockname()[1])


@pytest.fixture(params=[_front_door, _engine, _gateway, _balancer], ids=lambda one: one.__name__)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    made = Served(lambda: request.param)
    yield made
    made.close()


@pytest.mark.fast
def test_silent_connections_leave_room_for_others(served: Served) -> None:
    _crowd_out(served.port, PLACES * 5, lambda: _ask(served.port))


def _crowd_out(port: int, count: int, ask: Callable[[], bytes]) -> None:
    """Hold many connections, some of them with half a head, and ask beside them."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            if number % 2:
                with contextlib.suppress(OSError):
                    idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            if number % (count // 4) == 0:
                assert b" 200 " in ask()
        assert b" 200 " in ask()


def _ask(port: int, wrap: ssl.SSLContext | None = None, path: str = "/") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        if wrap is None:
            return _exchange(plain, path)
        with wrap.wrap_socket(plain, server_hostname="127.0.0.1") as stream:
            return _exchange(stream, path)


def _exchange(stream: socket.socket, path: str) -> bytes:
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    found = b""
    while chunk := stream.recv(65536):
        found += chunk
    return found


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Let this process hold as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = make_server()
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(1_000, marks=pytest.mark.sandbox),
        pytest.param(5_000, marks=pytest.mark.nightly),
    ],
)
@pytest.mark.usefixtures("descriptors")
def test_api_server_answers_beside_many_connections(server: ApiServer, count: int) -> None:
    context = ssl.create_default_context(cafile=str(server.ca))
    port = int(server.url.rpartition(":")[2])
    _crowd_out(port, count, lambda: _ask(port, context, "/version"))


@pytest.mark.nightly
@pytest.mark.parametrize("count", [1_000, 5_000])
@pytest.mark.usefixtures("descriptors")
def test_every_service_answers_beside_many_connections(served: Served, count: int) -> None:
    _crowd_out(served.port, count, lambda: _ask(served.port))


@pytest.mark.fast
def test_a_balancer_without_descriptors_does_not_blame_its_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        backends = Backends(1)
        backends.replace(["127.0.0.1"])
        (backend,) = backends.all.values()
        backend.mark(True)

        async def refuse(*_: Any, **__: Any) -> Any:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(asyncio, "open_connection", refuse)
        await backends.check(backend)
        assert backend.up

    asyncio.run(run())
