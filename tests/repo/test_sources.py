"""The pages of others that labs link to still exist; at night, and where a network is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest
import requests

from labrunner.curriculum import load
from labrunner.draft import read
from labrunner.prose import LINK
from tests.repo.tree import ROOT

CURRICULUM = load(ROOT)
GONE = (404, 410)  # others, such as 403 and 429, only say that a program is not welcome


def links() -> dict[str, str]:
    """Return the addresses outside that labs link to, each with one of those labs."""
    return {
        match["target"]: lab.id
        for lab in CURRICULUM.labs
        for cell in read(CURRICULUM, lab).prose
        for match in LINK.finditer(cell.text)
        if match["target"].startswith("http")
    }


def trouble(address: str) -> str:
    """Return why a page cannot be read, or nothing."""
    try:
        with requests.get(address, timeout=30, stream=True) as answer:
            return f"HTTP {answer.status_code}" if answer.status_code in GONE else ""
    except requests.RequestException as error:
        return type(error).__name__


def is_known(host: str | None) -> bool:
    try:
        return bool(socket.getaddrinfo(host, 443))
    except OSError:
        return False


@pytest.fixture
def server() -> Iterator[str]:
    """Serve one page, and 404 for every other path."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/here" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Pages) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.fast
def test_page_that_is_gone_is_trouble(server: str) -> None:
    assert trouble(f"{server}/here") == ""
    assert trouble(f"{server}/gone") == "HTTP 404"
    assert trouble("http://127.0.0.1:1/") == "ConnectionError"


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_pages_that_labs_link_to_exist() -> None:
    found = links()
    assert len(found) > 50
    if not any(is_known(urlsplit(address).hostname) for address in found):
        pytest.skip("no name of these pages can be resolved: there is no network here")
    with ThreadPoolExecutor(8) as pool:
        dead = dict(zip(found, pool.map(trouble, found), strict=True))
    assert {address: (why, found[address]) for address, why in dead.items() if why} == {}
