"""A real hub for tests: started as the documentation says, asked over HTTP, killed when wanted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import requests

from labclass import leftovers
from tests.classroom_folder import password
from tests.hub.person import Person
from tests.processes import environment_of, words_of

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "deploy" / "jupyterhub" / "jupyterhub_config.py"


def until(ask: Callable[[], T], phrase: str, deadline: float = 30.0) -> T:
    """Wait until something is true, and return it."""
    end = time.monotonic() + deadline
    while not (found := ask()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {phrase}; last: {found!r}")
        time.sleep(0.1)
    return found


@dataclass
class Hub:
    """The hub of one class folder."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    become: list[str] = field(default_factory=list)  # words before the command

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "class.json").read_text())["hub"]["url"])

    @property
    def ca(self) -> Path | None:
        return self.folder / "hub" / "tls" / "ca.crt" if self.url.startswith("https") else None

    @property
    def log(self) -> str:
        return (self.folder.parent / "hub.log").read_text(errors="replace")

    def start(self, deadline: float = 60.0) -> Hub:
        """Start the hub and wait until it answers through its proxy."""
        self.launch()
        until(self._answers, f"the hub answers\n{self.log[-3000:]}", deadline)
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the hub and do not wait."""
        (self.folder / "hub").mkdir(mode=0o700, exist_ok=True)
        with (self.folder.parent / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.become, sys.executable, "-m", "labclass.jupyterhub_app", "-f", str(CONFIG)],
                cwd=self.folder / "hub",
                env={**os.environ, "LABS_CLASS": str(self.folder), **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the hub ended with {self.process.returncode}:\n{self.log}")
        try:
            if self.ca and not self.ca.exists():
                return False
            verify = str(self.ca) if self.ca else True
            found = requests.get(f"{self.url}/hub/health", timeout=5, verify=verify)
        except requests.RequestException:
            return False
        return found.status_code == 200

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the hub, kindly or not, and nothing else."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(40)

    def person(self, name: str) -> Person:
        """Return somebody at a browser, not signed in yet."""
        return Person(self.url, name, password(name), self.ca)

    def processes(self, part: str = "server") -> list[psutil.Process]:
        """Return the processes of learners' servers, or of the hub's proxy and services."""
        return leftovers.marked(part, self.folder)

    def proxy(self) -> psutil.Process:
        """Return the proxy's process."""
        return next(p for p in self.processes("hub") if "labclass.proxy" in words_of(p))

    def server(self, name: str) -> psutil.Process:
        """Return the process of a learner's Jupyter server, not its warden."""
        return next(
            process
            for process in self.processes()
            if environment_of(process).get("JUPYTERHUB_USER") == name
            and words_of(process)[1:3] == ["-m", "jupyterhub.singleuser"]
        )

    def close(self) -> None:
        """End everything, whatever a test did to it."""
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
        leftovers.sweep(self.folder, servers=True)
