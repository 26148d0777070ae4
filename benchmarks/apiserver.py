"""Load an API server: any address, this project's by default, the real one's figures beside it.

    python -m benchmarks.apiserver                       # starts one in a temporary folder
    python -m benchmarks.apiserver --url U --ca F --token T     # loads the server at U

Requests go over TLS connections that stay open, from the standard library's client, so the same
script measures a kube-apiserver with etcd. `KUBE` holds that one's figures on two shared cores.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import selectors
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.report import Figure, save

# p50 and p99 in ms of kube-apiserver + etcd, best and worst of four runs of such a client
KUBE = {
    "create": ((2.1, 3.0), (7.1, 23.4)),
    "get": ((1.0, 1.2), (2.1, 6.4)),
    "patch": ((2.3, 4.3), (10.0, 52.0)),
    "list 1000": ((7.6, 9.8), (12.0, 522.0)),
}
OWN = {"create": 1.0, "get": 0.2, "patch": 1.0}  # p50 in ms, as a quiet machine has shown it
KUBE_CREATE_C8 = (340, 1212)
NAMESPACE = "bench"
EVENTS_PER_SECOND = 2000
BASE = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Server:
    """Where to send requests, and how to sign in."""

    url: str
    ca: str
    token: str | None = None
    certificate: tuple[str, str] | None = None

    def connect(self) -> Connection:
        return Connection(self)


class Connection:
    """One kept-open connection."""

    def __init__(self, server: Server) -> None:
        context = ssl.create_default_context(cafile=server.ca)
        if server.certificate is not None:
            context.load_cert_chain(*server.certificate)
        parts = urlsplit(server.url)
        self._http = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context)
        self._headers = {"Accept": "application/json"}
        if server.token:
            self._headers["Authorization"] = f"Bearer {server.token}"

    def __call__(
        self, method: str, path: str, body: object = None, media: str = "application/json"
    ) -> tuple[int, bytes]:
        headers = dict(self._headers)
        data = None
        if body is not None:
            headers["Content-Type"] = media
            data = json.dumps(body)
        self._http.request(method, path, data, headers)
        response = self._http.getresponse()
        return response.status, response.read()

    def stream(self, path: str) -> http.client.HTTPResponse:
        self._http.request("GET", path, headers=self._headers)
        return self._http.getresponse()

    def unblocked(self) -> socket.socket:
        """Return the connection's socket, to be read whenever there is something."""
        self._http.sock.setblocking(False)
        return self._http.sock


def config_map(name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"value": "x" * 200},
    }


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def timed(count: int, call: Callable[[int], tuple[int, bytes]]) -> list[float]:
    """Milliseconds of `count` calls; an unexpected status ends the run."""
    found = []
    for at in range(count):
        begun = time.perf_counter()
        status, body = call(at)
        found.append((time.perf_counter() - begun) * 1000)
        if status >= 300:
            raise SystemExit(f"expected a success, found {status}: {body[:300]!r}")
    return found


