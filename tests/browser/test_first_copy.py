"""Which copy of a lab a title in the panel opens: the complete one, or the one with blanks."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from labpanel import facts
from tests.browser import chromium
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.timeout(120)]

STATIC = ROOT / "labpanel" / "static"
PAGE = "<!doctype html><main id='labs'></main><script type='module' src='page.js'></script>"
COMPLETE, PRACTICE = (f"notebooks/core/04_train{end}.ipynb" for end in ("", "-practice"))


@pytest.mark.parametrize(
    ("practice", "first", "second", "other"),
    [
        ("1", PRACTICE, "complete copy", COMPLETE),
        ("", COMPLETE, "practice copy", PRACTICE),
    ],
    ids=["practice", "guided"],
)
def test_title_opens_the_copy_that_the_instructor_chose(
    plain_browser: Browser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    practice: str,
    first: str,
    second: str,
    other: str,
) -> None:
    monkeypatch.setenv("LABS_PRACTICE", practice)
    for name in ("notebooks/00_start_here.ipynb", COMPLETE, PRACTICE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    files = {name: (STATIC / name).read_text("utf-8") for name in ("page.js", "panel.js")}
    files |= {"": PAGE, "state": state_of(tmp_path)}

    def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        kind = "text/javascript" if name.endswith(".js") else "text/html"
        route.fulfill(body=files.get(name, ""), content_type=kind)

    with chromium.window(plain_browser) as page:
        page.route("http://panel.test/labs/**", answer)
        page.goto("http://panel.test/labs/")
        lab = page.get_by_role("listitem").filter(has_text="core/04")
        title = lab.get_by_role("link", name="Train", exact=True)
        expect(title).to_have_attribute("data-path", first)
        expect(lab.get_by_role("link", name=second)).to_have_attribute("data-path", other)


def state_of(root: Path) -> str:
    """Return what the panel's server says of a learner's folder."""
    with ThreadPoolExecutor(1) as pool:  # Playwright's loop runs in this thread
        return json.dumps(pool.submit(asyncio.run, facts.Facts(root).state()).result())
