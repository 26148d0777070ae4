"""Starting and stopping the server: state folder, certificates, store, then the socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from labsandbox import owner
from labsandbox.apiserver.admission import Chain
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.authentication import Authenticator, read_token_file
from labsandbox.apiserver.auth.rbac import Rbac
from labsandbox.apiserver.auth.token import Tokens
from labsandbox.apiserver.bootstrap import create_defaults
from labsandbox.apiserver.customs import Customs
from labsandbox.apiserver.http import exhaustion
from labsandbox.apiserver.http.app import build
from labsandbox.apiserver.http.protocol import Connection
from labsandbox.apiserver.pki import Authority, write_kubeconfigs
from labsandbox.apiserver.registry import Catalog
from labsandbox.apiserver.services.allocation import Allocator
from labsandbox.apiserver.store import MOST_KEPT, Store
from labsandbox.apiserver.streams.target import CLIENT
from labsandbox.apiserver.watch.hub import Hub
from labsandbox.files import write_private

_LOG = logging.getLogger(__name__)
_KEPT_SECONDS, _TIDY_SECONDS = 300.0, 30.0
_BACKLOG = 2048
_SWITCH_SECONDS = 0.001


@dataclass(frozen=True)
class ServerSettings:
    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    token_file: Path | None = None
    webhook_file: Path | None = None
    webhook_calls: int = 1
    most_kept: int = MOST_KEPT
    parent: int | None = None


class PortError(Exception):
    """The address cannot be listened on; the message says what to do."""


def listen(settings: ServerSettings) -> socket.socket:
    """Bind the wanted port; without one, the port of the last run if it is free."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    wanted = [settings.port] if settings.port else [_last_port(settings.state), 0]
    for port in wanted:
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # TCP_NODELAY
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, port))
        except OSError as error:
            listener.close()
            if port == wanted[-1]:
                raise PortError(
                    f"Expected to listen on {settings.host}:{port}, but that is not possible "
                    f"({error.strerror}). Choose another --port, or leave it out."
                ) from error
            continue
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return listener
    raise AssertionError("unreachable")


def _last_port(state: Path) -> int:
    try:
        found = orjson.loads((state / "apiserver.json").read_bytes())
        return int(str(found["url"]).rpartition(":")[2])
    except (OSError, ValueError, KeyError):
        return 0


def build_api(settings: ServerSettings, url: str) -> tuple[Api, Customs]:
    """Open the store and put the parts together."""
    store = Store(settings.state / "apiserver.db", settings.most_kept)
    tokens = Tokens(settings.state / "pki" / "sa.key", store)
    static = read_token_file(settings.token_file) if settings.token_file else {}
    webhook = None
    if settings.webhook_file is not None:
        from labsandbox.apiserver.auth.webhook import TokenWebhook

        webhook = TokenWebhook.from_file(settings.webhook_file)
    api = Api(
        store=store,
        catalog=Catalog(),
        hub=Hub(store),
        rbac=Rbac(store),
        tokens=tokens,
        authenticator=Authenticator(tokens, static, webhook),
        allocator=Allocator(store),
        state=settings.state,
        url=url,
        webhook_calls=settings.webhook_calls,
    )
    customs = Customs(api)
    api.admission = Chain(api)
    return api, customs


def tls_context(state: Path) -> ssl.SSLContext:
    """TLS with the server's certificate; client certificates of the cluster's CA are verified."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(state / "pki" / "apiserver.crt", state / "pki" / "apiserver.key")
    context.load_verify_locations(state / "pki" / "ca.crt")
    # differs: a real server names the authorities whose client certificates it takes; Python's TLS
    # has no call for that, and clients send the certificate that their kubeconfig names.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _config(api: Api, state: Path) -> uvicorn.Config:
    config = uvicorn.Config(
        build(api),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=180,
        timeout_graceful_shutdown=2,
        backlog=_BACKLOG,
    )
    config.load()
    config.ssl = tls_context(state)
    return config


class _Server(uvicorn.Server):
    """uvicorn's server without its own signal handling."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def serve(settings: ServerSettings) -> None:
    """Run until a signal, or until the parent is gone."""
    state = settings.state
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    # While a thread works on a large object, the event loop gets its turn after this time.
    sys.setswitchinterval(_SWITCH_SECONDS)
    authority = Authority(state / "pki")
    authority.ensure(settings.host)
    listener = listen(settings)
    port = listener.getsockname()[1]
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    url = f"https://[{shown}]:{port}" if ":" in shown else f"https://{shown}:{port}"
    api, customs = build_api(settings, url)
    api.store.start()
    await create_defaults(api, port)
    customs.start()
    write_kubeconfigs(state, authority, url)
    if not (state / "pki" / f"{CLIENT}.crt").exists():
        authority.sign(CLIENT, "kube-apiserver-kubelet-client", ["system:masters"])
    server = _Server(_config(api, state))
    loop = asyncio.get_running_loop()
    exhaustion.watch(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, server)
    loop.add_signal_handler(signal.SIGUSR1, _compact_now, api)
    tasks = [loop.create_task(_tidy(api)), loop.create_task(_announce(server, state, url))]
    if settings.parent is not None:
        tasks.append(loop.create_task(_follow(server, settings.parent)))
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()
        # A clean stop cuts the log, as a restarted kube-apiserver has no past to replay either;
        # after a crash the log is still there and watchers resume.
        await api.store.compact()
        await api.admission.close()
        api.store.close()


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True
    for connection in list(server.server_state.connections):
        cycle = getattr(connection, "cycle", None)
        if cycle is not None and not cycle.response_complete and cycle.response_started:
            on_lost = getattr(connection, "on_lost", None)
            if on_lost is not None:
                on_lost()


def _compact_now(api: Api) -> None:
    task = asyncio.get_running_loop().create_task(api.store.compact())
    api.cache["compaction"] = task


async def _announce(server: uvicorn.Server, state: Path, url: str) -> None:
    while not server.started:
        await asyncio.sleep(0.005)
    write_private(state / "apiserver.json", orjson.dumps({"url": url, "pid": os.getpid()}).decode())
    print(f"The API server is ready: {url}", flush=True)


async def _tidy(api: Api) -> None:
    """Cut the log and expire events, again and again."""
    from labsandbox.apiserver.store.expiry import expire_events

    while True:
        await asyncio.sleep(_TIDY_SECONDS)
        try:
            await api.store.compact_older_than(_KEPT_SECONDS)
            await expire_events(api)
        except Exception:
            _LOG.exception("tidying the store failed; it is tried again")


async def _follow(server: uvicorn.Server, parent: int) -> None:
    await owner.until_gone(parent)
    _stop(server)
