"""A whole class: `labs class` opens it, is killed, opens it again, and closes it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import requests

from labclass import leftovers
from tests.classroom.class_ import family, labs_class, said, settings, sheet, start, until
from tests.classroom_folder import free_port
from tests.hub.person import Person
from tests.processes import environment_of, words_of

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(280)]


def is_open(folder: Path) -> bool:
    return "Ctrl-C ends the class" in said(folder)


def report(url: str, person: Person) -> dict[str, int]:
    found = person.http.get(f"{url}/services/attendance/progress", timeout=30).json()
    return {row["name"]: row["passed"] for row in found["learners"]}


def test_class_outlives_its_terminal_and_closes_without_a_trace(tmp_path: Path) -> None:
    folder, port = tmp_path / "class", str(free_port())
    process = start(folder, "--students", "2", "--port", port)
    try:
        until("the class to open", lambda: is_open(folder) or process.poll() is not None)
        assert is_open(folder), said(folder)
        url = json.loads((folder / "class.json").read_text())["hub"]["url"]
        assert url == f"http://127.0.0.1:{port}"
        assert f"Learners go to   {url}" in said(folder)
        zoe = Person(url, "student1", sheet(folder)["student1"])
        zoe.sign_in()
        zoe.start_server()
        note_progress(folder)
        teacher = Person(url, "instructor", sheet(folder)["instructor"])
        teacher.sign_in("/services/attendance/")
        until("the learner's server reports", lambda: report(url, teacher)["student1"] == 1)
        assert report(url, teacher) == {"student1": 1, "student2": 0}

        servers = server_pids(folder)
        assert servers
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert requests.get(f"{url}/hub/health", timeout=30).ok, "the class goes on"
        process = start(folder)
        until("the class to open again", lambda: is_open(folder) or process.poll() is not None)
        assert servers <= server_pids(folder)
        zoe.until_served()
        assert report(url, teacher) == {"student1": 1, "student2": 0}

        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0, said(folder)
        assert f"labs class --folder {folder}" in said(folder)
        assert family(folder) == []
    finally:
        process.kill()
        process.wait()
        labs_class(folder, "--down", check=False)


def server_pids(folder: Path) -> set[int]:
    """Return the learners' servers and their wardens, without what a server starts and ends."""
    wardens = [
        one for one in leftovers.marked("server", folder) if "labclass.warden" in words_of(one)
    ]
    return {one.pid for warden in wardens for one in [warden, *warden.children()]}


def note_progress(folder: Path) -> None:
    """Pass a checkpoint, as a notebook of the first learner does."""
    place = settings(folder, "student1")
    assert place["EZMERAL_USER"] == "student1"
    homes = [
        environment["LABS_HOME"]
        for environment in map(environment_of, leftovers.marked("server", folder))
        if "LABS_HOME" in environment
    ]
    home = Path(homes[0])
    home.mkdir(parents=True, exist_ok=True)
    passed = {"passed": True, "failures": 0, "at": "2026-05-04T10:00:00+00:00"}
    kept = {"start": {"The kernel remembers the cell above": passed}}
    (home / "progress.json").write_text(json.dumps(kept))


def test_port_that_is_taken_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = labs_class(tmp_path / "class", "--students", "1", "--port", port, check=False)
    assert f"Expected port {port} of 127.0.0.1 to be free" in words
    assert "labs class --port" in words
    assert family(tmp_path / "class") == []
