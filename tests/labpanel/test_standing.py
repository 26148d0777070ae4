"""Where a learner stands: counted from notebooks and progress; the platform, knocked at."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from labhelpers import progress
from labpanel import facts, standing
from labsandbox.certificates import Pair, context_of, issue, make_authority

pytestmark = pytest.mark.fast

LABS = """
[[lab]]
id = "start"
file = "start"
title = "Start here"
level = "beginner"
minutes = 10

[[lab]]
id = "core/01"
file = "core/01_in"
title = "Sign in"
level = "beginner"
minutes = 30
needs = ["start"]
platform = true
"""


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "labs.toml").write_text(LABS)
    write(tmp_path, "start", 'check("One", True)\nif True:\n    check("Two", True)')
    write(tmp_path, "core/01_in", "%load_ext x", 'check(\n    "In",\n    True)', "%%elsewhere")
    monkeypatch.delenv("EZMERAL_URL", raising=False)
    monkeypatch.chdir(tmp_path / "notebooks" / "core")
    return tmp_path


def write(collection: Path, file: str, *cells: str) -> None:
    path = collection / "notebooks" / f"{file}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "check("}, *told]}))


def test_labs_say_what_is_done_begun_and_not_yet(collection: Path) -> None:
    start, first = standing.labs(collection)
    assert (start.checkpoints, start.words, start.is_done) == (2, "not begun", False)
    assert (first.checkpoints, first.needs, first.platform) == (1, ("start",), True)
    progress.record("start", "One", True)
    progress.record("start", "Two", False)
    progress.record("start", "A checkpoint of an older edition", False)
    start, _ = standing.labs(collection)
    assert start.words == "1 of 2 checkpoints passed, 1 not yet"
    assert start.failing == ("Two",)
    progress.record("start", "Two", True)
    start, _ = standing.labs(collection)
    assert start.is_done
    assert start.words == "2 of 2 checkpoints passed"


def test_notebook_that_is_changed_is_counted_again(collection: Path) -> None:
    assert standing.labs(collection)[0].checkpoints == 2
    write(collection, "start", 'check("One", 1)', 'check("Two", 1)', 'check("Three", 1)')
    assert standing.labs(collection)[0].checkpoints == 3


def test_notebook_that_cannot_be_read_counts_what_was_recorded(collection: Path) -> None:
    (collection / "notebooks" / "start.ipynb").write_text("{ half")
    progress.record("start", "One", True)
    start, _ = standing.labs(collection)
    assert (start.checkpoints, start.passed) == (1, 1)


def test_show_names_the_labs_that_need_no_platform(
    collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    standing.show(collection, Console(width=120))
    said = capsys.readouterr().out
    assert "Sign in" in said
    assert "These labs need none: start." in said
    assert "labsandbox up --detach" in said


class Answer(BaseHTTPRequestHandler):
    """Answers with the number that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.rsplit("/", 1)[-1]) if self.path[-1].isdigit() else 200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority("a test")


@pytest.fixture
def server(authority: Pair) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answer) as listening:
        context = context_of(issue("server", authority, hosts=("127.0.0.1",)))
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield f"https://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def platform(
    server: str, authority: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """Configure a platform: its certificate in a file, its API in a kubeconfig."""
    ca, kubeconfig = tmp_path / "ca.crt", tmp_path / "kubeconfig"
    ca.write_text(authority.certificate_pem)
    data = base64.b64encode(authority.certificate_pem.encode()).decode()
    cluster = {"server": server, "certificate-authority-data": data}
    document = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "me", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "me",
        "users": [{"name": "u", "user": {"token": "very-secret"}}],
    }
    kubeconfig.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("EZMERAL_URL", f"{server}/")
    monkeypatch.setenv("EZMERAL_CA", str(ca))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    return {"ca": ca, "kubeconfig": kubeconfig}


def test_doors_answer_over_a_verified_connection(
    platform: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # the platform is asked directly
    assert [(door.name, door.is_open, door.words) for door in standing.doors()] == [
        ("Front door", True, "answers"),
        ("Kubernetes API", True, "answers"),
    ]


def test_doors_say_what_is_wrong(
    platform: dict[str, Path], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform["ca"].write_text(make_authority("somebody else").certificate_pem)
    platform["kubeconfig"].write_text("contexts: 3")
    front, api = standing.doors()
    assert (front.is_open, front.words) == (
        False,
        "shows a certificate that EZMERAL_CA does not vouch for",
    )
    assert (api.is_open, api.words) == (
        False,
        "your kubeconfig cannot be read: run lab core-01 again",
    )
    platform["kubeconfig"].unlink()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("EZMERAL_URL", f"https://127.0.0.1:{port}")
    front, api = standing.doors()
    assert (front.is_open, front.words) == (False, "does not answer (Connection refused)")
    assert (api.is_open, api.words) == (None, "you get its address in lab core-01")


@pytest.mark.parametrize(
    ("status", "door"), [(401, (True, "answers")), (503, (False, "answers with error 503"))]
)
def test_door_that_refuses_is_one_that_answers(
    platform: dict[str, Path], server: str, status: int, door: tuple[bool, str]
) -> None:
    found = standing._probe("Front door", f"{server}/{status}", str(platform["ca"]))
    assert (found.is_open, found.words) == door


def test_silent_door_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        found = standing._probe("Front door", f"https://127.0.0.1:{port}/", None)
    assert (found.is_open, found.words) == (False, "does not answer within 0 s")


def test_no_platform_has_no_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EZMERAL_URL", raising=False)
    assert standing.doors() == []


def test_panel_reads_the_list_of_labs_of_this_checkout() -> None:
    assert (facts.CHECKOUT / "labs.toml").is_file()
