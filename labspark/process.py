"""Run a piece of Python in a process of its own, and end it the hard way when a lab asks for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil

from labspark.compiled import keep_compiled
from labspark.errors import SparkError

__all__ = ["keep_compiled", "kill", "run_python", "start_python"]


def start_python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a piece of Python and do not wait for it; a Spark session in it is a small one."""
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=_small())


def run_python(code: str, *arguments: object) -> str:
    """Run a piece of Python to its end and return what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=_small(), capture_output=True, text=True)
    if done.returncode:
        raise SparkError(
            f"Expected the new process to end well, found: {done.stderr[-600:].strip()}"
        )
    return done.stdout.strip()


def kill(process: subprocess.Popen[bytes]) -> int:
    """Send SIGKILL, which no program can catch, to a process and all it has started.

    Return how many were stopped for it: 0 when the process had ended by itself.
    """
    family: list[psutil.Process] = []
    if process.poll() is None:
        first = psutil.Process(process.pid)
        while new := [one for one in (first, *first.children(recursive=True)) if one not in family]:
            family += new
            for member in new:  # a stopped one starts no other, and tidies up after none
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.suspend()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family, timeout=30)
    return len(family)


def _small() -> dict[str, str]:
    """Leave most of the memory to the notebook's own Spark, and find our packages."""
    here = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "SPARK_MASTER": "local[1]",
        "SPARK_CONF_spark_driver_memory": "768m",
    }
