"""Run one benchmark or all: `python -m benchmarks [NAME …]`; a failing goal fails the call.

`--accept` runs none: it takes the last runs, or those named, into the page of accepted figures.

A benchmark is a module of this folder that calls `benchmarks.report.save`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.report import Figure, accept, read, show

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
    is_accepting = "--accept" in wanted
    wanted = [name for name in wanted if name != "--accept"]
    known = names()
    if unknown := set(wanted) - set(known):
        print(f"Expected names among {', '.join(known)}; found {', '.join(unknown)}.")
        return 2
    if is_accepting:
        accept({name: run for name, run in read().items() if name in (wanted or known)})
        return 0
    failed, figures = 0, list[Figure]()
    for name in wanted or known:
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
        failed += done.returncode != 0
        found = read().get(name, {"figures": []})["figures"]
        figures += [Figure(**{**one, "name": f"{name}: {one['name']}"}) for one in found]
    if len(wanted) != 1:
        show("all", figures)
    return 1 if failed or not all(one.met for one in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
