"""Servers that are started before their learners come, by a token that may do nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
import requests

from labclass.early import TOKEN, start_servers
from tests.classroom_folder import make
from tests.hub.running import Hub

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
NAMES = ["student1", "student2"]


def plenty() -> float:
    return 0.9


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Return a hub to which nobody has come yet."""
    hub = Hub(make(tmp_path_factory.mktemp("early") / "class"))
    try:
        yield hub.start()
    finally:
        hub.close()


@pytest.fixture
def api(fresh: Hub) -> str:
    port = json.loads((fresh.folder / "hub" / "ports.json").read_text())["hub"]
    return f"http://127.0.0.1:{port}/hub/api"


@pytest.fixture
def token(fresh: Hub) -> str:
    file: Path = fresh.folder / "hub" / TOKEN
    assert file.stat().st_mode & 0o77 == 0
    return file.read_text()


def test_little_memory_leaves_the_servers_to_their_learners(api: str, token: str) -> None:
    there, why = start_servers(api, token, NAMES, Event(), lambda: 0.2)
    assert (there, why) == (0, "less than 25% of the memory is free")


def test_class_that_ends_starts_no_more(api: str, token: str) -> None:
    over = Event()
    over.set()
    assert start_servers(api, "not the token", NAMES, over, plenty)[0] == 0
    assert start_servers(api, token, [], over, plenty) == (0, "")


def test_first_page_is_there_when_the_learner_comes(fresh: Hub, api: str, token: str) -> None:
    assert start_servers(api, token, NAMES, Event(), plenty) == (2, "")
    log = fresh.log.count("Started the server of")
    assert log == 2
    learner = fresh.person("student1")
    learner.sign_in()
    begun = time.monotonic()
    learner.until_served()
    print(f"first page after {time.monotonic() - begun:.1f} s")
    assert fresh.log.count("Started the server of") == log, "the server was there"
    assert learner.get("labs/state").json()["labs"], "and it is the learner's own"
    assert start_servers(api, token, NAMES, Event(), plenty) == (2, ""), "twice is no harm"


def test_hub_that_refuses_is_quoted(api: str) -> None:
    there, why = start_servers(api, "not the token", NAMES, Event(), plenty)
    assert there == 0
    assert why.startswith("the hub said: ")
    assert "Forbidden" in why or "403" in why


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("DELETE", "/users/student1"),
        ("POST", "/users/student9"),
        ("POST", "/users/student1/tokens"),
        ("PATCH", "/users/student1"),
        ("POST", "/shutdown"),
        ("GET", "/proxy"),
        ("GET", "/groups"),
    ],
)
def test_token_may_start_servers_and_nothing_else(
    api: str, token: str, verb: str, path: str
) -> None:
    headers = {"Authorization": f"token {token}"}
    answer = requests.request(verb, api + path, json={}, headers=headers, timeout=30)
    assert answer.status_code in (403, 404), answer.text


def test_token_opens_no_learners_server(fresh: Hub, token: str) -> None:
    headers = {"Authorization": f"token {token}"}
    answer = requests.get(f"{fresh.url}/user/student1/api/contents", headers=headers, timeout=30)
    assert answer.status_code == 403, answer.text
