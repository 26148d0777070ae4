"""Measure the tracking server and what is served from its registry, against MLflow's own ways.

    python -m benchmarks.tracking [--runs 60] [--moves 10] [--seconds 2] [--rounds 1]

The server against `mlflow server` as its documentation shows it; runs and models over REST against
a SQLite file without a server; an alias that moves; and the deployment engine against
`mlflow models serve` and MLServer on one registered model. All in one go on this machine's cores;
ratios are compared. MLServer is installed into an environment of its own, `build/bench-env`.
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
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import peers, serving
from benchmarks.report import Figure, save
from tests.labapps.pods import ROOT, TOKEN, Cluster, Pod, call, eventually, running
from tests.labapps.test_registered import NAMES, ROWS, House

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PYTHONWARNINGS": "ignore",
}
CLIENT = """
import json, sys, time
import mlflow
from mlflow.entities import Metric, Param
from sklearn.linear_model import Ridge

client, count = mlflow.MlflowClient(), int(sys.argv[1])
experiment = client.create_experiment("bench")
def run(number):
    made = client.create_run(experiment).info.run_id
    client.log_batch(made, [Metric(f"m{n}", n, 1, 0) for n in range(5)],
                     [Param(f"p{n}", str(n)) for n in range(5)])
    client.set_terminated(made)
run(0)
began = time.perf_counter()
for number in range(count):
    run(number)
rate = count / (time.perf_counter() - began)
mlflow.set_experiment("bench")
model, took = Ridge().fit([[0.0], [1.0]], [0.0, 1.0]), []
for number in range(8):
    began = time.perf_counter()
    with mlflow.start_run():
        mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"],
                                 registered_model_name="bench")
    took.append(time.perf_counter() - began)
print(json.dumps({"rate": rate, "register": sorted(took[1:])[3]}))
"""
Seen = dict[str, list[float]]


def client(uri: str, runs: int, folder: Path) -> dict[str, float]:
    """Log runs and register models from a process of its own."""
    env = os.environ | QUIET | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": TOKEN}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(runs)], env=env, cwd=folder, capture_output=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def documented(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start `mlflow server` as documented; end it with all that it started."""
    port = peers.free_port()
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", peers.HOST]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(
        command, env=os.environ | QUIET, cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process, f"http://{peers.HOST}:{port}"
    finally:
        # Its job runner's processes have groups of their own, and outlive their parent.
        below = [] if process.poll() is not None else psutil.Process(process.pid).children(True)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
        for one in below:
            with contextlib.suppress(psutil.Error):
                one.kill()


