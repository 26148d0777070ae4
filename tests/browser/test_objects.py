"""The page of objects in a real browser: what lab core-02 made, by keys, without secrets."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from shutil import which

import pytest
from playwright.sync_api import Browser, Page, expect

from labhelpers.deadline import wait
from tests.browser import chromium
from tests.browser.accessibility import ZOOMED, cut_off, violations
from tests.browser.lab import OpenLab
from tests.browser.workshop import Workshop
from tests.labs.platform import Platform

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

PROGRAMS = ("kubectl", "curl", "bash")
NAMED = {"Applications", "Secrets", "Virtual clusters and their connections", "Members"}


def address(workshop: Workshop) -> str:
    return f"{workshop.address}/labs/objects/?token={workshop.token}"


def test_page_shows_what_lab_02_made_and_no_secret(
    lab_02: OpenLab, page: Page, open_workshop: Workshop
) -> None:
    page.goto(address(open_workshop))
    for kind, words in {
        "Virtual clusters and their connections": "jupyter-notebook-student1",
        "Secrets": "source-control",
        "Members": "Running",
        "Endpoints": "https://",
        "Events": "kubedirector",
    }.items():
        part = page.get_by_role("region", name=kind, exact=True)
        expect(part).to_contain_text(words, ignore_case=True)
        expect(part.locator(".labs-line").first).to_contain_text("kubectl get")
        expect(part.locator(".labs-line").last).to_contain_text("curl")
    platform: Platform = open_workshop.platform
    _, token = platform.gateway("jupyter-notebook-student1", 8000)
    assert token
    assert token not in page.content()
    assert open_workshop.password not in page.content()


@pytest.mark.skipif(not all(map(which, PROGRAMS)), reason="kubectl and curl are not here")
def test_each_line_of_the_page_shows_in_a_terminal_what_its_table_shows(
    lab_02: OpenLab, page: Page, open_workshop: Workshop, tmp_path: Path
) -> None:
    page.goto(address(open_workshop))
    around = open_workshop.environment | {"HOME": str(tmp_path)}
    proxy = page.locator(".labs-line").first.text_content()
    assert proxy is not None
    command = shlex.split(proxy.removesuffix("&").replace("$HOME", str(tmp_path)))
    with subprocess.Popen(command, env=around, stdout=subprocess.DEVNULL) as running:
        try:
            socket = tmp_path / "kube.sock"
            wait("the socket", socket.exists, deadline=chromium.PATIENCE)
            assert socket.stat().st_mode & 0o77 == 0, "only the learner may use it"
            for part in page.locator("section").all():
                rows = part.locator("tbody th").all_text_contents()
                # where there is nothing, there may be no folder to list
                lines = part.locator(".labs-line").all_text_contents() if rows else []
                for line in lines:
                    typed = ["bash", "-euo", "pipefail", "-c", line]
                    done = subprocess.run(
                        typed, env=around, capture_output=True, text=True, timeout=60
                    )
                    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                    if part.get_attribute("aria-label") in NAMED:
                        assert [name for name in rows if name not in done.stdout] == [], line
                    if part.get_attribute("aria-label") == "Secrets":
                        assert '"data"' not in done.stdout, "no content of a Secret"
        finally:
            running.terminate()


@pytest.mark.parametrize("width", [chromium.WINDOW["width"], ZOOMED])
def test_page_is_accessible_and_scrolls_by_keys(
    browser: Browser, lab_02: OpenLab, open_workshop: Workshop, width: int
) -> None:
    with chromium.window(browser, width) as page:
        page.goto(address(open_workshop))
        page.get_by_role("heading", name="Events").wait_for()
        assert violations(page) == []
        assert cut_off(page) == []
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Look again")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.locator(":focus").get_attribute("class") == "labs-wide"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Tenant")).to_be_visible()
