"""The panel: who may read it, what it says, what it sends to a class, and what it keeps silent."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labclass import ledger
from labhelpers import progress
from labhelpers.deadline import wait
from labpanel import LABEXTENSIONS, facts, questions, reporter
from labpanel.standing import Door
from labrunner import sandbox

pytestmark = pytest.mark.labs

BASE = "/user/ann.b-c/"
REFUSAL = ("progress was not taken", "HTTP 503", "again in")
TOKEN, HUB_TOKEN, PASSWORD = "token-of-jupyter", "token-of-the-hub", "password-of-ann"


@dataclass
class Class:
    """An attendance service that notes what it is sent, and refuses while it is told to."""

    url: str
    refuse: int = 0
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture(scope="module")
def attendance() -> Iterator[Class]:
    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found.refuse:
                found.refuse -= 1
                self.send_error(503)
                return
            found.posts.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as listening:
        found = Class(f"http://127.0.0.1:{listening.server_port}/services/attendance/progress")
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield found
        listening.shutdown()
        thread.join()


@dataclass
class Jupyter:
    """A Jupyter server with the panel, as a hub starts one."""

    address: str
    home: Path
    log: Path

    def get(
        self, path: str, token: str = TOKEN, data: bytes | None = None
    ) -> tuple[int, Message, str]:
        """Ask for something below the base address; do not follow where it points."""
        headers = {"Content-Type": "application/json"} if data else {}
        headers |= {"Authorization": f"token {token}"} if token else {}
        request = urllib.request.Request(f"{self.address}{path}", data, headers)
        try:
            with urllib.request.build_opener(Stay).open(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.headers, refused.read().decode()

    def post(self, path: str, body: object, token: str = TOKEN) -> tuple[int, str]:
        status, _, text = self.get(path, token, json.dumps(body).encode())
        return status, text

    def state(self) -> dict[str, Any]:
        """Return what the panel shows."""
        status, _, text = self.get("labs/state")
        assert status == 200
        found: dict[str, Any] = json.loads(text)
        return found


class Stay(urllib.request.HTTPRedirectHandler):
    """Does not follow."""

    def redirect_request(self, *words: Any) -> None:
        """Go nowhere."""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory, attendance: Class) -> Iterator[Jupyter]:
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "root" / "copy").mkdir(parents=True)
    (folder / "root" / "copy" / "notebooks").symlink_to(facts.CHECKOUT / "notebooks")
    (folder / "password").write_text(PASSWORD)
    own = {
        "LABS_HOME": str(folder / "home"),
        "LABS_ATTENDANCE_URL": attendance.url,
        "JUPYTERHUB_API_TOKEN": HUB_TOKEN,
        "EZMERAL_URL": "https://127.0.0.1:9",
        "EZMERAL_PASSWORD_FILE": str(folder / "password"),
        "LABSANDBOX_STATE": str(folder / "state"),
        "KUBECONFIG": str(folder / "kubeconfig"),
    }
    for name in ("CONFIG", "DATA", "RUNTIME"):
        own[f"JUPYTER_{name}_DIR"] = str(folder / name.lower())
    options = [
        *("--no-browser", "--allow-root", "--ServerApp.port=0", f"--ServerApp.base_url={BASE}"),
        f"--ServerApp.root_dir={folder / 'root'}",
        f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.jpserver_extensions={'labpanel': True, 'jupyterlab': True}",
    ]
    log = folder / "log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options],
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
        )
    try:
        file = wait("Jupyter", lambda: [*(folder / "runtime").glob("jpserver-*.json")], every=0.05)[
            0
        ]
        port = json.loads(wait("its address", file.read_text, every=0.05))["port"]
        server = Jupyter(f"http://127.0.0.1:{port}{BASE}", folder / "home", log)
        # The file is written before the server listens.
        wait("Jupyter to answer", lambda: server.get("api")[0] == 200, ignoring=(OSError,))
        yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def home(jupyter: Jupyter, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this test be a kernel of the learner's."""
    monkeypatch.setenv("LABS_HOME", str(jupyter.home))
    return jupyter.home


def test_panel_is_for_whoever_may_use_the_server(jupyter: Jupyter) -> None:
    assert jupyter.get("labs/state", token="")[0] == 403
    assert jupyter.get("labs/state", token="guessed")[0] == 403
    status, headers, _ = jupyter.get("labs/", token="")
    assert (status, headers["Location"].split("?")[0]) == (302, f"{BASE}login")
    status, headers, text = jupyter.get("labs/")
    assert status == 200
    policies = headers.get_all("Content-Security-Policy")
    assert any("script-src 'self'" in policy for policy in policies)
    assert any("frame-ancestors 'self'" in policy for policy in policies)
    assert "unsafe" not in str(policies)
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "<script>" not in text
    assert " style=" not in text
    assert jupyter.get("labs")[1]["Location"] == f"{BASE}labs/"


