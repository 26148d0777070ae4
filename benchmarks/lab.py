"""How long a learner waits from `make lab` to a page they can work with, against a limit of 8 s.

    python -m benchmarks.lab [--rounds 5]

What is measured: `make lab` as a learner types it, set up already, with a sandbox that has been
used before, until JupyterLab has answered and the first cell of the start notebook stands in a
Chromium that was open (its cache is empty); then until the kernel of that notebook is idle, which
it is only when the sandbox has told its settings. The peer, in alternating rounds: a bare
`jupyter lab` of the same environment on the same notebook, without sandbox, panel and make.
One round before counts for nothing: it fills the machine's caches for both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.report import Figure, save

LIMIT_SECONDS = 8.0
PATIENCE = 60.0
CHECKOUT = Path(__file__).resolve().parents[1]
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
CELL = ".jp-Notebook .jp-Cell h1"
IDLE = ".jp-NotebookPanel-toolbar .jp-Notebook-ExecutionIndicator[data-status='idle']"
WORDS = ["--no-browser", "--port=0", *(["--allow-root"] if os.geteuid() == 0 else [])]
OURS = ["make", "--silent", "lab", f"ARGS={' '.join(WORDS)}"]
BARE = [str(Path(sys.executable).with_name("jupyter")), "lab", *WORDS]


@dataclass(frozen=True)
class Waited:
    """The seconds from typing the command."""

    answer: float
    page: float
    kernel: float


def measure(browser: Browser, command: list[str], place: Path) -> Waited:
    """Start JupyterLab, open the start notebook, end it all."""
    shutil.rmtree(place / "jupyter", ignore_errors=True)
    begun = time.perf_counter()
    with _started(command, place) as server, browser.new_context() as context:
        answer = time.perf_counter() - begun
        page = context.new_page()
        start = "lab/tree/notebooks/00_start_here.ipynb"
        page.goto(f"{server['url']}{start}?token={server['token']}")
        page.wait_for_selector(CELL, timeout=PATIENCE * 1000)
        seen = time.perf_counter() - begun
        page.wait_for_selector(IDLE, timeout=PATIENCE * 1000)
        return Waited(answer, seen, time.perf_counter() - begun)


@contextlib.contextmanager
def _started(command: list[str], place: Path) -> Iterator[dict[str, Any]]:
    environment = {**os.environ, "LABS_HOME": str(place / "home")}
    for name in ("CONFIG", "DATA", "RUNTIME"):
        environment[f"JUPYTER_{name}_DIR"] = str(place / "jupyter" / name.lower())
    environment["LABSANDBOX_STATE"] = str(place / "sandbox")
    for name in ("EZMERAL_URL", "PYTHONDONTWRITEBYTECODE"):  # a learner has neither
        environment.pop(name, None)
    with (place / "words").open("wb") as words:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    try:
        yield _server(place, process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # make ends at once, its child in order
        process.wait(PATIENCE)
        _await_end(process.pid)


def _await_end(group: int) -> None:
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)


def _server(place: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return what JupyterLab writes of itself when it answers."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        for file in (place / "jupyter" / "runtime").glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):
                found: dict[str, Any] = json.loads(file.read_text("utf-8"))
                return found
        time.sleep(0.01)
    raise SystemExit(f"JupyterLab did not answer: {(place / 'words').read_text('utf-8')[-2000:]}")


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Expected Chromium, found none. Type `sudo apt install chromium`.")
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        for _ in range(rounds + 1):
            ours.append(measure(browser, OURS, Path(folder)))
            bare.append(measure(browser, BARE, Path(folder)))
    save("lab", figures(ours[1:], bare[1:]))


def figures(ours: list[Waited], bare: list[Waited]) -> list[Figure]:
    """Compare the medians."""
    mine, peer = [
        Waited(*(statistics.median(getattr(one, name) for one in side) for name in NAMES))
        for side in (ours, bare)
    ]
    under = f"under {LIMIT_SECONDS:g} s"
    found = [
        Figure(
            "make lab to a usable page",
            mine.page,
            "s",
            under,
            mine.page < LIMIT_SECONDS,
            f"bare jupyter lab, {peer.page:.2f} s",
            len(ours),
        )
    ]
    pairs = {"JupyterLab answers": "answer", "the kernel is idle": "kernel"}
    for words, name in pairs.items():
        against = f"bare jupyter lab, {getattr(peer, name):.2f} s"
        found.append(Figure(words, getattr(mine, name), "s", "", True, against, len(ours)))
    ratio = mine.page / peer.page
    met = ratio <= 1.1
    return [*found, Figure("page ÷ bare", ratio, "×", "<= 1.1", met, "bare jupyter lab", len(ours))]


NAMES = tuple(Waited.__dataclass_fields__)

if __name__ == "__main__":
    main()