def weigh(process: subprocess.Popen[bytes]) -> tuple[float, float, int]:
    """Return MB (PSS), CPU seconds and how many processes a server has."""
    top = psutil.Process(process.pid)
    memory = cpu = 0.0
    count = 0
    for one in [top, *top.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            memory += one.memory_full_info().pss / 1e6
            cpu += sum(one.cpu_times()[:2])
            count += 1
    return memory, cpu, count


def first_search(url: str) -> bool:
    """Tell whether the server answers, its schema included."""
    body = {"max_results": 1}
    return call(f"{url}/api/2.0/mlflow/experiments/search", body)[0] == 200


def starts(name: str, process: subprocess.Popen[bytes], url: str, began: float, seen: Seen) -> None:
    """Note how long a server took until its first answer, and what it weighs then."""
    eventually(f"{name} to answer", lambda: first_search(url), 900)
    seen[f"{name} ready"].append(time.perf_counter() - began)
    memory, cpu, count = weigh(process)
    seen[f"{name} memory"].append(memory)
    seen[f"{name} cpu"].append(cpu)
    seen[f"{name} processes"].append(count)


def pod_of(cluster: Cluster) -> Pod:
    return cluster.pods["controller"][0]


def servers(options: argparse.Namespace, seen: Seen) -> None:
    """Start each server, and log to ours and to a file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        with documented(folder) as (process, url):
            starts("mlflow server", process, url, began, seen)
        began = time.perf_counter()
        with running(Cluster(folder / "ours", "mlflow", {"controller": 1})) as cluster:
            own = pod_of(cluster).process
            assert own is not None
            url = f"http://{pod_of(cluster).ip}:5000"
            starts("ours", own, url, began, seen)
            for place, uri in {"REST": url, "file": f"sqlite:///{folder / 'direct.db'}"}.items():
                found = client(uri, options.runs, folder)
                seen[f"{place} rate"].append(found["rate"])
                seen[f"{place} register"].append(found["register"])
            began = time.perf_counter()
            pod_of(cluster).stop()
            seen["ours stop"].append(time.perf_counter() - began)


@contextlib.contextmanager
def registered(folder: Path) -> Iterator[House]:
    """Start a tracking server with models, and one engine that follows an alias."""
    mlflow = Cluster(folder / "mlflow", "mlflow", {"controller": 1})
    with running(mlflow):
        mlflow.settle(300)
        url = f"http://{pod_of(mlflow).ip}:5000"
        env = os.environ | QUIET | {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": TOKEN}
        program = [sys.executable, "-m", "tests.labapps.registry", str(folder / "canary")]
        env["PYTHONPATH"] = str(ROOT)
        subprocess.run(
            [*program, json.dumps(ROWS)], env=env, cwd=folder, check=True, capture_output=True
        )
        engine = Cluster(folder / "engine", "deployment", {"LoadBalancer": 1, "RESTServer": 1})
        service = {"endpoints": [url], "authToken": TOKEN}
        roles = {"controller": {"services": {"mlflow-server": service}}}
        engine.clusters = {"mlflow-x": {"nodegroups": {"1": {"roles": roles}}}}
        data = {"model-uri": "models:/wine@champion"}
        engine.configmaps["model"] = [{"metadata": {"name": "wine"}, "data": data}]
        house = House(mlflow, engine, folder / "canary", {})
        house.move("linear")
        with running(engine):
            engine.settle(300)
            house.wait("linear")
            yield house


def moves(house: House, count: int, seen: Seen) -> None:
    """Time from the move of an alias to the first answer of the version that it means now."""
    numbers = {"linear": "1", "xgboost": "4"}
    for turn in range(count):
        name = ("xgboost", "linear")[turn % 2]
        began = time.perf_counter()
        house.move(name)
        while house.predict()[1].get("registered") != numbers[name]:
            time.sleep(0.002)
        seen["alias move"].append(time.perf_counter() - began)
        house.wait(name)


def against_others(house: House, options: argparse.Namespace, folder: Path, seen: Seen) -> None:
    """Drive the engine, `mlflow models serve` and MLServer with one registered model, in turns."""
    url, port = f"http://{pod_of(house.mlflow).ip}:5000", peers.free_port()
    body = json.dumps({"dataframe_split": {"columns": NAMES, "data": ROWS[:1]}}).encode()
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve"]
    command += ["-m", "models:/wine/1", "--env-manager", "local", "-p", str(port), "-h", peers.HOST]
    env = QUIET | {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": TOKEN}
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    pod = house.engine.pods["RESTServer"][0]
    assert pod.process is not None
    key = {"X-Auth-Token": TOKEN}
    path = "/wine/champion/invocations"
    engine = peers.Server("engine", pod.process, pod.ip, 10001, path, key)
    rows: dict[str, Any] = {"columns": NAMES, "data": ROWS}
    fetch = [
        command[0],
        "artifacts",
        "download",
        "-u",
        "models:/wine/1",
        "-d",
        str(folder / "wine"),
    ]
    subprocess.run(fetch, env=os.environ | env, check=True, capture_output=True)
    scorer = peers.running("scorer", command, env, folder, rows, port=port, path="/invocations")
    with scorer as other, peers.mlserver_of_mlflow(folder / "wine", folder, rows) as third:
        for connections in (1, 8, 64):
            for server in (engine, other, third):
                serving.load(server, body, connections, 0.5, folder)
                found = serving.load(server, body, connections, options.seconds, folder)
                seen[f"{server.name} {connections}"].append(found["rate"])


def report(seen: Seen) -> list[Figure]:
    """Return the figures: ratios, and the few absolute limits that the labs rely on."""
    mid = {name: statistics.median(values) for name, values in seen.items()}
    rounds = len(seen["ours ready"])
    documented = "mlflow server"

    def ratio(name: str, value: float, least: float, against: str) -> Figure:
        return Figure(name, value, "times", f">= {least:g}", value >= least, against, rounds)

    def limit(name: str, value: float, unit: str, most: float, against: str) -> Figure:
        return Figure(name, value, unit, f"<= {most:g}", value <= most, against, rounds)

    figures = [
        ratio("ready sooner", mid[f"{documented} ready"] / mid["ours ready"], 2, documented),
        ratio("less CPU to start", mid[f"{documented} cpu"] / mid["ours cpu"], 3, documented),
        ratio("less memory", mid[f"{documented} memory"] / mid["ours memory"], 3, documented),
        limit("ready", mid["ours ready"], "s", 6, f"{mid[f'{documented} ready']:.1f} s"),
        limit("memory", mid["ours memory"], "MB", 300, f"{mid[f'{documented} memory']:.0f} MB"),
        limit("processes", mid["ours processes"], "", 1, f"{mid[f'{documented} processes']:.0f}"),
        limit("end after SIGTERM", mid["ours stop"], "s", 2, "a limit"),
        ratio(
            "runs over REST", mid["REST rate"] / mid["file rate"], 0.25,
            f"a SQLite file: {mid['REST rate']:.0f} against {mid['file rate']:.0f} a second",
        ),
        ratio(
            "log and register over REST", mid["file register"] / mid["REST register"], 0.2,
            f"a file: {mid['REST register'] * 1e3:.0f} ms against "
            f"{mid['file register'] * 1e3:.0f}",
        ),
        limit("alias moved, first answer", mid["alias move"], "s", 1, "a limit"),
    ]  # fmt: skip
    for connections, least in ((1, 2.0), (8, 5.0), (64, 20.0)):
        ours = mid[f"engine {connections}"]
        for name, peer in (("scorer", "mlflow models serve"), ("MLServer", "MLServer")):
            theirs = mid[f"{name} {connections}"]
            told = f"{ours:.0f} against {theirs:.0f} a second"
            figures.append(ratio(f"engine at {connections}: {peer}", ours / theirs, least, told))
    load = os.getloadavg()[0]
    figures.append(Figure("load of this machine", load, "programs", "told", True, "", rounds))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    peers.ensure_peers()
    seen: Seen = defaultdict(list)
    for _ in range(options.rounds):
        servers(options, seen)
        with tempfile.TemporaryDirectory() as name, registered(Path(name)) as house:
            moves(house, options.moves, seen)
            against_others(house, options, Path(name), seen)
    save("tracking", report(seen))


if __name__ == "__main__":
    main()
