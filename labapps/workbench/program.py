"""The program of a run's pod: run a script of a project, its output on the project repository.

`python -m labapps.workbench.program <project> <script> <arguments>` runs a script; `--build
<digest> <file:function>` imports a function once; `--script <digest> <script> <file:function>` runs
a build's own script before that; `--registered <name> <version>` brings a registered model and
imports that; `--image …` pushes the image of what was built (`image.py`); `--score <project>
<digest> <file:function> <arguments>` scores a table. The output goes to `runs/<unit>/log` and to
the pod's own log; how it ended to `runs/<unit>/exit`. Standard library only: it starts in 50 ms.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from labapps import files
from labapps.workbench.environment import LOCK
from labapps.workbench.layout import Layout

__all__ = ["RETRY_DELAY", "command"]

ROOM = "labapps.workbench"
RETRY_DELAY = "WORKBENCH_RETRY_DELAY"
"""Seconds between the end of an attempt of a run and the start of the next one."""


def command(layout: Layout, words: list[str]) -> tuple[list[str], Path]:
    """Return what to run, and where."""
    python = [sys.executable, "-u"]
    match words:
        case ["--registered", name, version]:
            return [*python, "-m", f"{ROOM}.registered", name, version], layout.repository
        case ["--script", digest, script, target]:
            return [*python, "-m", f"{ROOM}.script", digest, script, target], layout.repository
        case ["--build", digest, target]:
            folder = locked = layout.build(digest)
            argv = [*python, "-m", f"{ROOM}.function", target]
        case ["--image", *options]:
            return [*python, "-m", f"{ROOM}.image", *options], layout.repository
        case ["--score", project, digest, target, arguments]:
            folder, locked = layout.project(project), layout.build(digest)
            argv = [*python, "-m", f"{ROOM}.batch", digest, target, *shlex.split(arguments)]
        case [project, script, arguments]:
            folder = locked = layout.project(project)
            argv = [*python, script, *shlex.split(arguments)]
        case _:
            raise SystemExit(f"Expected <project> <script> <arguments>; found {words}.")
    if (locked / LOCK).is_file():
        argv = [*python, "-m", f"{ROOM}.environment", str(locked), *argv]
    return argv, folder


def place_here(layout: Layout) -> None:
    """Bring variables that name places into this pod's terms."""
    path = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH", "")
    if path and not path.startswith("/"):
        os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(layout.repository / path)
    listen = os.environ.get("POD_LISTEN_IP", "0.0.0.0")
    if listen != "0.0.0.0":
        os.environ.setdefault("SPARK_LOCAL_IP", listen)  # executors call the driver back there


def wait_for_turn(place: Path) -> None:
    """Leave the time between two attempts that the job asks for; what came before left a log."""
    delay = float(os.environ.get(RETRY_DELAY) or 0)
    moments = [path.stat().st_mtime for path in (place / "log", place / "exit") if path.exists()]
    rest = min(delay, max(moments, default=0) + delay - time.time())
    if rest > 0:
        # The first process of a container has no action for a signal unless it asks for one.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with (place / "log").open("ab", buffering=0) as log:
            log.write(f"The next attempt begins in {rest:.0f} s (retry_delay).\n".encode())
        time.sleep(rest)  # pause: the delay that the job asked for


def main() -> None:
    layout = Layout.from_env()
    unit = os.environ["WORKBENCH_UNIT"]
    place = layout.run(unit)
    place.mkdir(parents=True, exist_ok=True)
    place_here(layout)
    argv, folder = command(layout, sys.argv[1:])
    os.environ["WORKBENCH_FACTS"] = str(place / "facts")
    wait_for_turn(place)
    with (place / "log").open("ab", buffering=0) as log:
        try:
            child = subprocess.Popen(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            log.write(f"{folder} cannot be worked in: {error}\n".encode())
            sys.exit(127)
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        assert child.stdout is not None
        while piece := os.read(child.stdout.fileno(), 1 << 16):
            log.write(piece)
            os.write(1, piece)
        code = child.wait()
    files.replace(place / "exit", str(code))
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
