"""The browser of the tests: Debian's Chromium, with a profile that trusts the platform's CA.

Chromium reads the certificates that a person trusts from the NSS database in their home, so each
run gets a home of its own. Nothing here switches the check of certificates off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, expect

MISSING = "No browser is here: `apt-get install chromium libnss3-tools` brings it."
WINDOW = {"width": 1280, "height": 800}
PATIENCE = 90.0  # seconds for anything on a busy machine
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def is_here() -> bool:
    """Tell whether this machine has Chromium and what makes a profile for it."""
    return all(shutil.which(program) for program in ("chromium", "certutil"))


def trust(home: Path, *authorities: Path) -> None:
    """Give a home the certificates that its browser trusts."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    _certutil(database, "-N", "--empty-password")
    for number, authority in enumerate(authorities):
        _certutil(database, "-A", "-t", "C,,", "-n", f"lab {number}", "-i", str(authority))


@contextlib.contextmanager
def running(playwright: Playwright, home: Path) -> Iterator[Browser]:
    """Start Chromium in a home, end it."""
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=list(_OPTIONS),
        env={**os.environ, "HOME": str(home), "TZ": "UTC"},
    )
    try:
        yield browser
    finally:
        browser.close()


@contextlib.contextmanager
def window(browser: Browser, width: int = WINDOW["width"], **look: str) -> Iterator[Page]:
    """Open a window of its own: no cookie of another one is in it."""
    size = {"width": width, "height": WINDOW["height"]}
    context = browser.new_context(viewport=size, locale="en-GB", **look)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    try:
        yield context.new_page()
    finally:
        context.close()


@contextlib.contextmanager
def stranger(playwright: Playwright, home: Path) -> Iterator[Page]:
    """Open a window of a browser that trusts no platform."""
    trust(home)
    with running(playwright, home) as browser, window(browser) as page:
        yield page


def _certutil(database: Path, *words: str) -> None:
    command = ["certutil", "-d", f"sql:{database}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
