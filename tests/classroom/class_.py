"""Run `labs class` as an instructor would, and meet the platform as its learners do."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

from labrunner import sandbox
from tests.processes import words_of
from tests.repo.tree import ROOT

PROGRAM = str(Path(sys.executable).with_name("labs"))


def environment() -> dict[str, str]:
    """Return an environment that names no platform."""
    ours = ("EZMERAL", "LABSANDBOX", "GATEWAY_CA", "PROJECT_REPO", "LABS_CLASS")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def labs_class(folder: Path, *words: str, check: bool = True) -> str:
    """Run `labs class` to its end and return all it said."""
    done = subprocess.run(
        [PROGRAM, "class", "--folder", str(folder), *words],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start `labs class` as a script's background job; its output goes beside the folder.

    A shell starts such a job with SIGINT ignored.
    """
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    with open(folder.with_name("said.txt"), "wb") as said:
        return subprocess.Popen(
            [*ignoring, PROGRAM, "class", "--folder", str(folder), *words],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def said(folder: Path) -> str:
    """Return what a started `labs class` has said."""
    return folder.with_name("said.txt").read_text("utf-8")


def sheet(folder: Path) -> dict[str, str]:
    """Return the passwords by name."""
    with (folder / "credentials.csv").open() as file:
        return {row["name"]: row["password"] for row in csv.DictReader(file)}


def settings(folder: Path, name: str) -> dict[str, str]:
    """Return the settings of one learner."""
    return sandbox.read_settings((folder / "learners" / f"{name}.env").read_text())


def sign_in(folder: Path, name: str, tenant: str | None = None) -> requests.Response:
    """Sign in to the platform with what stands on a learner's card."""
    place = settings(folder, name)
    body = {"name": name, "password": sheet(folder)[name]}
    body["tenant_name"] = tenant or place["EZMERAL_TENANT"]
    url = f"{place['EZMERAL_URL']}/api/v2/session"
    return requests.post(url, json=body, verify=place["EZMERAL_CA"], timeout=30)


def until(phrase: str, condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {phrase}"
        time.sleep(0.1)


def family(folder: Path) -> list[str]:
    """Return the command of every living process that names the class folder."""
    commands = (" ".join(words_of(process)) for process in psutil.process_iter())
    return [command for command in commands if str(folder) in command]
