"""The end of a workshop in a real browser: one button gives the take-away, a form the survey."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium
from tests.browser.accessibility import ZOOMED, cut_off, violations
from tests.browser.lab import OpenLab
from tests.browser.workshop import Workshop

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

SOON = chromium.PATIENCE * 1000
TITLE = "From sign-in to a pipeline that changes while it runs"


def test_take_away_button_of_the_panel_gives_the_labs_with_their_outputs(
    lab_01: OpenLab, page: Page, open_workshop: Workshop, tmp_path: Path
) -> None:
    page.goto(f"{open_workshop.address}/labs/?token={open_workshop.token}")
    button = page.get_by_role("link", name=f"Take-away (zip): {TITLE}")
    with page.expect_download(timeout=SOON) as coming:
        button.click()
    assert coming.value.suggested_filename == "core-take-away.zip"
    coming.value.save_as(tmp_path / "mine.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        everything = b"".join(archive.read(name) for name in names)
        record = json.loads(archive.read("house-on-the-lake/evidence.json"))
        lab = archive.read("house-on-the-lake/pages/01_authenticate.html").decode()
    passed = [one for one in record["parts"][0]["checkpoints"] if one["passed"]]
    assert len(passed) == len(record["parts"][0]["checkpoints"]) > 0
    assert "✓ The platform knows your session" in lab
    assert open_workshop.password.encode() not in everything


@pytest.mark.parametrize("width", [chromium.WINDOW["width"], ZOOMED])
def test_finish_page_is_accessible_and_fits(
    browser: Browser, lab_01: OpenLab, open_workshop: Workshop, width: int
) -> None:
    with chromium.window(browser, width) as page:
        page.goto(f"{open_workshop.address}/labs/finish/core/?token={open_workshop.token}")
        page.get_by_text("Your own numbers").first.click()
        expect(page.get_by_text("The platform knows your session").first).to_be_visible()
        assert violations(page) == []
        assert cut_off(page) == []


def test_survey_is_answered_with_keys_and_kept(page: Page, open_workshop: Workshop) -> None:
    page.goto(f"{open_workshop.address}/labs/finish/core/?token={open_workshop.token}")
    page.get_by_role("radio", name="4").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("more maps")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("✓ Kept", timeout=SOON)
    page.reload()
    expect(page.get_by_role("radio", name="4")).to_be_checked()
    expect(page.get_by_role("textbox")).to_have_value("more maps")
    kept = json.loads(Path(open_workshop.environment["LABS_HOME"], "survey.json").read_text())
    assert (kept["core"]["useful"], kept["core"]["pace"]) == (4, "too slow")
