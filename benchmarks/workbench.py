"""Measure the workbench: starting a run, a long history, a query endpoint, a million metric rows.

    python -m benchmarks.workbench [--seconds 5] [--rounds 8]

The query endpoint is that of the logistics workshop: the nearest match of a pattern of 4 points in
a series of 1,440. Its peer is the way such endpoints are often written: FastAPI, which reads the
series from its CSV at each call. Both are measured in the same run, with the same load generator.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.load import request_bytes
from benchmarks.report import Figure, save
from labapps.workbench.runs import new_run
from labapps.workbench.store import Store
from tests.labapps.pods import ROOT, address, eventually
from tests.labapps.workbench import Workbench, beside_a_cluster, order
from tests.sandbox.platform.program import environment, labsandbox
from tests.sandbox.platform.test_front_door import kubeconfig

HISTORY, ROWS, CONNECTIONS = 10_000, 1_000_000, 8
SCRIPT = "import time\nprint(time.time())\n"
SERIES = """
import numpy
T = numpy.cumsum(numpy.random.default_rng(3).normal(size=1440))
"""
PREDICT = (
    SERIES
    + """
from numpy.lib.stride_tricks import sliding_window_view
from labapps.workbench import track

WINDOWS = sliding_window_view(T, 4)
STD = WINDOWS.std(axis=1)
NORMAL = (WINDOWS - WINDOWS.mean(axis=1)[:, None]) / STD[:, None]

def predict(request):
    q = numpy.array(request["pattern"], dtype=float)
    scale = q.std()
    if q.size != 4 or not scale > 0:
        raise ValueError("pattern must be 4 numbers that are not all the same")
    # The distance of z-normalised windows follows from their correlation.
    products = NORMAL @ ((q - q.mean()) / scale)
    at = int(products.argmax())
    distance = float(numpy.sqrt(max(0.0, 2 * (4 - products[at]))))
    METRICS
    return {"nearest_neighbor": at, "distance": distance}

predict.quick = True
"""
)
PEER = """
import stumpy, numpy, pandas
from fastapi import FastAPI

app = FastAPI()

@app.post("/call")
def call(body: dict):
    series = pandas.read_csv("series.csv")["value"].to_numpy()
    profile = stumpy.mass(numpy.array(body["pattern"], dtype=float), series)
    return {"nearest_neighbor": int(profile.argmin())}
"""
BODY = b'{"pattern": [0.1, 0.9, 0.3, 0.7]}'
MEMORY = """
import asyncio, resource, sys
from pathlib import Path
from labapps.workbench.metrics import Metrics, Row

