"""The attendance service under the real hub of a class: who may send, who may see, what is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from playwright.sync_api import sync_playwright

from labclass.ledger import MOST_BYTES, Ledger
from tests import classroom_folder
from tests.classroom.pupils import keep, progress, twelve
from tests.hub.person import Person
from tests.hub.running import Hub, until
from tests.processes import words_of

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Return a running hub of a class of twelve."""
    folder = classroom_folder.make(tmp_path_factory.mktemp("attendance") / "class", students=12)
    keep(Ledger(folder / "attendance"), twelve())
    running = Hub(folder)
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture(scope="module")
def page(hub: Hub) -> str:
    return f"{hub.url}/services/attendance/"


@pytest.fixture(scope="module")
def instructor(hub: Hub) -> Person:
    return signed_in(hub, "instructor")


@pytest.fixture(scope="module")
def learner(hub: Hub) -> Person:
    return signed_in(hub, "student7")


def signed_in(hub: Hub, name: str) -> Person:
    person = hub.person(name)
    answer = person.sign_in("/services/attendance/")
    assert answer.url.startswith(f"{hub.url}/services/attendance/"), answer.url
    return person


@pytest.fixture(scope="module")
def token(hub: Hub, learner: Person) -> str:
    """Return a token as the learner's server has: it tells who it is, and opens nothing."""
    learner.http.get(f"{hub.url}/hub/token", timeout=30)
    xsrf = learner.http.cookies.get("_xsrf", path="/hub/") or ""
    answer = learner.http.post(
        f"{hub.url}/hub/api/users/student7/tokens",
        json={"note": "server", "scopes": ["users:activity!user", "access:servers!user"]},
        headers={"X-XSRFToken": xsrf, "Referer": f"{hub.url}/hub/token"},
        timeout=30,
    )
    assert answer.ok, answer.text
    return str(answer.json()["token"])


def send(page: str, token: str | None, body: Any) -> requests.Response:
    headers = {"Authorization": f"token {token}"} if token else {}
    data = json.dumps(body) if isinstance(body, dict) else body
    return requests.post(f"{page}progress", data=data, headers=headers, timeout=30)


def report(**more: Any) -> dict[str, Any]:
    return {"progress": progress({"start": 2}), "at": "2026-05-04T10:00:00Z", **more}


def service(hub: Hub) -> psutil.Process:
    return next(
        process
        for process in hub.processes("hub")
        if words_of(process)[1:3] == ["-m", "labclass.attendance"]
    )


def test_stranger_is_sent_to_the_hubs_form(hub: Hub, page: str) -> None:
    answer = requests.get(page, timeout=30)
    assert answer.url.startswith(f"{hub.url}/hub/login")
    data = requests.get(f"{page}progress", timeout=30)
    assert data.status_code == 401
    assert "Sign in at the hub" in data.json()["message"]


def test_instructor_sees_everybody_and_who_needs_help_first(page: str, instructor: Person) -> None:
    text = instructor.http.get(page, timeout=30).text
    assert "Who needs you" in text
    assert text.index("<h3>student4</h3>") < text.index("<h3>student2</h3>")
    data = instructor.http.get(f"{page}progress", timeout=30).json()
    assert {row["name"] for row in data["learners"]} == {f"student{n}" for n in range(1, 13)}
    assert data["obstacles"][0]["learners"] == 3
    assert "Where student2 stands" in instructor.http.get(f"{page}learner/student2").text


def test_learner_sees_only_themselves(page: str, learner: Person) -> None:
    text = learner.http.get(page, timeout=30).text
    assert "Where you stand" in text
    data = learner.http.get(f"{page}progress", timeout=30).json()
    assert [row["name"] for row in data["learners"]] == ["student7"]
    assert "obstacles" not in data
    for hidden in ("learner/student2", "learner/student99"):
        assert learner.http.get(f"{page}{hidden}", timeout=30).status_code == 404
    assert "student2" not in text


def test_pages_allow_no_script_of_others_and_are_not_kept(page: str, instructor: Person) -> None:
    headers = instructor.http.get(page, timeout=30).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    for name in ("css", "js"):
        assert requests.get(f"{page}static/attendance.{name}", timeout=30).ok
    assert requests.get(f"{page}static/../attendance.py", timeout=30).status_code == 404


def test_page_of_a_learners_server_cannot_read_the_class(page: str, instructor: Person) -> None:
    # What a browser says when a script of the same site, a learner's, asks in her name.
    script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    for path in ("", "progress"):
        answer = instructor.http.get(page + path, headers=script, timeout=30, allow_redirects=False)
        assert answer.status_code in (302, 401)
        assert "student2" not in answer.text


def test_report_counts_for_whose_token_it_is(
    hub: Hub, page: str, instructor: Person, token: str
) -> None:
    before = rows(page, instructor)["student2"]
    sent = send(page, token, report(user="student2", name="student2"))
    assert (sent.status_code, sent.json()) == (200, {"kept": "student7"})
    after = rows(page, instructor)
    assert after["student7"]["passed"] == 2
    assert after["student2"]["passed"] == before["passed"]


def rows(page: str, person: Person) -> dict[str, Any]:
    data = person.http.get(f"{page}progress", timeout=30).json()
    return {row["name"]: row for row in data["learners"]}


