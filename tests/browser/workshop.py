"""What a learner has: a checkout of their own, a platform, and `labs lab` with JupyterLab open.

The tests work in a copy of the checkout, because JupyterLab saves what it runs. The platform is
configured, as it is where an administrator runs one, so the learner types the password.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labhelpers.deadline import wait
from labrunner import sandbox
from labspark.place import cache
from tests.browser.chromium import PATIENCE
from tests.labs.platform import Platform
from tests.repo.tree import Tree

NOT_THE_LEARNERS = ("tests/", "labsandbox/", "labapps/")
_NUMBERS = itertools.count(1)
PROGRAM = str(Path(sys.executable).with_name("labs"))


@dataclass(frozen=True)
class Workshop:
    """A platform, a checkout and a JupyterLab."""

    platform: Platform
    checkout: Path
    environment: dict[str, str]
    address: str
    token: str
    root: Path  # the folder that JupyterLab shows

    @property
    def password(self) -> str:
        """Return what the learner types."""
        file = self.platform.settings["EZMERAL_PASSWORD_FILE"]
        return Path(file).read_text("utf-8").strip()

    def notebook(self, file: str) -> Path:
        """Return where a lab's notebook is."""
        return self.root / "notebooks" / f"{file}.ipynb"

    def page(self, file: str) -> str:
        """Return the address of a lab in JupyterLab, in a workspace that holds nothing else."""
        path = self.notebook(file).relative_to(self.root)
        space = f"{path.stem}-{next(_NUMBERS)}"
        return f"{self.address}/lab/workspaces/{space}/tree/{path}?token={self.token}"

    def labs(self, *words: str, seconds: int = 600) -> subprocess.CompletedProcess[str]:
        """Run a command in a terminal of the learner's."""
        password = self.platform.settings["EZMERAL_PASSWORD_FILE"]
        return subprocess.run(
            [PROGRAM, *words],
            cwd=self.checkout,
            env=self.environment | {"EZMERAL_PASSWORD_FILE": password},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Workshop]:
    """Open a workshop in a folder, close it."""
    checkout = folder / "checkout"
    for path, content in Tree.of_checkout().files.items():
        if not path.startswith(NOT_THE_LEARNERS):
            (checkout / path).parent.mkdir(parents=True, exist_ok=True)
            (checkout / path).write_bytes(content)
    with sandbox.running(folder / "state") as settings:
        environment = _environment(folder, checkout, settings)
        with _jupyter(folder, checkout, environment) as server:
            yield Workshop(
                Platform(folder / "state", settings),
                checkout,
                environment,
                f"http://127.0.0.1:{server['port']}",
                server["token"],
                Path(server["root_dir"]),
            )


def _environment(folder: Path, checkout: Path, settings: dict[str, str]) -> dict[str, str]:
    """Return the learner's environment: the platform's settings but for the password."""
    own = {
        "PYTHONPATH": str(checkout),
        "LABS_NOTICE": str(folder / "notice.txt"),
        "LABS_HOME": str(folder / "home"),
        "LABS_CACHE": str(cache()),  # what set-up made
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_DATA_HOME": str(folder / "data"),
        "TZ": "Pacific/Auckland",  # a learner is anywhere
    }
    merged = sandbox.merged(dict(os.environ) | own, settings)
    merged["PYTHONPATH"] = os.pathsep.join([str(checkout), merged["PYTHONPATH"]])
    del merged["EZMERAL_PASSWORD_FILE"]
    return merged


@contextlib.contextmanager
def _jupyter(folder: Path, checkout: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run `labs lab`; give what JupyterLab writes of itself when it is up."""
    log = folder / "jupyter.log"
    command = [PROGRAM, "lab", "--no-browser", "--ServerApp.port=0", "--allow-root"]
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )

    def up() -> dict[str, str] | None:
        assert process.poll() is None, log.read_text("utf-8", "replace")[-3000:]
        found = sorted((folder / "runtime").glob("jpserver-*.json"))
        return dict(json.loads(found[0].read_text("utf-8"))) if found else None

    try:
        yield wait("JupyterLab", up, deadline=PATIENCE, ignoring=(ValueError,)) or {}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
