"""Start each learner's server: with their settings and no others, confined, beside a warden."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Bool, Integer, Unicode, default

from labclass import collection, isolation, leftovers
from labrunner.errors import LabError
from labrunner.sandbox import read_settings
from labspark.place import cache

OVERHEAD_MB = 900  # a server, two kernels and what Java takes beside its heap
_SMALLEST_MB, _LARGEST_MB = 512, 2048
_publishing = asyncio.Lock()


class NoSettings(LabError):
    """A learner's settings are missing from the class folder."""


class LearnerSpawner(LocalProcessSpawner):  # type: ignore[misc]
    """A learner's Jupyter server as a confined process of this host."""

    folder = Unicode(help="The class folder.").tag(config=True)
    collection = Unicode(help="The git repository of the labs; empty: pull nothing.").tag(
        config=True
    )
    is_confined = Bool(True, help="Whether Landlock keeps learners apart.").tag(config=True)
    heap_mb = Integer(1024, help="Java's heap for a learner's Spark, in MB.").tag(config=True)
    memory = Integer(4 * 10**9, help="The most bytes a learner's programs may hold.").tag(
        config=True
    )
    attendance_url = Unicode(help="Where a server reports its learner's progress.").tag(config=True)

    @default("env_keep")
    def _env_keep_default(self) -> list[str]:
        return ["TZ"]  # nothing of the hub's environment is the learners' business

    @property
    def home(self) -> Path:
        """Return the learner's home."""
        return Path(self.folder) / "homes" / str(self.user.name)

    @property
    def notice(self) -> Path:
        """Return the file that tells the learner what of theirs was ended."""
        return Path(self.folder) / "notices" / f"{self.user.name}.txt"

    def settings(self) -> dict[str, str]:
        """Read the learner's platform settings, which hold no password."""
        file = Path(self.folder) / "learners" / f"{self.user.name}.env"
        try:
            return read_settings(file.read_text("utf-8"))
        except OSError as error:
            raise NoSettings(
                f"Expected the platform settings of {self.user.name} in {file}, found: "
                f"{error.strerror}. Type `labs class` again; it keeps what is there."
            ) from error

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Return a whole environment: the learner's settings, then ours, then the hub's."""
        home, settings = self.home, self.settings()
        view = isolation.view(Path(self.folder))
        temporary = home / ".cache" / "tmp"
        options = settings.get("JDK_JAVA_OPTIONS", "")
        beside = str(Path(sys.executable).parent)
        ours = {
            "HOME": str(home),
            "USER": str(self.user.name),
            "LOGNAME": str(self.user.name),
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": ":".join([beside, "/usr/local/bin", "/usr/bin", "/bin"]),
            "PYTHONPATH": os.pathsep.join(filter(None, [settings.get("PYTHONPATH"), str(view)])),
            "TMPDIR": str(temporary),
            # Java takes /tmp for granted, and would leave a file there for each process.
            "JDK_JAVA_OPTIONS": f"{options} -Djava.io.tmpdir={temporary} -XX:-UsePerfData".strip(),
            "JUPYTER_CONFIG_PATH": str(view / "deploy" / "jupyterhub"),
            "KUBECONFIG": settings.get("KUBECONFIG") or str(home / ".kube" / "config"),
            "LABS_HOME": str(home / ".local" / "share" / "house-on-the-lake"),
            "LABS_CACHE": str(cache()),
            "LABS_FOLDER": str(home / "labs"),
            "LABS_COLLECTION": self.collection,
            "LABS_ATTENDANCE_URL": self.attendance_url,
            "LABS_NOTICE": str(self.notice),
            **leftovers.mark("server", Path(self.folder)),
        }
        heap = {"SPARK_CONF_spark_driver_memory": f"{self.heap_mb}m"}
        return {**heap, **settings, **ours, **env}

    def command_line(self) -> list[str]:
        """Return the whole command: warden, confinement, entry, server."""
        words = [sys.executable, "-m", "labclass.warden", f"--memory={self.memory}"]
        words += [f"--notice={self.notice}", "--"]
        if self.is_confined:
            folder, settings = Path(self.folder), self.settings()
            extra = [cache(), self.notice]
            if self.collection.startswith("file://"):
                extra.append(Path(self.collection.removeprefix("file://")))
            read = isolation.readable(folder, settings, extra)
            words += isolation.command(read, isolation.writable(folder, self.home, settings))
        return [
            *words,
            *(sys.executable, "-m", "labclass.entry"),
            *self.cmd,
            *self.get_args(),
        ]

    async def start(self) -> tuple[str, int]:
        """Start the server; what it says goes to a log that only the instructor can read."""
        from jupyterhub.utils import random_port

        port = self.port = int(getattr(self, "port", 0)) or random_port()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = Path(self.folder) / "hub" / "servers" / f"{self.user.name}.log"
        log.parent.mkdir(mode=0o700, exist_ok=True)
        self.notice.parent.mkdir(mode=0o700, exist_ok=True)
        self.notice.write_text("", "utf-8")
        await self._publish()
        words, env = self.command_line(), self.get_env()
        with open(log, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            self.proc = subprocess.Popen(
                words,
                env=env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.proc.pid
        self.log.info("Started the server of %s, process %d, log %s", self.user.name, self.pid, log)
        return (self.ip or "127.0.0.1", port)

    async def _publish(self) -> None:
        """Let the learner meet the labs as they are in the checkout now."""
        folder = Path(self.folder)
        if self.collection == collection.of_class(folder):
            try:
                async with _publishing:
                    await asyncio.to_thread(collection.publish, folder / "collection.git")
            except collection.NotPublished as error:  # what was published before is still there
                self.log.warning("The labs were not published again: %s", error)

    # A process id alone says little after a reboot: somebody else may have it by then.

    def get_state(self) -> dict[str, Any]:
        """Remember the process, and when it began."""
        state: dict[str, Any] = super().get_state()
        if self.pid and (began := leftovers.began(self.pid)):
            state["began"] = began
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the process of an earlier hub, if it is still that one."""
        super().load_state(state)
        if self.pid and leftovers.began(self.pid) != state.get("began"):
            self.pid = 0


def fair_heap(learners: int, total: int | None = None) -> int:
    """Return a Java heap in MB such that all learners together fit this machine.

    >>> fair_heap(12, 24 * 2**30), fair_heap(1, 64 * 2**30), fair_heap(40, 8 * 2**30)
    (840, 2048, 512)
    """
    room = (total or psutil.virtual_memory().total) * 0.85 / 2**20 / max(learners, 1)
    return int(min(max(room - OVERHEAD_MB, _SMALLEST_MB), _LARGEST_MB))
