"""The server under test: a program started in a state folder of its own, or a running one."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.golden.kubelet import Controllers, Kubelet
from tests.golden.wire import Wire

ROOT = Path(__file__).resolve().parents[2]
TOKENS = {"admin": "admin-token", "alice": "alice-token", "bob": "bob-token"}
# The users of the recording, in the format of kube-apiserver's --token-auth-file.
USERS = (
    'admin-token,admin,admin-uid,"system:masters"\n'
    'alice-token,alice,alice-uid,"dev"\n'
    "bob-token,bob,bob-uid\n"
)
START_SECONDS = 30.0
COMPACT_SECONDS = 30.0


@dataclass
class Server:
    """Where the server listens and how to talk to it as each user."""

    url: str
    ca: str
    tokens: dict[str, str] = field(default_factory=lambda: dict(TOKENS))
    restart_command: str = ""
    compact_command: str = ""

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to stop: somebody else runs this server."""

    def start_controllers(self) -> None:
        """Nothing to start: whoever runs this server runs its controllers and kubelet too."""

    def restart(self) -> None:
        """Restart the server with the command given on the command line."""
        if self.restart_command:
            subprocess.run(shlex.split(self.restart_command), check=True)

    def compact(self) -> None:
        """Compact the history with the command given on the command line."""
        if self.compact_command:
            subprocess.run(shlex.split(self.compact_command), check=True)


class OwnServer(Server):
    """A fresh `python -m labsandbox.apiserver` in a temporary state folder."""

    def __init__(self, arguments: tuple[str, ...] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="golden-", ignore_cleanup_errors=True)
        self.state = Path(self._folder.name) / "state"
        self.state.mkdir()
        users = Path(self._folder.name) / "users.csv"
        users.write_text(USERS)
        users.chmod(0o600)
        self.log = Path(self._folder.name) / "log"
        self._arguments = ("--token-auth-file", str(users), *arguments)
        self._helpers: list[Kubelet | Controllers] = []
        self._process = self._start()
        super().__init__(self._url(), str(self.state / "pki" / "ca.crt"))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "labsandbox.apiserver", "--state", str(self.state)]
        command += ["--parent-pid", str(os.getpid()), *self._arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _url(self) -> str:
        """Wait until the server has written its address under its own process id."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"The API server ended at once:\n{self.log.read_text()[-4000:]}")
            with contextlib.suppress(OSError, ValueError):
                found = json.loads((self.state / "apiserver.json").read_text())
                if found.get("pid") == self._process.pid:
                    return str(found["url"])
            time.sleep(0.02)
        raise RuntimeError(
            f"Expected an address in apiserver.json within {START_SECONDS:.0f} s, found none. "
            f"The server said:\n{self.log.read_text()[-4000:]}"
        )

    def start_controllers(self) -> None:
        """Run the controllers and a stand-in kubelet beside the server."""
        if self._helpers:
            return
        # The administrator's: roles of our own would show in the lists that are compared.
        kubeconfig = self.state / "admin.conf"
        kubelet = Kubelet(kubeconfig, self.state / "pki")
        self._helpers = [kubelet, Controllers(kubeconfig, self.state)]

    def close(self) -> None:
        """Stop the server and delete its state."""
        for helper in self._helpers:
            helper.close()
        self._stop(signal.SIGTERM)
        self._folder.cleanup()

    def _stop(self, how: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def restart(self) -> None:
        """Kill the server and start it again on the same state."""
        self._stop(signal.SIGKILL)
        self._process = self._start()
        self.url = self._url()

    def compact(self) -> None:
        """Ask the server to forget its history up to now (SIGUSR1)."""
        self._process.send_signal(signal.SIGUSR1)
        wire = Wire(self.url, self.ca)
        headers = {"Authorization": f"Bearer {self.tokens['admin']}"}
        query = "resourceVersion=2&resourceVersionMatch=Exact"
        deadline = time.monotonic() + COMPACT_SECONDS
        while wire.send("GET", "/api/v1/namespaces", query, headers).status != 410:
            if time.monotonic() > deadline:
                raise RuntimeError(f"Expected history to be gone within {COMPACT_SECONDS:.0f} s.")
            time.sleep(0.02)
        # What is written after it is on the disk after it: then a kill -9 does not bring it back.
        body = json.dumps({"metadata": {"name": "compacted"}}).encode()
        headers["Content-Type"] = "application/json"
        maps = "/api/v1/namespaces/default/configmaps"
        assert wire.send("POST", maps, "", headers, body).status == 201
        assert wire.send("DELETE", f"{maps}/compacted", "", headers).status == 200
        wire.close()
