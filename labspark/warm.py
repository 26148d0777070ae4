"""Compile once what the labs call of stumpy: `python -m labspark.warm`.

Set-up starts this in the background, so that the first notebook finds the code and does not wait
half a minute. It belongs to this user on this machine (`compiled.py` says why). What it does not
get done costs the notebook its seconds and nothing else.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import warnings

from labspark.compiled import NOISE, keep_compiled
from labspark.place import cache

__all__ = ["compile_all", "main"]

MINUTES, WINDOW = 240, 30


def compile_all() -> None:
    """Call each function that labs call, with the types that labs use."""
    warnings.filterwarnings("ignore", message=f".*{NOISE}", category=UserWarning)
    import numpy as np
    import stumpy

    keep_compiled(stumpy)
    lanes = np.random.default_rng(1).normal(size=(4, MINUTES)).cumsum(axis=1)
    stumpy.stump(lanes[0], WINDOW)
    stumpy.stump(lanes[0], WINDOW, lanes[1], ignore_trivial=False)
    stumpy.mass(lanes[0, :WINDOW], lanes[1])
    profiles, neighbours = stumpy.mstump(lanes, WINDOW)
    places = profiles.argmin(axis=1)
    stumpy.mdl(lanes, WINDOW, places, neighbours[np.arange(4), places])


def main() -> None:
    """Compile, unless another process of this user does it; give way to everything else."""
    if not importlib.util.find_spec("stumpy"):
        return  # the workshop that calls it was left out at set-up
    folder = cache() / "numba"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "warm.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        os.nice(10)
        compile_all()


if __name__ == "__main__":
    main()
