"""Run one benchmark or all: `python -m benchmarks [NAME …]`; a failing goal fails the call.

A benchmark is a module of this folder that calls `benchmarks.report.save`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.report import FOLDER

HERE = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(
        path.stem
        for path in HERE.glob("[a-z]*.py")
        if path.stem != "report"
        and "import" in (text := path.read_text("utf-8"))
        and "save(" in text
    )


def main(wanted: list[str]) -> int:
    """Run benchmarks one after the other; return 0 when every goal is met."""
    known = names()
    if unknown := set(wanted) - set(known):
        print(f"Expected names among {', '.join(known)}; found {', '.join(unknown)}.")
        return 2
    missed = 0
    for name in wanted or known:
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
        file = FOLDER / f"{name}.json"
        figures = json.loads(file.read_text("utf-8")) if file.is_file() else []
        missed += done.returncode != 0 or not all(figure["met"] for figure in figures)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