@pytest.mark.parametrize("file", ["panel.js", "page.js", "panel.css", "icon.svg"])
def test_everything_of_the_page_comes_from_this_server(jupyter: Jupyter, file: str) -> None:
    status, headers, text = jupyter.get(f"labs/static/{file}")
    assert status == 200
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


def test_jupyterlab_is_told_of_its_left_panel(jupyter: Jupyter) -> None:
    status, _, text = jupyter.get("lab")
    assert status == 200
    config = text.partition('id="jupyter-config-data"')[2].partition(">")[2].partition("</")[0]
    names = [one["name"] for one in json.loads(config)["federated_extensions"]]
    assert "house-on-the-lake" in names
    entry = "lab/extensions/house-on-the-lake/static/remoteEntry.js"
    assert jupyter.get(entry)[2] == (Path(LABEXTENSIONS, *entry.split("/")[2:]).read_text("utf-8"))


def test_state_follows_progress_and_says_where_to_go_on(jupyter: Jupyter, home: Path) -> None:
    first = jupyter.state()["labs"][0]
    assert (first["id"], first["words"]) == ("start", "not begun")
    assert first["path"] == "copy/notebooks/00_start_here.ipynb"
    assert jupyter.state()["glossary"] == "copy/notebooks/glossary.md"
    progress.record("start", "This machine can run the labs", False)
    changed = wait(
        "the panel to follow",
        lambda: jupyter.state()["labs"][0],
        lambda lab: lab["failing"],
        every=0.1,
    )
    assert changed["failing"] == ["This machine can run the labs"]
    assert jupyter.state()["next"] == "start"


def test_answer_to_a_question_is_scored_by_the_server(jupyter: Jupyter, home: Path) -> None:
    asked = questions.of(facts.CHECKOUT / "notebooks/core/01_authenticate.ipynb")[0]
    body = {"lab": "core/01", "question": asked.text, "answer": asked.right}
    assert jupyter.post("labs/answers", body, token="")[0] == 403
    assert jupyter.post("labs/answers", {**body, "question": "Who am I?"})[0] == 400
    assert jupyter.post("labs/answers", {**body, "answer": 99})[0] == 400
    assert jupyter.post("labs/answers", body) == (200, '{"right": true}')
    assert jupyter.post("labs/answers", {**body, "answer": asked.right - 1})[1] != '{"right": true}'
    lab = next(one for one in jupyter.state()["labs"] if one["id"] == "core/01")
    assert lab["score"] == "1 of 3 questions right at the first answer, 2 open"
    assert asked.text not in lab["failing"]


def test_finish_page_and_take_away_are_for_whoever_may_use_the_server(jupyter: Jupyter) -> None:
    status, headers, text = jupyter.get("labs/finish/core/")
    assert status == 200
    assert "form-action 'none'" in str(headers.get_all("Content-Security-Policy"))
    assert not [one for one in ("<script>", " style=") if one in text]
    assert jupyter.get("labs/finish/nowhere/")[0] == 404
    assert jupyter.get("labs/finish/core/take-away.zip", token="")[0] == 302
    assert jupyter.get("labs/finish/core/", token="")[0] == 302


def test_survey_reaches_the_class(jupyter: Jupyter, attendance: Class, home: Path) -> None:
    body = {"useful": 5, "pace": "right", "change": "100 % more maps"}
    assert jupyter.post("labs/finish/core/survey", body, token="")[0] == 403
    assert jupyter.post("labs/finish/core/survey", {**body, "pace": "100 %"})[0] == 400
    assert jupyter.post("labs/finish/core/survey", body)[0] == 200

    def arrived() -> bool:
        return any(one.get("survey", {}).get("core") for _, one in attendance.posts)

    wait("the answers in a report", arrived, every=0.1)
    assert ledger.read(json.dumps(attendance.posts[-1][1]).encode()).survey["core"].useful == 5


def test_state_keeps_secrets_and_everybody_elses_applications(jupyter: Jupyter) -> None:
    state = jupyter.state()
    assert state["platform"]["words"] == "The platform does not answer"
    assert state["platform"]["applications"] == []
    told = json.dumps(state)
    for secret in (TOKEN, HUB_TOKEN, PASSWORD, "127.0.0.1", str(jupyter.home.parent)):
        assert secret not in told
    for secret in (TOKEN, HUB_TOKEN, PASSWORD):
        assert secret not in jupyter.log.read_text()


def test_watching_is_no_activity_that_keeps_a_server_from_being_culled(jupyter: Jupyter) -> None:
    def last() -> str:
        return str(json.loads(jupyter.get("api/status?no_track_activity=1")[2])["last_activity"])

    before = last()
    jupyter.state()
    assert last() == before
    jupyter.get("api/kernelspecs")
    assert last() != before


