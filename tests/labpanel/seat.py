"""A learner who types `labs lab`: real processes, in folders of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from labhelpers.deadline import wait

PATIENCE = 60.0
ROOT = ["--allow-root"] if os.geteuid() == 0 else []
LAB = """
import sys
from labrunner import cli, sandbox
program = sys.argv.pop(1)
if program:
    sandbox.command = lambda: program
cli.main()
"""
# A sandbox of thirty bytes: it notes its calls, and that its lifeline was closed.
SANDBOX = """\
#!/bin/sh
echo "$*" >> "{calls}"
[ "$1" = up ] || exit 0
{before}
case " $* " in *" --until-eof "*)
  exec 3<&0
  (cat <&3; echo ended >> "{calls}") > /dev/null 2>&1 &
esac
echo '{{"state": "/s", "already": {already}, "environment": {{"EZMERAL_URL": "https://127.0.0.1:9"}}}}'
"""


@dataclass
class Seat:
    """Where a learner sits: their folders, their environment, the sandbox they have."""

    folder: Path
    sandbox: str = ""
    more: dict[str, str] = field(default_factory=dict)
    root: list[str] = field(default_factory=lambda: ROOT)

    @property
    def environment(self) -> dict[str, str]:
        """Return an environment without a screen and without a platform."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EZMERAL", "JUPYTER", "LABSANDBOX", "DISPLAY", "WAYLAND"))
            and name not in ("BROWSER", "SSH_CONNECTION", "KUBECONFIG")
        }
        own = {
            "LABS_HOME": str(self.folder / "home"),
            "LABSANDBOX_STATE": str(self.folder / "state"),
            "IPYTHONDIR": str(self.folder / "ipython"),
        }
        for name in ("CONFIG", "DATA", "RUNTIME"):
            own[f"JUPYTER_{name}_DIR"] = str(self.folder / name.lower())
        return kept | own | self.more

    @property
    def calls(self) -> list[str]:
        """Return the first word of each call of the small sandbox, and its end."""
        file = self.folder / "calls"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []

    def with_sandbox(self, before: str = "", already: bool = False) -> Seat:
        """Have the small sandbox, which does something before it is up."""
        program = self.folder / "labsandbox"
        words = {"calls": self.folder / "calls", "before": before}
        program.write_text(SANDBOX.format(already=str(already).lower(), **words))
        program.chmod(0o755)
        self.sandbox = str(program)
        return self

    def type_lab(self, *words: str) -> subprocess.Popen[str]:
        """Type `labs lab`; a script's background job has SIGINT ignored, as this one."""
        command = [sys.executable, "-c", LAB, self.sandbox, "lab", *self.root, *words]
        return subprocess.Popen(
            ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextlib.contextmanager
    def open_lab(self, *words: str) -> Iterator[Opened]:
        """Type `labs lab` and wait until JupyterLab answers; leave nothing behind."""
        opened = Opened(self.type_lab("--ServerApp.port=0", *words), self)
        try:
            opened.address = wait("JupyterLab to answer", opened.find_address, deadline=PATIENCE)
            yield opened
        finally:
            opened.process.kill()
            opened.process.wait()
            self.clear()

    def clear(self) -> None:
        """End what a test that failed has left."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def processes(self) -> list[psutil.Process]:
        """Return every living process with this seat's folder in its command or environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                words = [*process.cmdline(), *process.environ().values()]
                if any(str(self.folder) in word for word in words):
                    found.append(process)
        return found


class Opened:
    """A `labs lab` that runs, and what it says."""

    def __init__(self, process: subprocess.Popen[str], seat: Seat) -> None:
        self.process = process
        self.seat = seat
        self.address = ""
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as words:
            self._said.extend(iter(words.readline, ""))

    @property
    def said(self) -> str:
        """Return all that was printed so far."""
        return "".join(self._said)

    @property
    def record(self) -> dict[str, Any]:
        """Return what the second `labs lab` reads."""
        found: dict[str, Any] = json.loads((self.seat.folder / "home/lab/lab.json").read_text())
        return found

    def find_address(self) -> str | None:
        """Return the address that was printed, complain when it will not come."""
        found = [line.strip() for line in self._said if line.strip().startswith("http")]
        assert found or self.process.poll() is None, self.said
        return found[0] if found else None

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask JupyterLab something, with the token."""
        parts = urlsplit(self.address)
        request = urllib.request.Request(
            f"http://{parts.netloc}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {parts.query.removeprefix('token=')}"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def end(self, number: int) -> int:
        """Send a signal; return the status `labs lab` ends with."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until `labs lab` and its last word are there; return its status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status
