"""The 3 × 2 matrix of `labregress`, cold and warm, and what is kept of it, as ratios.

Cold: uv has an empty cache, so every package is downloaded and unpacked. Warm: the cache of the
cold run. Kept: the same command once more, when no lock, case or driver changed. The load of the
machine is printed, because the walls of a busy one say little; the ratios say more.
`python -m benchmarks.matrix [--versions 2.0.1 --versions 3.17.2]`
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Figure, save

SECONDS = 180.0  # what a matrix may take on two idle cores, warm


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", action="append", default=[])
    words = [word for one in parser.parse_args().versions for word in ("--versions", one)]
    folder = Path(tempfile.mkdtemp(prefix="matrix-"))
    load = os.getloadavg()[0]
    try:
        cold, built_cold = measure(folder, "cold", words)
        warm, built_warm = measure(folder, "warm", words)
        kept, _ = measure(folder, "warm", words)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"load before: {load:.1f}, after: {os.getloadavg()[0]:.1f}, cores: {os.cpu_count()}")
    against = f"cold {cold:.0f} s, warm {warm:.0f} s"
    built = f"environments: cold {built_cold:.0f} s, warm {built_warm:.0f} s"
    save(
        "matrix",
        [
            Figure("matrix, warm", warm, "s", f"under {SECONDS:g} s", warm < SECONDS, against, 1),
            Figure("cold against warm", cold / warm, "x", "above 1", cold > warm, against, 1),
            Figure("environments, cold against warm", built_cold / max(built_warm, 0.1), "x",
                   "above 1.5", built_cold > 1.5 * built_warm, built, 1),
            Figure("warm against kept", warm / kept, "x", "above 10", warm > 10 * kept,
                   f"kept {kept:.1f} s", 1),
        ],
    )  # fmt: skip


def measure(folder: Path, out: str, words: Sequence[str]) -> tuple[float, float]:
    """Run the matrix; return the seconds of all, and those of its environments."""
    environment = os.environ | {"UV_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "labregress", "run", "--out", str(folder / out), *words]
    began = time.monotonic()
    subprocess.run(command, env=environment, check=True)
    seconds = time.monotonic() - began
    rows = json.loads((folder / out / "report.json").read_text())["rows"]
    cells = {(row["version"], row["case"]): row["seconds"].get("install", 0.0) for row in rows}
    return seconds, sum(cells.values())


if __name__ == "__main__":
    main()
