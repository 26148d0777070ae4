"""Compare the replay of a lab with the same code as a plain script.

    python -m benchmarks.replay [--lab core/03] [--rounds 3] [--set name=value]

What is compared: `labs replay` (process, kernel, checkpoints, executed notebook, pages, report)
against `python script.py` with all code cells of the lab one after the other, in the same
environment, in alternating rounds. The goal of the replay: 1.10 times the script plus 1 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, save
from labrunner import settings
from labrunner.curriculum import Curriculum, Lab, load
from labrunner.notebook import cells_of

FACTOR, EXTRA = 1.10, 1.0


def script_of(curriculum: Curriculum, lab: Lab, values: dict[str, object]) -> str:
    """Return the code cells of a lab as one script, with the given parameters."""
    parts = []
    for cell in cells_of(curriculum, lab):
        if cell.kind == "code":
            parts.append(cell.text)
            if "parameters" in cell.tags:
                parts += [f"{name} = {value!r}" for name, value in values.items()]
    return "\n\n".join(parts) + "\n"


def seconds_of(command: list[str], folder: Path, place: Path) -> float:
    """Run a command with a home and a project repository of its own; return its seconds."""
    environment = {**os.environ, "LABS_HOME": str(place / "home")}
    environment.update(PROJECT_REPO=str(place / "project"), MPLBACKEND="agg")
    (place / "project").mkdir(parents=True)
    begun = time.perf_counter()
    with (place / "words").open("wb") as words:
        subprocess.run(command, cwd=folder, env=environment, stdout=words, stderr=words, check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Measure, print, save."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lab", default="core/03")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--set", action="append", default=[])
    asked = arguments.parse_args()
    curriculum = load()
    lab = curriculum.get(asked.lab)
    given = dict(settings.parse(text) for text in asked.set)
    values = settings.assign(curriculum, [lab], given)[lab.id]
    options = [f"--set={text}" for text in asked.set]
    scripts, replays = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(script_of(curriculum, lab, values), "utf-8")
        notebooks = curriculum.notebook(lab).parent
        for number in range(asked.rounds):
            place = Path(folder) / str(number)
            command = [sys.executable, str(script)]
            scripts.append(seconds_of(command, notebooks, place / "script"))
            program = str(Path(sys.executable).with_name("labs"))
            command = [program, "replay", "--only", lab.id, "--out", str(place / "out"), *options]
            replays.append(seconds_of(command, notebooks, place / "replay"))
    plain, replayed = statistics.median(scripts), statistics.median(replays)
    extra = replayed - FACTOR * plain
    against = f"python script.py, {plain:.1f} s"
    save(
        "replay",
        [
            Figure("replay of a lab", replayed, "s", "", True, against, asked.rounds),
            Figure("replay ÷ script", replayed / plain, "×", "", True, against, asked.rounds),
            Figure(
                f"replay − {FACTOR:.2f} × script",
                extra,
                "s",
                f"at most {EXTRA:.0f} s",
                extra <= EXTRA,
                against,
                asked.rounds,
            ),
        ],
    )


if __name__ == "__main__":
    main()
