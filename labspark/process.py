"""Run a piece of Python in a process of its own, and end it the hard way when a lab asks for it."""

from __future__ import annotations

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
    """Send SIGKILL, which no program can catch, to a process and all it has started."""
    with psutil.Process(process.pid).oneshot():
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
    for member in family:
        member.suspend()  # or one of them could tidy up when it sees another one gone
    for member in family:
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
