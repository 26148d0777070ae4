"""Run `labsandbox` as a user would, and look at what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

from tests.processes import words_of

ROOT = Path(__file__).resolve().parents[3]


def labsandbox(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "LABSANDBOX_STATE"}
    env |= {"COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "labsandbox.cli", *words],
        capture_output=True,
        text=True,
        env=env,
        timeout=150,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def environment(state: Path) -> dict[str, str]:
    loaded: dict[str, str] = json.loads(labsandbox("env", "--state", str(state), "--json").stdout)
    return loaded


def family(state: Path) -> list[psutil.Process]:
    """Return every living process that names the state folder."""
    named = str(state)
    return [one for one in psutil.process_iter() if any(named in word for word in words_of(one))]


def until(phrase: str, condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {phrase}"
        time.sleep(0.05)


def session(env: dict[str, str], user: str | None = None) -> requests.Response:
    name = user or env["EZMERAL_USER"]
    file = Path(env["EZMERAL_PASSWORD_FILE"]).with_name(name)
    body = {"name": name, "password": file.read_text(), "tenant_name": env["EZMERAL_TENANT"]}
    return requests.post(
        f"{env['EZMERAL_URL']}/api/v2/session", json=body, verify=env["EZMERAL_CA"], timeout=20
    )


def holds(state: Path) -> bool:
    return bool(
        json.loads(labsandbox("status", "--state", str(state), "--json", check=False).stdout)[
            "running"
        ]
    )


def end(call: Callable[[], None]) -> None:
    try:
        call()
    except psutil.NoSuchProcess:
        return
