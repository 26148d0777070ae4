"""Compare the deployment engine with `mlflow models serve` and MLServer, on the same models.

    python -m benchmarks.serving [--rounds 3] [--seconds 2]

Everything runs on this machine's cores in one go, in alternating rounds; medians are compared.
Beside them runs the gradient boosting behind a plain ASGI application, which checks nothing, keeps
no counts and changes no model: it is what the engine's own work is compared with.
Prints a table and writes build/bench/serving.json.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.load import request_bytes
from benchmarks.report import Figure, save

CASES = {
    "1 row x 1": (1, 1),
    "1 row x 8": (1, 8),
    "1 row x 64": (1, 64),
    "100 rows x 1": (100, 1),
    "100 rows x 8": (100, 8),
    "100 rows x 64": (100, 64),
}
SMALL = {"1 row x 8": CASES["1 row x 8"], "100 rows x 8": CASES["100 rows x 8"]}
OTHERS = {"rf": "forest", "xgb": "XGBoost"}
Seen = dict[tuple[str, str], list[float]]


def load(
    server: peers.Server, body: bytes, connections: int, seconds: float, folder: Path
) -> dict[str, float]:
    """Drive a server from a process of its own."""
    file = folder / "request"
    file.write_bytes(request_bytes(server.host, server.path, body, server.headers))
    command = [sys.executable, "-m", "benchmarks.load", server.host, str(server.port), str(file)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=peers.ROOT)
    result: dict[str, float] = json.loads(done.stdout)
    if result["bad"]:
        raise RuntimeError(f"{server.name}: {result['bad']} bad answers: {done.stderr.decode()}")
    return result


def measure(
    server: peers.Server,
    rows: dict[str, Any],
    seen: Seen,
    options: argparse.Namespace,
    folder: Path,
    cases: dict[str, tuple[int, int]],
) -> None:
    """Take every figure of one started server."""
    seen[server.name, "cold start"].append(server.cold)
    for case, (count, connections) in cases.items():
        body = server.body(rows, count)
        load(server, body, connections, 0.5, folder)  # warm
        result = load(server, body, connections, options.seconds, folder)
        seen[server.name, f"{case} rate"].append(result["rate"])
        seen[server.name, f"{case} p99"].append(result["p99"])
        seen[server.name, f"{case} tail"].append(result["p99"] / result["p50"])
        seen[server.name, f"{case} mean"].append(result["mean"])
    seen[server.name, "memory"].append(server.memory())


def bare(rows: dict[str, Any], folder: Path, seconds: float, seen: Seen) -> None:
    """Measure what one prediction and one bare HTTP answer cost, in milliseconds."""
    code = (
        "import pickle,sys,time,warnings; warnings.simplefilter('ignore'); import numpy\n"
        "model = pickle.load(open(sys.argv[1], 'rb')); row = numpy.array([eval(sys.argv[2])])\n"
        "end = time.perf_counter() + float(sys.argv[3]); n = 0\n"
        "for _ in range(100): model.predict(row)\n"
        "began = time.perf_counter()\n"
        "while time.perf_counter() < end: model.predict(row); n += 1\n"
        "print((time.perf_counter() - began) / n * 1000)\n"
    )
    argv = [sys.executable, "-c", code, str(folder / "hgb.pkl"), repr(rows["data"][0])]
    env = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    took = subprocess.run([*argv, str(seconds)], capture_output=True, check=True, env=env)
    seen["bare", "predict"].append(float(took.stdout))
    port = peers.free_port()
    command = [sys.executable, "-m", "benchmarks.echo", peers.HOST, str(port)]
    env = {"PYTHONPATH": str(peers.ROOT)}
    with peers.running("echo", command, env, folder, rows, port=port, path="/") as echo:
        result = load(echo, echo.body(rows, 1), 1, seconds, folder)
        seen["bare", "echo"].append(result["mean"])


def fresh_model(server: peers.Server, folder: Path) -> float:
    """Return the seconds from a new ConfigMap in configmeta.json to its first answer."""
    models = {
        "hgb": {"path": "repo://project_repo/hgb.skops"},
        "fresh": {"path": "repo://project_repo/hgb.skops", "description": str(time.time())},
    }
    server.wait_idle()  # as when an engine has been up for a while: its libraries are imported
    began = time.perf_counter()
    peers.write_configmeta(folder / "pod", peers.configmeta(server.host, models))
    fresh = peers.Server(
        "fresh", server.process, server.host, server.port, "/fresh/1/invocations", server.headers
    )
    rows = json.loads((folder / "rows.json").read_text())
    while time.perf_counter() - began < 30:
        with contextlib.suppress(OSError):
            peers.ask(fresh, fresh.body(rows, 1))
            return time.perf_counter() - began
        time.sleep(0.005)
    raise RuntimeError("The fresh model never answered.")


SCRIPT = """
import json, pickle, sys
import pandas as pd
with open("/bd-fs-mnt/project_repo/hgb.pkl", "rb") as file:
    model = pickle.load(file)