def test_progress_is_sent_at_the_start_and_on_each_change(
    jupyter: Jupyter, attendance: Class, home: Path
) -> None:
    wait("the first report", lambda: attendance.posts, every=0.1)
    attendance.refuse = 2
    progress.record("core/01", "You are signed in", True)

    def arrived() -> bool:
        return any(
            "You are signed in" in body["progress"].get("core/01", {})
            for _, body in attendance.posts
        )

    wait("the change, after two refusals", arrived, every=0.1)
    authorization, body = attendance.posts[-1]
    assert authorization == f"token {HUB_TOKEN}"
    assert body["progress"] == progress.load()
    assert body["at"].endswith("+00:00")
    assert attendance.refuse == 0
    # The words of a refusal, not "503": a timestamp or a port may hold that.
    log = jupyter.log.read_text()
    assert [words for words in REFUSAL if words in log] == []


def test_progress_is_sent_again_when_nothing_changes(
    attendance: Class, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporter, "SAY_SECONDS", 0.05)
    monkeypatch.setattr(reporter, "LOOK_SECONDS", 0.01)
    caplog.set_level(logging.DEBUG)
    before = len(attendance.posts)
    one = reporter.Reporter(attendance.url, HUB_TOKEN, logging.getLogger("panel"))

    async def look(times: int) -> None:
        async with asyncio.timeout(30):
            while len(attendance.posts) < before + times:
                await one.look()
                await asyncio.sleep(0.01)

    asyncio.run(look(3))
    assert attendance.posts[-1][1]["progress"] == attendance.posts[-2][1]["progress"]
    attendance.refuse, before = 1, len(attendance.posts)
    asyncio.run(look(1))
    assert [words for words in REFUSAL if words not in caplog.text] == []
    assert HUB_TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("doors", "own", "found", "status", "words"),
    [
        ([], False, {}, "none", "No platform is configured"),
        ([Door("F", True, "")], False, {}, "ready", "The platform is ready"),
        ([Door("F", True, "")], True, {"phase": "ready"}, "ready", "The sandbox is ready"),
        ([Door("F", False, "")], True, {}, "trouble", "The sandbox does not answer"),
        (
            [Door("F", False, "")],
            True,
            {"phase": "starting x"},
            "starting",
            "The sandbox is starting",
        ),
    ],
)
def test_platform_is_put_into_words(
    doors: list[Door], own: bool, found: dict[str, Any], status: str, words: str
) -> None:
    said = facts.describe(doors, found, own=own)
    assert (said["status"], said["words"]) == (status, words)
    assert bool(said["cure"]) == (status in ("none", "trouble"))


def test_sandbox_of_ones_own_tells_its_applications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [["namespace", "name", "app", "state", "ready", "problem"]]
    rows += [["k8smltenant", "nb", "jupyter-notebook", "configured", "1", ""]]
    told = {"memory_mb": 140, "phase": "ready", "tables": {"KubeDirector clusters": rows}}
    program = tmp_path / "labsandbox"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(sandbox, "command", lambda: str(program))
    found = facts.status_of_sandbox()
    said = facts.describe([Door("Front door", True, "answers")], found, own=True)
    assert said["applications"] == [
        {"name": "nb", "app": "jupyter-notebook", "state": "configured"}
    ]
    assert said["memory_mb"] == 140
    assert "k8smltenant" not in json.dumps(said)
    program.write_text("#!/bin/sh\necho broken; exit 1\n")
    assert facts.status_of_sandbox() == {}


def test_old_answer_is_given_while_a_new_one_is_looked_up() -> None:
    may_answer, asked = threading.Event(), iter(range(9))

    def look() -> int:
        number = next(asked)
        assert number == 0 or may_answer.wait(30)
        return number

    async def ask() -> list[int]:
        kept = facts.Kept(look, seconds=0.0)
        first = await kept.now()
        second = await kept.now()  # at once: nobody may answer yet
        may_answer.set()
        async with asyncio.timeout(30):
            while await kept.now() == second:
                await asyncio.sleep(0.01)
        return [first, second]

    assert asyncio.run(ask()) == [0, 0]


def test_notebooks_outside_of_the_server_are_not_linked(tmp_path: Path) -> None:
    assert facts.notebooks_below(tmp_path.resolve()) is None
    assert facts.notebooks_below(facts.CHECKOUT) == facts.CHECKOUT / "notebooks"
    labs = asyncio.run(facts.Facts(tmp_path).state())["labs"]
    assert {lab["path"] for lab in labs} == {None}
    assert facts.glossary_below(tmp_path.resolve()) is None
