"""A sandbox that ends with whoever started it, also when that one is killed with -9."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labsandbox import platform, sandbox
from labsandbox.files import write_private
from labsandbox.state import State
from tests.sandbox.platform.program import family, labsandbox, until

pytestmark = pytest.mark.sandbox

STARTER = """
import subprocess, sys, time
up = [sys.executable, "-m", "labsandbox.cli", "up", "--detach", "--json", "--until-eof", "--state"]
started = subprocess.Popen([*up, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(started.stdout.readline().decode(), end="", flush=True)
time.sleep(600)
"""


def test_sandbox_ends_with_its_killed_starter(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout is not None
        with starter.stdout as words:
            said = json.loads(words.readline())
        assert said["already"] is False
        assert said["environment"]["EZMERAL_URL"].startswith("https://127.0.0.1:")
        joined = json.loads(labsandbox("up", "--state", str(folder), "--detach", "--json").stdout)
        assert joined == said | {"already": True}
        starter.kill()
        starter.wait()
        until("every process of the sandbox to end", lambda: not family(folder), seconds=30)
    finally:
        starter.kill()
        starter.wait()
        labsandbox("down", "--state", str(folder))


def test_sandbox_ends_when_its_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert labsandbox("up", "--state", str(folder), "--detach").returncode == 0
    try:
        assert family(folder)
        shutil.rmtree(folder, ignore_errors=True)
        until("every process of the sandbox to end", lambda: not family(folder), seconds=30)
    finally:
        for process in family(folder):
            process.kill()


def test_up_waits_for_the_sandbox_that_is_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State.at(tmp_path / "state")
    lock = platform.hold(state)
    assert lock is not None
    write_private(state.platform_json, json.dumps({"phase": "stopping", "pid": 1}))
    spawned: list[bool] = []
    monkeypatch.setattr(sandbox, "_spawn", lambda *_: spawned.append(sandbox.is_held(state)))
    monkeypatch.setattr(sandbox, "_await_ready", lambda *_: None)
    threading.Timer(0.2, lock.close).start()
    sandbox.start(state, [], lambda _: None)
    assert spawned == [False]


def test_up_waits_as_long_as_the_platform_gets_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State.at(tmp_path / "state")
    lock = platform.hold(state)
    assert lock is not None
    monkeypatch.setattr(sandbox, "_UP_SECONDS", 2)

    def get_on() -> None:
        for phase in ("one", "two", "three", "four"):
            threading.Event().wait(0.8)
            said = {"phase": phase, "pid": 1, "ready": phase == "four"}
            write_private(state.platform_json, json.dumps(said))

    moving = threading.Thread(target=get_on)
    moving.start()
    try:
        told: list[str] = []
        assert sandbox._await_ready(state, None, told.append).phase == "four"
        assert told[-3:] == ["two", "three", "four"]
        write_private(state.platform_json, json.dumps({"phase": "stuck", "pid": 1}))
        with pytest.raises(sandbox.NotStarted, match=r"no further for 2 s.*it last said 'stuck'"):
            sandbox._await_ready(state, None, told.append)
    finally:
        moving.join()
        lock.close()