def spread(server: Server, workers: int, count: int, prefix: str) -> float:
    """Creates per second over `workers` connections."""
    connections = [server.connect() for _ in range(workers)]

    def work(number: int) -> None:
        timed(
            count,
            lambda at: connections[number]("POST", BASE, config_map(f"{prefix}-{number}-{at}")),
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return workers * count / (time.perf_counter() - begun)


def watch_delays(server: Server, watchers: int, writes: int) -> list[float]:
    """Milliseconds from just before a create until each watcher has the event."""
    _, body = server.connect()("GET", f"{BASE}?limit=1")
    revision = json.loads(body)["metadata"]["resourceVersion"]
    path = f"{BASE}?watch=1&resourceVersion={revision}&timeoutSeconds=120"
    # One thread reads them all: with a thread each, they would wait for the interpreter's lock.
    selector = selectors.DefaultSelector()
    for _ in range(watchers):
        follower = server.connect()
        stream, wire = follower.stream(path), follower.unblocked()
        selector.register(wire, selectors.EVENT_READ, (stream, wire, bytearray()))
    sent: dict[bytes, float] = {}

    def write() -> None:
        writer = server.connect()
        for at in range(writes):
            name = f"watched-{watchers}-{at}"
            sent[name.encode()] = time.perf_counter()
            writer("POST", BASE, config_map(name))
            time.sleep(watchers / EVENTS_PER_SECOND)

    threading.Thread(target=write, daemon=True).start()
    delays: list[float] = []
    while len(delays) < watchers * writes:
        ready = selector.select(30)
        if not ready:
            raise SystemExit(f"expected {watchers * writes} events, found {len(delays)}")
        for key, _ in ready:
            _, wire, read = key.data
            with contextlib.suppress(ssl.SSLWantReadError):
                while some := wire.recv(1 << 16):
                    read += some
                raise SystemExit("expected a watch that goes on, found its end")
            now = time.perf_counter()
            # Found by search: parsing all events would measure this client, not the server.
            found = list(re.finditer(rb'"name":"(watched-\d+-\d+)"', read))
            delays += [(now - sent[one[1]]) * 1000 for one in found]
            if found:
                del read[: found[-1].end()]  # what follows may be the begin of another
    return delays


class Own:
    """This project's server in a temporary folder."""

    def __init__(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="bench-apiserver-"))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; returns seconds until it said it was ready."""
        begun = time.perf_counter()
        command = [sys.executable, "-m", "labsandbox.apiserver", "--state", str(self.state)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if b"ready" not in line:
            raise SystemExit("the server did not start")
        return time.perf_counter() - begun

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)

    def memory(self) -> float:
        assert self.process is not None
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    @property
    def server(self) -> Server:
        found = json.loads((self.state / "apiserver.json").read_text())
        pki = self.state / "pki"
        stem = str(pki / "client-kubernetes-admin")
        return Server(found["url"], str(pki / "ca.crt"), None, (f"{stem}.crt", f"{stem}.key"))


def latency(name: str, values: list[float]) -> list[Figure]:
    """Two figures: p50 as it was, or 1.5 times the real server's; p99 no worse than twice its."""
    (best, worst), (_, worst99) = KUBE[name]
    p50, p99 = statistics.median(values), percentile(values, 0.99)
    shown = f"kube-apiserver {best}-{worst} ms"
    goal = OWN.get(name, 1.5 * best)
    found = [Figure(f"{name} p50", p50, "ms", f"<= {goal:.3g} ms", p50 <= goal, shown, len(values))]
    if not name.startswith("list"):
        limit = 2 * worst99
        found.append(
            Figure(f"{name} p99", p99, "ms", f"<= {limit:.3g} ms", p99 <= limit,
                   f"kube-apiserver up to {worst99} ms", len(values))
        )  # fmt: skip
    return found


