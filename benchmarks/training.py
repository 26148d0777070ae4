"""Measure the training engine: from submit to running, and a full queue over a kill -9.

    python -m benchmarks.training [--rounds 20] [--jobs 200]

The time to run is taken by the job's own first line. A second figure compares it with what the
same line costs in a new interpreter that imports the same libraries.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, save
from tests.labapps.pods import TOKEN, Cluster, eventually, running

IMPORTS = "import numpy, pandas, sklearn.ensemble, xgboost, time\n"


def ask(url: str, body: Any = None) -> Any:
    """Ask the engine; return its answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Auth-Token": TOKEN, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as reply:
        return json.loads(reply.read())


def job(base: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = ask(f"{base}/history/{number}")[0]
    return found


def ended(base: str, number: int) -> dict[str, Any]:
    """Return a job once it has ended."""

    def look() -> Any:
        found = job(base, number)
        return found if found["finished"] else None

    found: dict[str, Any] = eventually(f"job {number} to end", look, 300)
    return found


def submit_to_running(base: str) -> float:
    """Return the milliseconds from before the submit to the job's first line."""
    began = time.time()
    number = ask(f"{base}/train", {"code": f"{IMPORTS}print(time.time())"})["id"]
    found = ended(base, number)
    if found["status"] != "Finished":
        raise RuntimeError(f"Job {number}: {found}")
    return (float(found["output"]) - began) * 1000


def new_interpreter() -> float:
    """Return the milliseconds until a new interpreter has the same libraries."""
    began = time.time()
    command = [sys.executable, "-c", f"{IMPORTS}print(time.time())"]
    done = subprocess.run(command, capture_output=True, check=True)
    return (float(done.stdout) - began) * 1000


def survive(cluster: Cluster, base: str, jobs: int) -> tuple[int, float]:
    """Queue jobs, kill the engine, start it again; return how many were lost, and jobs/s."""
    code = "open('ran', 'a').write('x')"
    numbers = [
        ask(f"{base}/train", {"code": code, "user": f"user{n % 30}"})["id"] for n in range(jobs)
    ]
    engine = cluster.pods["LoadBalancer"][0]
    engine.stop(9)
    began = time.perf_counter()
    engine.start()
    eventually("the engine to be back", lambda: ask(f"{base}/health"))
    lost = 0
    for number in numbers:
        found = ended(base, number)
        lost += (Path(found["folder"]) / "ran").read_text() != "x"
    return lost, jobs / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-training-") as folder:
        cluster = Cluster(Path(folder), "training", {"LoadBalancer": 1, "RESTServer": 1})
        with running(cluster):
            cluster.settle(120)
            base = f"http://{cluster.pods['LoadBalancer'][0].ip}:10001"
            waits = [submit_to_running(base) for _ in range(options.rounds)]
            fresh = [new_interpreter() for _ in range(3)]
            lost, rate = survive(cluster, base, options.jobs)
    wait, interpreter = statistics.median(waits), statistics.median(fresh)
    worst = sorted(waits)[int(len(waits) * 0.95)]
    count, jobs = len(waits), options.jobs
    against = f"a new interpreter: {interpreter:.0f} ms"
    save(
        "training",
        [
            Figure("submit to running, p50", wait, "ms", "< 150", wait < 150, against, count),
            Figure(
                "submit to running, p95", worst, "ms", "< 150", worst < 150, against, len(waits)
            ),
            Figure(
                "queued jobs lost", lost, "", "0", lost == 0, "kill -9 of the engine", options.jobs
            ),
            Figure("jobs after the kill", rate, "1/s", "-", True, "2 slots", jobs),
        ],
    )


if __name__ == "__main__":
    main()