row = pd.DataFrame([json.loads(sys.argv[1])])
print("The ride duration prediction is", model.predict(row)[0], "seconds.")
"""


def script_latency(server: peers.Server, rows: dict[str, Any], folder: Path) -> float:
    """Return the p50 in ms of the published script contract, one request after another."""
    repository = folder / "repository"
    (repository / "score.py").write_text(SCRIPT)
    (repository / "hgb.pkl").write_bytes((folder / "hgb.pkl").read_bytes())
    model = {"path": "repo://project_repo/hgb.pkl", "scoring-path": "repo://project_repo/score.py"}
    peers.write_configmeta(folder / "pod", peers.configmeta(server.host, {"script": model}))
    script = peers.Server(
        "script", server.process, server.host, server.port, "/script/1/predict", server.headers
    )
    args = dict(zip(rows["columns"], rows["data"][0], strict=True))
    body = json.dumps({"use_scoring": True, "scoring_args": args}).encode()
    end = time.perf_counter() + 30
    while True:
        try:
            peers.ask(script, body)
            break
        except OSError:
            if time.perf_counter() > end:
                raise
            time.sleep(0.05)
    times = []
    client = http.client.HTTPConnection(server.host, server.port, timeout=30)
    for number in range(60):
        began = time.perf_counter()
        client.request("POST", script.path, body, script.headers)
        reply = client.getresponse()
        reply.read()
        if reply.status != 200:
            raise RuntimeError(f"The script was answered with {reply.status}.")
        if number >= 10:
            times.append(time.perf_counter() - began)
        time.sleep(0.05)
    client.close()
    return statistics.median(times) * 1000


def run(options: argparse.Namespace, folder: Path) -> Seen:
    """Measure everything in alternating rounds."""
    rows = peers.prepare(folder)
    seen: Seen = defaultdict(list)
    servers: list[Callable[..., Any]] = [peers.engine, peers.mlflow, peers.mlserver, peers.plain]
    for number in range(options.rounds):
        bare(rows, folder, options.seconds, seen)
        for start in servers[number % 4 :] + servers[: number % 4]:
            with start(folder, "hgb", rows) as server:
                measure(server, rows, seen, options, folder, CASES)
                if server.name == "engine":
                    seen["engine", "fresh model"].append(fresh_model(server, folder))
                    seen["engine", "script p50"].append(script_latency(server, rows, folder))
            print(f"round {number + 1}: {start.__name__} done", flush=True)
        for model, name in OTHERS.items():
            found: Seen = defaultdict(list)
            for start in (peers.engine, peers.mlflow):
                with start(folder, model, rows) as server:
                    measure(server, rows, found, options, folder, SMALL)
            for (server_name, what), values in found.items():
                seen[f"{server_name} {name}", what] += values
    return seen


def judge(seen: Seen, rounds: int) -> list[Figure]:
    """Turn what was seen into figures with goals."""

    def median(name: str, what: str) -> float:
        return statistics.median(seen[name, what])

    def paired(one: tuple[str, str], other: tuple[str, str]) -> float:
        return statistics.median(a / b for a, b in zip(seen[one], seen[other], strict=True))

    figures = []
    for what, unit in [
        (f"{c} {k}", u) for c in CASES for k, u in (("rate", "1/s"), ("p99", "ms"))
    ] + [("cold start", "s"), ("memory", "MB")]:
        more = what.endswith("rate")
        values = {n: median(n, what) for n in ("engine", "mlflow", "mlserver")}
        best = (
            max(values["mlflow"], values["mlserver"])
            if more
            else min(values["mlflow"], values["mlserver"])
        )
        against = f"mlflow {values['mlflow']:.4g}, MLServer {values['mlserver']:.4g} {unit}"
        met = values["engine"] >= best if more else values["engine"] <= best
        figures.append(
            Figure(
                f"{what}, gradient boosting", values["engine"], unit, "first", met, against, rounds
            )
        )
    goals = [("", "1 row x 64", 20.0), ("", "1 row x 8", 4.5)]
    for name in OTHERS.values():
        goals += [(name, "1 row x 8", 20.0), (name, "100 rows x 8", 1.0)]
    for name, what, goal in goals:
        ours, theirs = (f"{server} {name}".rstrip() for server in ("engine", "mlflow"))
        value = paired((ours, f"{what} rate"), (theirs, f"{what} rate"))
        figures.append(
            Figure(
                ", ".join(filter(None, [what, name, "requests/s"])),
                value,
                "x mlflow",
                f">= {goal:g}",
                value >= goal,
                "mlflow models serve",
                rounds,
            )
        )
    for what in CASES:
        value = paired(("engine", f"{what} rate"), ("plain", f"{what} rate"))
        figures.append(
            Figure(f"{what}, requests/s", value, "x plain", "-", True, "plain ASGI", rounds)
        )
    value = median("engine", "1 row x 8 tail")
    figures.append(Figure("1 row x 8, p99 ÷ p50", value, "x", "<= 3", value <= 3, "own", rounds))
    sums = [p + e for p, e in zip(seen["bare", "predict"], seen["bare", "echo"], strict=True)]
    value = statistics.median(
        m / s for m, s in zip(seen["engine", "1 row x 1 mean"], sums, strict=True)
    )
    figures.append(
        Figure(
            "1 row x 1, time",
            value,
            "x bare",
            "<= 1.5",
            value <= 1.5,
            f"predict {median('bare', 'predict'):.3f} + echo {median('bare', 'echo'):.3f} ms",
            rounds,
        )
    )
    value = median("engine", "fresh model")
    figures.append(
        Figure(
            "fresh model answers after",
            value,
            "s",
            "<= 1",
            value <= 1,
            "configmeta.json written",
            rounds,
        )
    )
    value = median("engine", "script p50")
    figures.append(
        Figure(
            "published script, p50",
            value,
            "ms",
            "< 15",
            value < 15,
            "a new interpreter: seconds",
            rounds,
        )
    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as place:
        seen = run(options, Path(place))
    save("serving", judge(seen, options.rounds))


if __name__ == "__main__":
    main()
