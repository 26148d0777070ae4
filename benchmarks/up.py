"""How long `labsandbox up` takes, from nothing and from a kept state, against a limit of 1.5 s.

What is compared: the whole command, as a learner types it, until it returns and a sign-in works.
The limit is what a quiet machine has shown: there is no other platform of this kind to race.
`python -m benchmarks.up [--rounds 5]`
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import Figure, save

LIMIT_SECONDS, LIMIT_MEMORY = 1.5, 120.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    fresh, again, memory = [], [], []
    for _ in range(rounds):
        folder = Path(tempfile.mkdtemp(prefix="up-"))
        try:
            fresh.append(_up(folder / "state"))
            memory.append(_memory(folder / "state"))
            _labsandbox("down", folder / "state")
            again.append(_up(folder / "state"))
        finally:
            _labsandbox("down", folder / "state")
            shutil.rmtree(folder)
    save(
        "up",
        [
            _figure("from nothing", fresh, "s", LIMIT_SECONDS),
            _figure("from a kept state", again, "s", LIMIT_SECONDS),
            _figure("memory when ready", memory, "MB", LIMIT_MEMORY),
        ],
    )


def _figure(name: str, values: list[float], unit: str, limit: float) -> Figure:
    middle = statistics.median(values)
    return Figure(
        name, middle, unit, f"under {limit:g} {unit}", middle < limit, "a limit", len(values)
    )


def _up(state: Path) -> float:
    begun = time.perf_counter()
    _labsandbox("up", state, "--detach")
    return time.perf_counter() - begun


def _labsandbox(verb: str, state: Path, *words: str) -> None:
    command = [str(Path(sys.executable).with_name("labsandbox")), verb, "--state", str(state)]
    subprocess.run([*command, *words], check=True, capture_output=True)


def _memory(state: Path) -> float:
    """Return the proportional memory of the platform's own two processes, in MB."""
    pid = json.loads((state / "platform.json").read_text())["pid"]
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    return sum(member.memory_full_info().pss for member in family) / 1e6


if __name__ == "__main__":
    main()
