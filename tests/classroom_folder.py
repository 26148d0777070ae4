"""A class folder written by hand, for tests that need no platform: what `labs class` makes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

_COLUMNS = ("name", "password", "tenant", "role", "address")


def password(name: str) -> str:
    """Return the password of somebody in a class made here."""
    return f"a-long-password-of-{name}"


def free_port() -> int:
    """Return a port that nobody listens on, and that the kernel gives to no outgoing connection.

    Port 0 would be one of those: between this call and its use another test may connect from it.
    """
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("100 ports between 20000 and 30000 are all taken")


def make(
    folder: Path,
    students: int = 2,
    environment: Mapping[str, str] | None = None,
    hub: Mapping[str, object] | None = None,
) -> Path:
    """Write a class of student1, student2, … and one instructor; return its folder.

    `environment` is added to every learner's settings; `hub` to the hub's part of class.json.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = [f"student{number}" for number in range(1, students + 1)]
    address = f"http://127.0.0.1:{free_port()}"
    for name in [*names, "instructor"]:
        home = folder / "homes" / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        project = folder / "platform" / "projects" / f"team-{name}"
        project.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = {
            "EZMERAL_URL": "https://127.0.0.1:1",
            "EZMERAL_CA": str(folder / "platform" / "pki" / "ca.crt"),
            "EZMERAL_TENANT": f"Team-{name}",
            "EZMERAL_USER": name,
            "KUBECONFIG": str(home / ".kube" / "config"),
            "PROJECT_REPO": str(project),
            **(environment or {}),
        }
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        private(folder / "learners" / f"{name}.env", lines)
    private(folder / "platform" / "pki" / "ca.crt", "a certificate\n")
    private(folder / "platform" / "admin.conf", "the administrator's key\n")
    private(folder / "credentials.csv", _sheet(names, address))
    people = [{"name": n, "tenant": f"Team-{n}", "namespace": f"team-{n}"} for n in names]
    about = {
        "students": people,
        "instructors": ["instructor"],
        "platform": {"url": "https://127.0.0.1:1", "ca": str(folder / "platform/pki/ca.crt")},
        "hub": {"url": address, **(hub or {})},
    }
    private(folder / "class.json", json.dumps(about, indent=1))
    return folder


def commit(root: Path) -> None:
    """Commit everything in a folder, which becomes a git checkout at the first call."""
    somebody = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "."]):
        subprocess.run(["git", *somebody, "-c", "commit.gpgsign=false", *words], cwd=root)


def _sheet(names: list[str], address: str) -> str:
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name in names:
        writer.writerow([name, password(name), f"Team-{name}", "student", address])
    writer.writerow(["instructor", password("instructor"), "", "instructor", address])
    return sheet.getvalue()


def private(file: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text, "utf-8")