def load(server: Server, count: int) -> list[Figure]:
    """Every operation on one server."""
    call = server.connect()
    call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    mark = f"{os.getpid()}-{int(time.time())}"
    timed(50, lambda at: call("POST", BASE, config_map(f"warm-{mark}-{at}")))
    created = timed(count, lambda at: call("POST", BASE, config_map(f"c-{mark}-{at}")))
    got = timed(count, lambda at: call("GET", f"{BASE}/c-{mark}-{at}"))
    patched = timed(
        count,
        lambda at: call("PATCH", f"{BASE}/c-{mark}-{at}", {"data": {"n": str(at)}}, MERGE),
    )
    figures = latency("create", created) + latency("get", got) + latency("patch", patched)
    rate = spread(server, 8, max(count // 8, 50), f"s-{mark}")
    shown = f"kube-apiserver {KUBE_CREATE_C8[0]}-{KUBE_CREATE_C8[1]}"
    figures.append(
        Figure("create, 8 clients", rate, "/s", f">= {KUBE_CREATE_C8[0]} /s",
               rate >= KUBE_CREATE_C8[0], shown, max(count // 8, 50) * 8)
    )  # fmt: skip
    many = f"/api/v1/namespaces/{NAMESPACE}-list"
    call("POST", "/api/v1/namespaces", {"metadata": {"name": f"{NAMESPACE}-list"}})
    timed(1000, lambda at: call("POST", f"{many}/configmaps", config_map(f"l-{mark}-{at}")))
    listed = timed(30, lambda at: call("GET", f"{many}/configmaps?limit=1000"))
    figures += latency("list 1000", listed)
    for watchers, goal in ((100, 20), (500, 100)):
        delays = watch_delays(server, watchers, 20)
        p99 = percentile(delays, 0.99)
        figures.append(
            Figure(f"watch, {watchers} watchers: p99 of delivery", p99, "ms", f"<= {goal} ms",
                   p99 <= goal, "kube-apiserver, 50 watchers: 10.6-41 ms", len(delays))
        )  # fmt: skip
    return figures


def full_store(
    own: Own, objects: str, kube_ready: str, most: float, kube_memory: str, idle: float
) -> list[Figure]:
    """Start again with what is stored; return how long that took, its memory, and a whole list."""
    own.stop()
    ready = own.start()
    used = own.memory()
    call = own.server.connect()
    count = len(json.loads(call("GET", BASE)[1])["items"])
    listed = statistics.median(timed(5, lambda _: call("GET", BASE)))
    paged = call("GET", f"{BASE}?limit=500")[1]
    pages = timed(30, lambda _: call("GET", f"{BASE}?limit=500"))
    assert json.loads(paged)["metadata"]["continue"]
    each = (used - idle) * 2**10 / count
    return [
        Figure(f"ready, {objects}", ready, "s", "<= 2 s", ready <= 2, kube_ready, 1),
        Figure(f"memory, {objects}", used, "MiB", f"<= {most:g} MiB", used <= most, kube_memory, 1),
        Figure(f"memory of an object, {objects}", each, "KiB", "-", True, f"{count:,} listed", 1),
        Figure(f"list of all, {objects}", listed, "ms", "-", True, f"{count:,} listed", 5),
        Figure(f"a page of 500, {objects}", statistics.median(pages), "ms", "-", True, "", 30),
    ]


def own_figures(count: int) -> list[Figure]:
    """The load, and what only a server we start ourselves can show."""
    own = Own()
    try:
        empty = own.start()
        own.stop()
        again = own.start()
        figures = [
            Figure("ready, first start", empty, "s", "<= 1 s", empty <= 1, "kube 3.4-4.3 s", 1),
            Figure("ready, empty store", again, "s", "<= 0.4 s", again <= 0.4, "kube 3.4-4.3 s", 1),
        ]
        idle = own.memory()
        figures.append(
            Figure("memory, idle", idle, "MiB", "<= 120 MiB", idle <= 120, "kube 298-308 MiB", 1)
        )
        figures += load(own.server, count)
        spread(own.server, 8, 1000, "many")
        figures += full_store(own, "10,000 objects", "kube 3.9-4.9 s", 120, "kube 415 MiB", idle)
        spread(own.server, 8, 5000, "more")
        figures += full_store(own, "50,000 objects", "a limit", 400, "a limit", idle)
        return figures
    finally:
        own.stop(signal.SIGKILL)
        shutil.rmtree(own.state, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Load an API server and print its figures.")
    parser.add_argument("--url", help="address of a running server; without it one is started")
    parser.add_argument("--ca", help="its CA file")
    parser.add_argument("--token", help="a bearer token that may write ConfigMaps")
    parser.add_argument("--count", type=int, default=500, help="requests per operation")
    options = parser.parse_args()
    if options.url:
        figures = load(Server(options.url, options.ca, options.token), options.count)
    else:
        figures = own_figures(options.count)
    save("apiserver", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