def test_report_without_a_known_token_is_refused(hub: Hub, page: str, learner: Person) -> None:
    for given in (None, "", "0" * 32):
        answer = send(page, given, report())
        assert answer.status_code == 403
        assert "JUPYTERHUB_API_TOKEN" in answer.json()["message"]
    # A page elsewhere may make a learner's browser post here: its cookie does not count.
    assert learner.http.post(f"{page}progress", json=report(), timeout=30).status_code == 403


@pytest.mark.parametrize("body", [b"", b"{half", b"[]", b'{"progress": 7, "at": "now"}'])
def test_malformed_report_is_refused_in_a_sentence(page: str, token: str, body: bytes) -> None:
    answer = send(page, token, body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith('Expected {"progress"')


def test_report_that_is_too_large_is_refused_and_not_kept(page: str, token: str) -> None:
    answer = send(page, token, b" " * (MOST_BYTES + 1))
    assert answer.status_code == 413
    assert "Expected at most" in answer.json()["message"]


def test_report_in_pieces_without_a_length_is_stopped_too(
    hub: Hub, page: str, instructor: Person, token: str
) -> None:
    ports = json.loads((hub.folder / "hub" / "ports.json").read_text())
    direct = f"http://127.0.0.1:{ports['attendance']}/services/attendance/"
    pieces = (b" " * 65536 for _ in range(MOST_BYTES // 65536 + 2))
    assert send(direct, token, pieces).status_code == 413
    assert rows(page, instructor)["student7"]["passed"] == 2, "it goes on"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium on this machine")
def test_page_renews_itself_and_leaves_the_focus_where_it_is(hub: Hub, page: str) -> None:
    options = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
    options += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    with sync_playwright() as browsers:
        chromium = browsers.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(options)
        )
        tab = chromium.new_page()
        tab.goto(page)
        tab.fill("input[name=username]", "instructor")
        tab.fill("input[name=password]", classroom_folder.password("instructor"))
        tab.click("[type=submit]")
        tab.wait_for_selector("#to-student12")
        tab.focus("#to-student12")
        stuck = {"student12": progress({"start": 1}, fails=("start", 1, 3), ago=0.1)}
        keep(Ledger(hub.folder / "attendance"), stuck)
        tab.wait_for_selector("#now h3:text-is('student12')", timeout=15000)
        assert tab.evaluate("document.activeElement.id") == "to-student12"
        assert "stuck" in tab.inner_text("#row-student12")
        assert "student12" in tab.inner_text("#call")
        chromium.close()


@pytest.mark.nightly  # a hub looks after its services every half a minute
def test_service_that_was_killed_comes_back_and_signs_nobody_out(
    hub: Hub, page: str, instructor: Person, token: str
) -> None:
    kept = progress({"start": 2, "core/01": 6})
    assert send(page, token, report(progress=kept)).status_code == 200
    old = service(hub)
    old.send_signal(signal.SIGKILL)

    def answers() -> bool:
        try:
            return rows(page, instructor)["student7"]["passed"] == 8
        except (requests.RequestException, KeyError):
            return False

    until(answers, "the hub starts the service again", 60)
    assert service(hub).pid != old.pid


class WhoAmI(BaseHTTPRequestHandler):
    """A stand-in for one address of a hub, /hub/api/user: the token is the name."""

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("token ")
        body = json.dumps({"name": token, "kind": "user", "scopes": []}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output to what failed."""


def test_every_report_that_was_answered_survives_kill_minus_nine(tmp_path: Path) -> None:
    """With a stand-in of the hub, which answers who a token is: the kill is what counts here."""
    with ThreadingHTTPServer(("127.0.0.1", 0), WhoAmI) as stand_in:
        threading.Thread(target=stand_in.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{classroom_folder.free_port()}"
        environment = {
            "LABS_CLASS": str(tmp_path),
            "JUPYTERHUB_SERVICE_URL": url,
            "JUPYTERHUB_SERVICE_PREFIX": "/services/attendance/",
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{stand_in.server_port}/hub/api",
            "JUPYTERHUB_API_TOKEN": "the-service's",
            "JUPYTERHUB_CLIENT_ID": "service-attendance",
            "JUPYTERHUB_BASE_URL": "/",
        }
        words = [sys.executable, "-m", "labclass.attendance"]
        answered: dict[str, int] = {}
        for attempt in range(2):
            with subprocess.Popen(words, env={**os.environ, **environment}) as process:
                kill = threading.Timer(0.3 + attempt / 7, process.kill)
                number = 0
                while process.poll() is None:
                    number += 1
                    name = f"zoe{number % 5}"
                    body = report(progress=progress({"start": 2, "core/01": number % 7}))
                    try:
                        answer = send(f"{url}/services/attendance/", name, body)
                    except requests.RequestException:
                        continue
                    assert answer.status_code == 200
                    answered[name] = number % 7
                    if not kill.is_alive() and not kill.finished.is_set():
                        kill.start()
        kept = Ledger(tmp_path / "attendance").entries()
        stand_in.shutdown()
    assert len(answered) == 5
    for name, passed in answered.items():
        found = len(kept[name].report.progress.get("core/01", {}))
        assert found in (passed, (passed + 5) % 7), "the last answered, or one that was under way"


def test_service_started_by_hand_says_who_starts_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from labclass import attendance

    assert attendance.main({"LABS_CLASS": str(tmp_path)}) == 1
    assert "type `labs class --students 12`" in capsys.readouterr().err
