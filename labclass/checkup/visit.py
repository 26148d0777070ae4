"""One visit to a platform: what is known of it so far, and what must be undone at the end."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from labclass.checkup.api import Api
from labrunner import sandbox

SECONDS = 15
_OF_LABS = ("EZMERAL_", "GATEWAY_", "SPARK_", "PROJECT_REPO", "LABS_DATASETS")


@dataclass
class Visit:
    """What the looks share; each of them adds what later ones need."""

    settings: dict[str, str]
    students: int = 1
    ask: Callable[[str], str] | None = None  # for a password, where somebody can be asked
    http: requests.Session = field(default_factory=requests.Session)
    session: dict[str, Any] = field(default_factory=dict)  # what the front door says of it
    kubeconfig: dict[str, Any] = field(default_factory=dict)
    api: Api | None = None
    secrets: set[str] = field(default_factory=set)  # never printed
    reached: set[str] = field(default_factory=set)
    cleanups: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _folder: Path | None = None

    def value(self, name: str) -> str:
        """Return a setting; `{user}`, `{tenant}` and `{namespace}` stand for the learner's own."""
        text = self.settings.get(name, "")
        known = {
            "user": self.settings.get("EZMERAL_USER", ""),
            "tenant": self.settings.get("EZMERAL_TENANT", ""),
            "namespace": self.api.namespace if self.api else "",
        }
        for word, meaning in known.items():
            text = text.replace(f"{{{word}}}", meaning)
        return text

    @property
    def url(self) -> str:
        """Return the front door's address."""
        return self.value("EZMERAL_URL").rstrip("/")

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Ask the front door."""
        return self.http.request(method, self.url + path, timeout=SECONDS, **more)

    def folder(self) -> Path:
        """Return a folder only we can read, which is gone at the end."""
        if self._folder is None:
            made = tempfile.TemporaryDirectory(prefix="labs-doctor-")
            self._folder = Path(self.cleanups.enter_context(made))
        return self._folder

    def require_api(self) -> Api:
        """Return the Kubernetes API; looks that need it run only when it was reached."""
        if self.api is None:
            raise LookupError("the Kubernetes API was not reached")
        return self.api


def settings_of(file: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a platform's settings; what the file does not say, the environment may."""
    told = {name: value for name, value in environment.items() if name.startswith(_OF_LABS)}
    found = told | sandbox.settings_of(file)
    for name in ("EZMERAL_CA", "GATEWAY_CA"):
        # A file that is made for learners' pods names the place there; ours lies beside it.
        beside = file.parent / Path(found.get(name) or "ca.crt").name
        if name in found and not Path(found[name]).is_file() and beside.is_file():
            found[name] = str(beside)
    return found


@contextlib.contextmanager
def visiting(visit: Visit) -> Iterator[Visit]:
    """Make a visit, and undo at its end what it did, the last thing first."""
    visit.http.trust_env = False  # as the labs do it
    with visit.http, visit.cleanups:  # signing out needs the connection
        yield visit
