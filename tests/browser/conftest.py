"""One browser and one workshop for all tests of this folder; they end with its last test.

Playwright keeps a loop of asyncio running while it is open, so nothing here lives longer than this
folder's tests.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.browser import chromium, workshop
from tests.browser.lab import OpenLab
from tests.browser.workshop import Workshop

OpenLabs = Callable[..., OpenLab]
Shoot = Callable[[Page, str], None]


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the place of everything that this run makes."""
    if not chromium.is_here():
        pytest.skip(chromium.MISSING)
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="package")
def open_workshop(folder: Path) -> Iterator[Workshop]:
    """Open a platform and JupyterLab."""
    with workshop.running(folder) as found:
        yield found


@pytest.fixture(scope="package")
def driver(folder: Path) -> Iterator[Playwright]:
    """Start what drives browsers."""
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="package")
def browser(driver: Playwright, open_workshop: Workshop, folder: Path) -> Iterator[Browser]:
    """Start a browser that trusts the platform's certificates."""
    home = folder / "chromium"
    chromium.trust(home, Path(open_workshop.platform.settings["EZMERAL_CA"]))
    with chromium.running(driver, home) as found:
        yield found


@pytest.fixture(scope="package")
def plain_browser(driver: Playwright, folder: Path) -> Iterator[Browser]:
    """Start a browser that needs no platform."""
    (folder / "plain").mkdir()
    with chromium.running(driver, folder / "plain") as found:
        yield found


@pytest.fixture(scope="package")
def open_lab(open_workshop: Workshop, browser: Browser) -> Iterator[OpenLabs]:
    """Return a function that opens a lab in a window of its own."""
    with contextlib.ExitStack() as stack:

        def open_one(file: str) -> OpenLab:
            page = stack.enter_context(chromium.window(browser))
            lab = OpenLab(page, open_workshop, file)
            lab.open()
            return lab

        yield open_one


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open an empty window."""
    with chromium.window(browser) as found:
        yield found


@pytest.fixture(scope="package")
def shoot() -> Shoot:
    """Return a function that takes a picture for the README, where LABS_SCREENS names a folder."""
    from tests.browser.screens import write

    named = os.environ.get("LABS_SCREENS")

    def take(page: Page, name: str) -> None:
        if named:
            write(page.screenshot(), Path(named) / f"{name}.png")

    return take


@pytest.fixture(scope="package")
def lab_01(open_lab: OpenLabs) -> OpenLab:
    """Run lab core-01, the sign-in included."""
    lab = open_lab("core/01_authenticate")
    lab.run_all()
    lab.sign_in()
    lab.wait_until_run()
    return lab


@pytest.fixture(scope="package")
def lab_02(open_lab: OpenLabs, lab_01: OpenLab) -> OpenLab:
    """Run lab core-02, noting each text that its live lines show."""
    lab = open_lab("core/02_deploy_notebook")
    lab.page.evaluate(NOTE_LIVE_LINES)
    lab.run_all()
    lab.wait_until_run(180)
    return lab


@pytest.fixture(scope="package")
def lab_06(lab_02: OpenLab, open_lab: OpenLabs, open_workshop: Workshop) -> OpenLab:
    """Let the runner bring the platform to where lab core-06 begins, then run it."""
    prepared = open_workshop.labs("prepare", "core/06")
    assert prepared.returncode == 0, prepared.stdout[-3000:] + prepared.stderr[-2000:]
    lab = open_lab("core/06_serve")
    lab.run_all()
    lab.wait_until_run(240)
    return lab


NOTE_LIVE_LINES = """
() => {
  window.liveLines = [];
  const note = () => {
    for (const one of document.querySelectorAll('[role=group][aria-label^="kdcluster "]')) {
      const said = one.textContent;
      if (!window.liveLines.includes(said)) window.liveLines.push(said);
    }
  };
  new MutationObserver(note).observe(document.body, {childList: true, subtree: true});
}
"""
