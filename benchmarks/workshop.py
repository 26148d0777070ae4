"""Replay a workshop from an empty platform, with the labs of others that it needs.

    python -m benchmarks.workshop [--workshop logistics] [--limit 300]

One `labs replay --only …` on a platform of its own: what a learner waits for, and how much memory
the largest kernel takes. The goal of the logistics workshop: ten labs in at most five minutes on
two cores, in at most 3 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, save
from labrunner.curriculum import load

MOST_MEMORY = 3000.0


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workshop", default="logistics")
    parser.add_argument("--limit", type=float, default=300.0)
    asked = parser.parse_args()
    curriculum = load()
    own = {lab.id for lab in curriculum.labs_of(asked.workshop)}
    wanted = set(own)
    while more := {n for lab in curriculum.labs if lab.id in wanted for n in lab.needs} - wanted:
        wanted |= more
    labs = [lab.id for lab in curriculum.labs if lab.id in wanted and lab.kind == "lab"]
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(sys.executable).with_name("labs"))
        words = [program, "replay", "--only", ",".join(labs), "--out", folder]
        begun = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        spent = time.perf_counter() - begun
        if done.returncode:
            sys.exit(done.stdout[-3000:] + done.stderr[-1000:])
        report = json.loads((Path(folder) / "report.json").read_text("utf-8"))["labs"]
    of_labs = sum(lab["seconds"] for lab in report if lab["lab"] in own)
    memory = max(lab["peak"] for lab in report) / 1e6
    slowest = max(report, key=lambda lab: float(lab["seconds"]))
    against = f"the slowest: {slowest['lab']}, {slowest['seconds']:.0f} s"
    whole = f"platform and {len(labs) - len(own)} labs of others included: {spent:.0f} s"
    save(
        "workshop",
        [
            Figure(f"{len(own)} labs of {asked.workshop}", of_labs, "s", f"<= {asked.limit:g} s",
                   of_labs <= asked.limit, f"{against}; {whole}", 1),
            Figure("the largest kernel", memory, "MB", f"<= {MOST_MEMORY:g} MB",
                   memory <= MOST_MEMORY, against, 1),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
