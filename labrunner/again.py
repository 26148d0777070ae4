"""Run an executed notebook once more with nbval and compare its marked, deterministic cells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from labrunner.outcome import Outcome

INI = "[pytest]\n"


def compare(found: Outcome, executed: Path, environment: Mapping[str, str]) -> None:
    """Note in the outcome what a second run of the same notebook said."""
    settings = executed.with_suffix(".nbval.ini")
    settings.write_text(INI, "utf-8")
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-c", str(settings), "--rootdir"),
                *(str(executed.parent), "-p", "no:cacheprovider", "-p", "no:xdist", "-q"),
                *("--nbval-lax", "--nbval-kernel-name", "python3", "--nbval-cell-timeout", "1200"),
                str(executed),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=dict(environment),
            check=False,
        )
    finally:
        settings.unlink(missing_ok=True)
    found.again = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    if done.returncode != 0:
        found.fail("MarkedCellsDiffer", f"a second run gave other results: {found.again}")
        if found.error is not None:
            found.error["trace"] = done.stdout[-6000:]
