"""The platform as a whole: up, beside another, killed, up again, down without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from kubernetes import client, config

from labsandbox.node import processes
from tests.processes import words_of
from tests.sandbox.platform.program import (
    ROOT,
    end,
    environment,
    family,
    holds,
    labsandbox,
    session,
    until,
)

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]


def test_up_again_says_that_it_runs(state: Path) -> None:
    said = labsandbox("up", "--state", str(state), "--detach").stdout
    assert "runs already: process" in said


def test_environment_lets_a_learner_sign_in(state: Path) -> None:
    env = environment(state)
    answer = session(env)
    assert answer.status_code == 201
    assert answer.headers["Location"].startswith("/api/v2/session/")


def test_secrets_of_the_state_folder_are_its_owners_alone(state: Path) -> None:
    env = environment(state)
    private = [state, state / "credentials.csv", Path(env["EZMERAL_PASSWORD_FILE"])]
    private += [state / "admin.conf", state / "pki" / "ca.key"]
    assert [oct(path.stat().st_mode & 0o077) for path in private] == ["0o0"] * len(private)


def test_status_tells_what_runs(state: Path) -> None:
    found = json.loads(labsandbox("status", "--state", str(state), "--json").stdout)
    assert found["ready"] is True
    assert found["tables"]["KubeDirector clusters"][1][1] == "training-engine-shared"


def test_every_process_has_a_bound_and_pods_are_the_first_to_go(state: Path) -> None:
    named = {process.pid for process in family(state)}
    members = named | set(processes.find_node(processes.mark_of(state)))
    pods = {pid for pid in members if processes.number(pid)}
    ours = members - pods
    assert len(ours) >= 3  # the API server, the platform, the keeper
    assert pods
    assert [pid for pid in ours if "unlimited" in _limit(pid, "Max data size").split()[0]] == []
    highest = max(_score(pid) for pid in ours)
    assert [pid for pid in pods if _score(pid) <= highest] == []


def _limit(pid: int, name: str) -> str:
    text = Path(f"/proc/{pid}/limits").read_text()
    return next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name)


def _score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_second_sandbox_runs_beside_the_first(state: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    try:
        labsandbox("up", "--state", str(other), "--detach")
        one, two = environment(state), environment(other)
        assert one["EZMERAL_URL"] != two["EZMERAL_URL"]
        assert session(one).status_code == session(two).status_code == 201
    finally:
        labsandbox("down", "--state", str(other))
    assert family(other) == []


def test_session_survives_kill_of_everything(state: Path) -> None:
    env = environment(state)
    key = {"X-BDS-SESSION": session(env).headers["Location"]}
    for process in family(state):
        end(process.kill)
    until("the platform to be gone", lambda: not holds(state))
    labsandbox("up", "--state", str(state), "--detach")
    env = environment(state)
    known = requests.get(
        f"{env['EZMERAL_URL']}/api/v2/session", headers=key, verify=env["EZMERAL_CA"], timeout=20
    )
    assert known.status_code == 200
    assert known.json()["user_name"] == "student1"


def test_killed_api_server_comes_back(state: Path) -> None:
    before = json.loads((state / "apiserver.json").read_text())["pid"]
    os.kill(before, signal.SIGKILL)

    def is_new() -> bool:
        try:
            return bool(json.loads((state / "apiserver.json").read_text())["pid"] != before)
        except (OSError, ValueError):
            return False

    until("a new API server", is_new)
    until("the platform to answer", lambda: labsandbox("status", "--state", str(state)).stdout)


def test_two_ups_at_once_end_with_one_platform(tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    words = [sys.executable, "-m", "labsandbox.cli", "up", "--state", str(folder), "--detach"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )
        for _ in range(2)
    ]
    try:
        said = [process.communicate(timeout=150)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        platforms = [p for p in family(folder) if "labsandbox.platform" in words_of(p)]
        assert len(platforms) == 1
    finally:
        labsandbox("down", "--state", str(folder))
    assert family(folder) == []


def test_up_in_the_background_of_a_script_ends_on_sigint(tmp_path: Path) -> None:
    folder = tmp_path / "foreground"
    words = [sys.executable, "-m", "labsandbox.cli", "up", "--state", str(folder)]
    # As a shell starts a background job: SIGINT is ignored, and Python installs no handler then.
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(ignoring, stdout=out, stderr=out, env=env)
    try:
        until("the platform", lambda: "Ctrl-C stops it." in log.read_text() or process.poll())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
        assert "Stopped." in log.read_text()
        assert family(folder) == []
    finally:
        process.kill()
        process.wait()
        labsandbox("down", "--state", str(folder))


def test_down_twice_is_no_error(tmp_path: Path) -> None:
    assert "Nothing runs" in labsandbox("down", "--state", str(tmp_path / "none")).stdout


def test_env_of_a_stopped_sandbox_says_what_to_type(tmp_path: Path) -> None:
    done = labsandbox("env", "--state", str(tmp_path / "none"), check=False)
    assert done.returncode == 1
    assert "labsandbox up" in done.stderr
    assert "Traceback" not in done.stderr


def test_reset_refuses_a_folder_that_is_no_sandbox(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = labsandbox("reset", "--state", str(tmp_path), "--yes", check=False)
    assert done.returncode == 1
    assert (tmp_path / "thesis.tex").exists()


def test_one_processor_has_room_for_all_workshops_of_a_learner(tmp_path: Path) -> None:
    place = tmp_path / "state"
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        labsandbox("up", "--state", str(place), "--detach")
        asked = {"cpu": "2200m", "memory": "6528Mi"}  # a replay of all labs asked for 2050m
        container = {"name": "all", "image": "none", "resources": {"requests": asked}}
        pod = {"metadata": {"name": "all"}, "spec": {"containers": [container]}}
        api: Any = config.new_client_from_config(str(place / "admin.conf"))  # type: ignore[no-untyped-call]
        core: Any = client.CoreV1Api(api)
        core.create_namespaced_pod("default", pod)
        until(
            "the pod to be placed",
            lambda: core.read_namespaced_pod("all", "default").spec.node_name,
            seconds=20,
        )
    finally:
        os.sched_setaffinity(0, before)
        labsandbox("down", "--state", str(place))
