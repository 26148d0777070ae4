"""`labs lab`: it opens, says where it is, and leaves nothing running, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from labhelpers.deadline import wait
from labpanel import facts
from tests.labpanel.seat import PATIENCE, Seat
from tests.processes import words_of
from tests.terminal import program

pytestmark = pytest.mark.labs


@pytest.fixture
def seat(tmp_path: Path) -> Iterator[Seat]:
    found = Seat(tmp_path)
    yield found
    found.clear()


def gone(seat: Seat) -> None:
    wait("every process to end", seat.processes, [].__eq__, deadline=PATIENCE)


def test_ctrl_c_closes_what_a_second_call_found_open(seat: Seat) -> None:
    with seat.with_sandbox().open_lab() as opened:
        assert "/lab/tree/notebooks/00_start_here.ipynb?token=" in opened.address
        jupyter = psutil.Process(opened.record["jupyter"])
        assert "--no-browser" in jupyter.cmdline()  # no screen here
        record = seat.folder / "home/lab/lab.json"
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        assert stat.S_IMODE((seat.folder / "home/lab/jupyter.log").stat().st_mode) == 0o600
        second = seat.type_lab()
        said, _ = second.communicate(timeout=PATIENCE)
        assert second.returncode == 0
        assert f"open already, by process {opened.process.pid} at\n  {opened.address}" in said
        assert opened.end(signal.SIGINT) == 0
        assert not record.exists()
        assert "Closing JupyterLab…\nClosing the sandbox…" in opened.said
        wait("the lifeline to be closed", lambda: seat.calls, ["up", "down", "ended"].__eq__)
    gone(seat)


def test_kernel_waits_for_the_sandbox_and_ends_with_sigterm(seat: Seat) -> None:
    slow = seat.with_sandbox(before=f'until [ -e "{seat.folder}/go" ]; do sleep 0.1; done')
    with slow.open_lab() as opened:
        state = opened.ask("/labs/state")["platform"]
        assert (state["status"], state["words"]) == ("starting", "The sandbox is starting")
        with contextlib.closing(_asking(opened.address, "/api/kernels")) as asking:
            (seat.folder / "go").touch()
            assert b"201" in asking.recv(100).split(b"\r\n")[0]
        [kernel] = [p for p in seat.processes() if "ipykernel_launcher" in words_of(p)]
        assert kernel.environ()["EZMERAL_URL"] == "https://127.0.0.1:9"
        assert opened.ask("/labs/state")["platform"]["status"] == "trouble"
        assert opened.end(signal.SIGTERM) == 128 + signal.SIGTERM
    gone(seat)


def _asking(address: str, path: str) -> socket.socket:
    """Ask for a kernel without waiting for the answer."""
    host, _, token = address.removeprefix("http://").partition("/lab/")[0], "", address[-48:]
    name, port = host.split(":")
    asking = socket.create_connection((name, int(port)), timeout=PATIENCE)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {token}\r\n"
    asking.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
    return asking


def test_run_of_a_lab_changes_the_learners_copy_alone(seat: Seat) -> None:
    path = "notebooks/core/01_authenticate.ipynb"
    tracked = facts.CHECKOUT / path
    before = tracked.read_bytes()
    copy = seat.folder / "home" / "labs" / path
    with seat.with_sandbox().open_lab() as opened:
        assert f"Your copies of the labs are in {seat.folder / 'home' / 'labs'}." in opened.said
        content = opened.ask(f"/api/contents/{path}")["content"]
        content["metadata"]["saved"] = "by JupyterLab"
        opened.ask(f"/api/contents/{path}", "PUT", {"type": "notebook", "content": content})
        assert "by JupyterLab" in copy.read_text()
        assert tracked.read_bytes() == before
        row = next(lab for lab in opened.ask("/labs/state")["labs"] if lab["id"] == "core/01")
        assert (row["path"], row["has_news"]) == (path, False)
        assert (seat.folder / "home" / "labs" / "Pictures" / "house.svg").is_file()
        second = subprocess.run(
            [Path(sys.executable).with_name("labs"), "open", "core/01", "--start-over"],
            env=seat.environment,
            capture_output=True,
            text=True,
        )
        assert second.returncode == 0, second.stderr
        assert f"Your old copy is {copy.with_name('01_authenticate-before.ipynb')}" in second.stdout
        assert f"/lab/tree/{path}?token=" in second.stdout
        assert "by JupyterLab" not in copy.read_text()
        assert opened.end(signal.SIGINT) == 0
    gone(seat)


def test_terminal_finds_the_labs_programs_whatever_sets_its_path(seat: Seat) -> None:
    home = seat.folder / "elsewhere"
    home.mkdir()
    (home / ".bashrc").write_text("PATH=/usr/bin:/bin\n")
    seat.more |= {"HOME": str(home), "SHELL": "/bin/bash"}
    beside = Path(sys.executable).parent
    with seat.with_sandbox().open_lab() as opened:
        parts = urlsplit(opened.address)
        server, token = f"http://{parts.netloc}", parts.query.removeprefix("token=")
        for name in ("labs", "labsandbox"):
            assert program(server, token, name) == str(beside / name)
        assert opened.end(signal.SIGINT) == 0
    gone(seat)


def test_closed_terminal_ends_jupyterlab_and_keeps_a_kept_sandbox(seat: Seat) -> None:
    opens = seat.folder / "browser"
    opens.write_text(f'#!/bin/sh\necho "$1" > "{seat.folder}/shown"\n')
    opens.chmod(0o755)
    seat.more["BROWSER"] = f"{opens} %s"
    with seat.with_sandbox().open_lab("--keep") as opened:
        assert "`labsandbox down` ends it" in wait(
            "the sandbox to be told of", lambda: "labsandbox down" in opened.said and opened.said
        )
        wait("the browser to be called", (seat.folder / "shown").exists)
        assert opened.end(signal.SIGHUP) == 128 + signal.SIGHUP
        assert seat.calls == ["up"]
        assert "--until-eof" not in (seat.folder / "calls").read_text()
    gone(seat)


def test_sandbox_that_ran_before_goes_on(seat: Seat) -> None:
    with seat.with_sandbox(already=True).open_lab() as opened:
        wait("the sandbox to be told of", lambda: "running before" in opened.said)
        os.kill(opened.record["jupyter"], signal.SIGKILL)
        assert opened.wait() == 1
        assert "Expected JupyterLab to go on until you close it; it ended with status -9" in (
            opened.said
        )
    assert "down" not in seat.calls
    gone(seat)


def test_killed_labs_lab_takes_jupyterlab_kernels_and_sandbox_along(seat: Seat) -> None:
    with seat.open_lab() as opened:
        opened.ask("/api/kernels", "POST", {})
        wait("the sandbox", lambda: opened.ask("/labs/state")["platform"]["status"] == "ready")
        assert len(seat.processes()) > 4
        opened.process.kill()
        opened.wait()
        gone(seat)
        assert opened.record["has_sandbox"]  # what nobody could tidy up
    with seat.open_lab() as again:
        wait("the sandbox", lambda: again.ask("/labs/state")["platform"]["status"] == "ready")
        again.ask("/api/shutdown", "POST")  # JupyterLab's own Shut Down
        assert again.wait() == 0
        assert "Closing the sandbox…" in again.said
    gone(seat)


def test_next_labs_lab_ends_what_a_killed_one_left(seat: Seat) -> None:
    with seat.with_sandbox().open_lab() as opened:
        wait("the sandbox to be called", lambda: seat.calls == ["up"])
        left = opened.record["jupyter"]
        os.kill(left, signal.SIGSTOP)  # it cannot end by itself
        opened.process.kill()
        opened.wait()
        wait("its sandbox to end", lambda: "ended" in seat.calls)
        threading.Timer(1, os.kill, (left, signal.SIGCONT)).start()
        with seat.open_lab() as again:
            assert again.record["jupyter"] != left
            assert not psutil.pid_exists(left)
            assert seat.calls[:4] == ["up", "ended", "down", "up"]
            assert again.end(signal.SIGINT) == 0
    gone(seat)


@pytest.mark.parametrize(
    ("before", "words", "said"),
    [
        ('echo "no ports left" >&2; exit 4', (), "ended with status 4: no ports left"),
        ("", ("--ServerApp.port_retries=0", "--port={port}"), "make lab ARGS='--port 0'"),
        ("", ("as root",), "make lab ARGS=--allow-root"),
        ("", ("--ServerApp.port=many",), "All its words are in"),
    ],
    ids=["sandbox", "port", "root", "option"],
)
def test_start_that_fails_says_why(
    seat: Seat, before: str, words: tuple[str, ...], said: str
) -> None:
    if "as root" in words:
        if os.geteuid() != 0:
            pytest.skip("Only root is refused by JupyterLab.")
        seat.root, words = [], ()
    seat.with_sandbox(before=before)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = seat.type_lab(*(word.format(port=port) for word in words))
        told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert said in told
    assert "Traceback" not in told
    assert seat.calls[:2] == ["up", "down"]
    gone(seat)


def test_home_that_cannot_be_written_is_told(seat: Seat) -> None:
    (seat.folder / "home").write_text("a file")
    process = seat.type_lab()
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Set LABS_HOME to another folder." in told
