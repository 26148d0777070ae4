"""A pytest plugin: the members of tests/labapps run in their images instead of as processes.

    python -m pytest -p tests.labapps.containers --containers 1000 tests/labapps/test_deployment.py

The images are those of `make images ARGS=--keep`; the number is the user that the programs run as.
A member's folders are mounted where a container has them, and no POD_ROOT is set: the paths, the
packages and the start program are the image's. What a test asks of this machine's own processes,
interpreters or paths is marked `on_host` and left out. Needs root and podman.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path

import pytest

from deploy.images.build import RUNNING, limits
from tests.labapps import pods

# Where applications keep what they are given and what they leave, below a member's folder.
MOUNTED = (
    "etc/guestconfig", "home", "run/labapps", "source_control", "var/lib/spark",
    "var/lib/training-engine",
)  # fmt: skip
HIDDEN = ("POD_", "PROJECT_", "JAVA_", "LABS_", "PYTHON", "VIRTUAL_ENV", "PYTEST")


def images() -> dict[str, str]:
    """Return the image of each application, by the module that its program runs."""
    found: dict[str, str] = {}
    for file in (pods.ROOT / "catalog").glob("*/image.toml"):
        image = tomllib.loads(file.read_text("utf-8"))
        found.setdefault(image["command"][-1].removeprefix("labapps."), str(image["name"]))
    return found


class Engine:
    """Starts members in podman, as one user."""

    def __init__(self, uid: int) -> None:
        self.uid, self.images = uid, images()

    def own(self, folder: Path) -> None:
        """Give a folder and all in it to the members' user."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, 100 if self.uid else 0, follow_symlinks=False)

    def command(self, pod: pods.Pod, env: dict[str, str]) -> list[str]:
        """Return the command that runs a member until it ends."""
        repository = pod.cluster.repository
        variables = {"POD_LISTEN_IP": pod.ip, "PROJECT_REPO": str(repository)} | env
        mounts = {str(pod.root / name): f"/{name}" for name in MOUNTED}
        for source in mounts:
            Path(source).mkdir(parents=True, exist_ok=True)
        self.own(pod.cluster.folder)
        mounts[str(pod.cluster.folder)] = str(pod.cluster.folder)
        return [
            *(word for word in RUNNING if not word.startswith("--network")),
            "--network=host", *limits(), f"--name={self.name(pod)}", "--replace",
            f"--user={self.uid}:{100 if self.uid else 0}",
            *(f"--volume={source}:{target}" for source, target in mounts.items()),
            *(f"--env={key}={value}" for key, value in variables.items()),
            self.images[pod.cluster.app],
        ]  # fmt: skip

    def name(self, pod: pods.Pod) -> str:
        """Return the name of a member's container."""
        return f"member-{pod.ip.replace('.', '-')}"

    def send(self, pod: pods.Pod, number: int) -> None:
        """Send a signal to a member's program: podman passes all on but SIGKILL."""
        words = ["podman", "kill", f"--signal={signal.Signals(number).name}", self.name(pod)]
        subprocess.run(words, check=False, capture_output=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--containers", type=int, metavar="UID", help="run members in their images")


def pytest_configure(config: pytest.Config) -> None:
    uid = config.getoption("--containers")
    if uid is None:
        return
    if os.geteuid() != 0 or shutil.which("podman") is None:
        raise pytest.UsageError("Expected root and podman for --containers.")
    pods.Pod.engine = Engine(uid)
    pods.Pod.patience = 6.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--containers") is None:
        return
    away = [item for item in items if item.get_closest_marker("on_host")]
    away += [item for item in items if item.get_closest_marker("fast")]
    items[:] = [item for item in items if item not in away]
    config.hook.pytest_deselected(items=away)
    for item in items:
        item.add_marker(pytest.mark.timeout(1800), append=False)