async def main(place, count):
    metrics, began = Metrics(Path(place)), 0
    for start in range(0, count, 10_000):
        rows = [Row(f"u{n}", f"crn{n % 4}", n, n + 5, True, {"n": n}) for n in
                range(start, start + 10_000)]
        await asyncio.gather(*(metrics.add(row) for row in rows))
        began = began or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = 0
    for number in range(4):
        token = 0
        while True:
            page = await metrics.read(f"crn{number}", 0, count, token, 10_000)
            seen += len(page["metrics"])
            if not page["next_page_token"]:
                break
            token = int(page["next_page_token"])
    metrics.close()
    print(seen, began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
Figures = list[Figure]


def start_of_a_run(bench: Workbench, rounds: int) -> Figure:
    """Compare the first line of a run with that of the bare script."""
    project = bench.project("start", first__py=SCRIPT)
    job = bench.job(project, "first.py")
    script = bench.folder / "first.py"
    script.write_text(SCRIPT)
    over: list[float] = []
    for _ in range(rounds):
        began = time.time()
        run = bench.run(project, job)
        bench.ended(project, job, run)
        log = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs/{run}/logs")["logs"]
        began_bare = time.time()
        bare = subprocess.check_output([sys.executable, str(script)])
        over.append((float(log) - began) - (float(bare) - began_bare))
    found = statistics.median(over)
    return Figure("first line of a run, over the bare script", found, "s", "at most 1 s",
                  found <= 1, "python first.py", rounds)  # fmt: skip


def history(bench: Workbench) -> Figures:
    """Measure create, list and get with ten thousand runs in the records."""
    project = bench.project("history", first__py=SCRIPT)
    job = bench.job(project, "first.py")
    bench.end(signal.SIGTERM)
    store = Store(bench.repository / "workbench/state/workbench/records.db")
    (record,) = [one for one in store.find("job", project) if one["id"] == job]
    with store.transaction():
        for number in range(HISTORY):
            run = new_run(f"old-{number}", record, {}) | {"status": "ENGINE_SUCCEEDED"}
            store.add("run", job, run)
    store.close()
    bench.start()
    jobs = f"/projects/{project}/jobs"
    body = {"script": "first.py", "cpu": "0.5"}
    verbs: dict[str, Any] = {
        "create": lambda n: bench.ask("POST", jobs, body | {"name": f"job {n}"}),
        "list": lambda n: bench.ask("GET", f"{jobs}/{job}/runs?page_size=50"),
        "get": lambda n: bench.ask("GET", f"{jobs}/{job}/runs/old-{n * 37}"),
    }
    found = []
    for name, act in verbs.items():
        times = []
        for number in range(100):
            began = time.perf_counter()
            act(number)
            times.append((time.perf_counter() - began) * 1000)
        half = statistics.median(times)
        found.append(Figure(f"{name}, p50 with {HISTORY:,} runs", half, "ms", "at most 10 ms",
                            half <= 10, "the client included", len(times)))  # fmt: skip
    return found


def load(folder: Path, host: str, seconds: float, server: psutil.Process) -> dict[str, float]:
    """Drive a server with the load generator; return its figures, its processor time included."""
    request = folder / "request"
    request.write_bytes(request_bytes(host, "/call", BODY))
    words = [sys.executable, "-m", "benchmarks.load", host, "8100", str(request)]
    words += ["--connections", str(CONNECTIONS), "--seconds", str(seconds)]
    before = server.cpu_times()
    found: dict[str, float] = json.loads(subprocess.check_output(words, cwd=ROOT))
    after = server.cpu_times()
    spent = after.user + after.system - before.user - before.system
    found["cpu"] = spent / found["requests"] * 1000
    if found["bad"]:
        raise RuntimeError(f"{found['bad']:g} answers were not 200.")
    return found


@contextlib.contextmanager
def program(words: list[str], host: str, port: int, **more: Any) -> Iterator[psutil.Process]:
    process = subprocess.Popen(words, **more)
    try:
        url = f"http://{host}:{port}/ready"
        eventually("the server", lambda: requests.get(url, timeout=5) is not None, 300)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def endpoint(folder: Path, seconds: float) -> Figures:
    """Compare the model server, without and with metrics, with the peer."""
    rates: dict[str, dict[str, float]] = {}
    for name, metric in (("without metrics", ""), ("with metrics", "track.metric('d', distance)")):
        build = folder / "workbench/builds" / name.replace(" ", "-")
        build.mkdir(parents=True)
        (build / "predict.py").write_text(PREDICT.replace("METRICS", metric or "pass"))
        host = address()
        env = {**os.environ, "PROJECT_REPO": str(folder), "POD_LISTEN_IP": host}
        env |= {"PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "labapps.workbench.replica", build.name]
        with program([*words, "predict.py:predict"], host, 8100, env=env) as server:
            rates[name] = load(folder, host, seconds, server)
    peer = folder / "peer"
    peer.mkdir()
    (peer / "peer.py").write_text(PEER)
    code = f"{SERIES}\nimport pandas\npandas.DataFrame({{'value': T}}).to_csv('series.csv')"
    subprocess.run([sys.executable, "-c", code], cwd=peer, check=True)
    host = address()
    words = [sys.executable, "-m", "uvicorn", "peer:app", "--host", host, "--port", "8100"]
    with program([*words, "--log-level", "error"], host, 8100, cwd=peer) as server:
        load(folder, host, 1, server)  # stumpy compiles at its first call
        rates["peer"] = load(folder, host, seconds, server)
    plain, rich = rates["without metrics"]["rate"], rates["with metrics"]["rate"]
    ratio = plain / rates["peer"]["rate"]
    against = f"{CONNECTIONS} connections"
    tail = rates["without metrics"]["p99"]
    return [
        Figure("model server, without metrics", plain, "req/s", "at least 6,000", plain >= 6000,
               against, 1),
        Figure("model server, p99", tail, "ms", "printed", True, against, 1),
        Figure("model server, with metrics", rich, "req/s", "at least 4,000", rich >= 4000,
               against, 1),
        Figure("processor time of a call", rates["without metrics"]["cpu"], "ms", "printed", True,
               against, 1),
        Figure("processor time of the peer's call over it",
               rates["peer"]["cpu"] / rates["without metrics"]["cpu"], "times", "at least 15",
               rates["peer"]["cpu"] / rates["without metrics"]["cpu"] >= 15,
               "the same; a busy machine changes it little", 1),
        Figure("model server over the peer", ratio, "times", "at least 15", ratio >= 15,
               "FastAPI that reads its CSV at each call", 1),
    ]  # fmt: skip


def gateway(folder: Path, seconds: float) -> Figures:
    """Call the model as a learner does: TLS gateway, workbench, one of two replicas, and back."""
    state = folder / "platform"
    labsandbox("up", "--state", str(state), "--detach", "--students", "1")
    try:
        env = environment(state)
        config = kubeconfig(env, folder, env["EZMERAL_USER"])
        with requests.Session() as session:
            bench = order(env, config, session)
            metric = PREDICT.replace("METRICS", "track.metric('d', distance)")
            project = bench.project("gateway", predict__py=metric)
            builds, made, build = bench.model(project, "nearest")
            crn = bench.ask("GET", bench.deploy(builds, build, replicas=2, cpu="2"))["crn"]
            host, _, port = bench.url.removeprefix("https://").rpartition(":")
            body = b'{"accessKey": "%s", "request": %s}' % (made["access_key"].encode(), BODY)
            token = {"Authorization": str(session.headers["Authorization"])}
            request = folder / "call"
            request.write_bytes(request_bytes(host, "/model", body, token))
            words = [sys.executable, "-m", "benchmarks.load", host, port, str(request)]
            words += ["--connections", str(4 * CONNECTIONS), "--seconds", str(seconds)]
            words += ["--ca", env["GATEWAY_CA"]]
            spent = processor_time(state)
            found = json.loads(subprocess.check_output(words, cwd=ROOT))
            spent = processor_time(state) - spent
            rows = len(bench.rows(crn))
    finally:
        labsandbox("down", "--state", str(state))
    if found["bad"] or rows < found["requests"]:
        raise RuntimeError(f"{found['bad']:g} answers were not 200; {rows} rows of {found}.")
    against, cost = f"{4 * CONNECTIONS} connections, two replicas", spent / found["requests"] * 1000
    limit = 1000 / cost * (os.cpu_count() or 1)
    return [
        Figure("through TLS gateway and balancer", found["rate"], "req/s", "at least 1,000",
               found["rate"] >= 1000, against, 1),
        Figure("through TLS gateway and balancer, p99", found["p99"], "ms", "printed", True,
               against, 1),
        Figure("processor time of such a call", cost, "ms", "printed", True,
               f"the whole platform; {limit:.0f} req/s on {os.cpu_count()} free cores", 1),
    ]  # fmt: skip


def processor_time(state: Path) -> float:
    """Return the processor seconds of a platform and of all its pods."""
    spent = 0.0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            if any(str(state) in word for word in words):
                times = process.cpu_times()
                spent += times.user + times.system
    return spent


def million(folder: Path) -> Figures:
    """Write a million rows, read them back in windows, and look at the memory."""
    began = time.perf_counter()
    words = [sys.executable, "-c", MEMORY, str(folder / "million.db"), str(ROWS)]
    seen, first, last = map(int, subprocess.check_output(words, cwd=ROOT).split())
    seconds = time.perf_counter() - began
    growth = (last - first) / 1024
    return [
        Figure("metric rows read back", seen, "rows", f"{ROWS:,}", seen == ROWS,
               f"{seconds:.0f} s for both", 1),
        Figure("memory grown over a million rows", growth, "MiB", "at most 64 MiB", growth <= 64,
               "after the first 10,000", 1),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = million(folder)
        figures += endpoint(folder, given.seconds)
        figures += gateway(folder, given.seconds)
        with beside_a_cluster(folder) as bench:
            figures.append(start_of_a_run(bench, given.rounds))
            figures += history(bench)
    save("workbench", figures)


if __name__ == "__main__":
    main()
