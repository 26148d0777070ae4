"""The labs in JupyterLab, in a real browser: sign in, watch, open what was deployed, see a plot."""

from __future__ import annotations

import base64
import copy
import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Error, Page, Playwright, expect

from labhelpers.deadline import wait
from labrunner.curriculum import load
from tests.browser import chromium
from tests.browser.chromium import PATIENCE
from tests.browser.lab import OUTPUTS, TEXTS, OpenLab, checkpoints, uncounted
from tests.browser.workshop import Workshop
from tests.labs import checkpoints as written
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

Shoot = Callable[[Page, str], None]
FILES = {lab.id: lab.file for lab in load(ROOT).labs}


def promised(lab: str) -> dict[str, bool]:
    """Return the checkpoints that a lab's source has, all of them passed."""
    source = (ROOT / "notebooks" / "_src" / f"{FILES[lab]}.py").read_text("utf-8")
    return {one.name: True for one in written.checkpoints(lab, source)}


def test_lab_01_runs_with_the_password_typed_into_the_box(lab_01: OpenLab, shoot: Shoot) -> None:
    assert lab_01.errors() == []
    assert checkpoints(lab_01.saved) == promised("core/01")
    said = "\n".join(lab_01.outputs())
    assert [name for name in promised("core/01") if f"✓ {name}" not in said] == []
    lab_01.look_at(lab_01.page.get_by_text("✓ The platform knows your session"))
    shoot(lab_01.page, "core-01")


def test_collapsed_cell_that_did_not_run_is_found(lab_01: OpenLab) -> None:
    assert uncounted(lab_01.saved) == []
    cells = copy.deepcopy(lab_01.saved["cells"])
    collapsed = [cell for cell in cells if cell["metadata"].get("jupyter", {}).get("source_hidden")]
    collapsed[-1]["execution_count"] = None
    assert uncounted({"cells": cells}) == ["quiz("]


def test_password_is_neither_saved_nor_shown(lab_01: OpenLab, open_workshop: Workshop) -> None:
    saved = open_workshop.notebook(lab_01.file).read_text("utf-8")
    assert "Password of student1" in saved, "the box was there"
    assert open_workshop.password not in saved
    assert open_workshop.password not in lab_01.page.content()
    kept = [path for path in (open_workshop.checkout / "notebooks").rglob("*") if path.is_file()]
    assert [
        path for path in kept if open_workshop.password in path.read_text("utf-8", "replace")
    ] == []


def test_lab_02_shows_each_state_while_it_comes(lab_02: OpenLab, shoot: Shoot) -> None:
    assert lab_02.errors() == []
    assert checkpoints(lab_02.saved) == promised("core/02")
    name = "kdcluster jupyter-notebook-student1"
    lines = [line for line in lab_02.page.evaluate("window.liveLines") if line.startswith(name)]
    growing = [line for line in lines if "configured" not in line]
    assert growing, f"only the end was seen: {lines}"
    assert any(re.search(r"s configured$", line) for line in lines), lines
    lab_02.look_at(lab_02.page.locator(f"[aria-label='{name}']").first)
    shoot(lab_02.page, "core-02")


def gateway_of(lab: OpenLab) -> str:
    said = re.search(r"answers at (https://\S+)", "\n".join(lab.outputs()))
    assert said is not None
    return said[1]


def test_deployed_notebook_opens_through_the_gateway(
    lab_02: OpenLab, open_workshop: Workshop, page: Page, shoot: Shoot
) -> None:
    enter_notebook(page, gateway_of(lab_02), open_workshop.password)
    expect(page.get_by_text("project_repo")).to_be_visible()
    expect(page.get_by_text("labs-of-student1"), "the labs came with it").to_be_visible()
    expect(page.get_by_text("Launcher").first).to_be_visible()
    assert "Jupyter news" not in page.content()
    shoot(page, "notebook")


def enter_notebook(page: Page, address: str, password: str) -> None:
    """Sign in to a deployed notebook, whose page says what to type."""
    page.goto(address)
    expect(page.get_by_text("This is the notebook of student1")).to_be_visible()
    box = page.get_by_role("textbox", name="Password or token:")
    box.fill(password)
    box.press("Enter")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible()


def test_commit_is_pushed_from_a_terminal_of_the_deployed_notebook(
    lab_02: OpenLab, open_workshop: Workshop, page: Page
) -> None:
    enter_notebook(page, gateway_of(lab_02), open_workshop.password)
    page.locator(".jp-LauncherCard", has_text="Terminal").click()
    page.locator(".xterm-helper-textarea").wait_for(state="attached")
    page.locator(".jp-Terminal").click()
    message = "Typed in a terminal"
    line = "cd ~/labs-of-student1 && echo typed > typed.txt && git add typed.txt"
    line += f" && git commit -q -m '{message}' && git push -q"
    bare = open_workshop.platform.repository / "git" / "git-student1" / "labs.git"
    words = ["git", "-c", "safe.directory=*", "-C", str(bare), "log", "-1", "--format=%an: %s"]

    def last() -> str:
        """Type the line, until its shell has begun to listen, and look at the server."""
        found = subprocess.run(words, capture_output=True, text=True).stdout.strip()
        if message not in found:
            page.keyboard.type(f"{line}\n")
        return found

    seen = wait(
        "the commit on the server", last, lambda seen: message in seen, deadline=PATIENCE, every=10
    )
    assert seen == f"student1: {message}"


def test_bold_word_leads_to_the_glossary(open_workshop: Workshop, page: Page) -> None:
    page.goto(open_workshop.page("core/02_deploy_notebook"))
    page.locator(TEXTS).get_by_role("link", name="manifest").first.click()
    shown = page.locator(".jp-MarkdownViewer")
    expect(shown.get_by_role("heading", name="manifest")).to_be_in_viewport()


def test_browser_that_does_not_know_the_platform_refuses_the_gateway(
    lab_02: OpenLab, driver: Playwright, folder: Path
) -> None:
    with (
        chromium.stranger(driver, folder / "stranger") as page,
        pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"),
    ):
        page.goto(gateway_of(lab_02))


@pytest.mark.nightly  # five labs are run before it: six minutes
def test_plot_in_lab_06_is_not_empty(lab_06: OpenLab, shoot: Shoot) -> None:
    assert lab_06.errors() == []
    assert checkpoints(lab_06.saved) == promised("core/06")
    pictures = lab_06.page.locator(f"{OUTPUTS} img")
    assert pictures.count() == 2
    for picture in pictures.all():
        drawn, words = picture.get_attribute("src"), picture.get_attribute("alt")
        is_empty, why = emptiness(base64.b64decode(str(drawn).partition("base64,")[2]))
        assert not is_empty, why
        assert picture.evaluate("one => one.naturalWidth") > 400
        assert len(str(words).split()) >= 8, f"a picture without words: {words!r}"
    lab_06.look_at(pictures.first)
    shoot(lab_06.page, "core-06")


def emptiness(png: bytes) -> tuple[bool, str]:
    """Tell whether a picture shows nothing: too small, one colour, or hardly any ink."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    height, width, _ = pixels.shape
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    ink = 1 - counts.max() / counts.sum()
    said = f"{width} by {height} pixels, {len(colours)} colours, {ink:.1%} ink"
    return width < 400 or height < 200 or len(colours) < 50 or ink < 0.02, said


def test_blank_picture_is_found() -> None:
    for image in (Image.new("RGB", (800, 600), "white"), Image.effect_noise((40, 40), 50)):
        saved = io.BytesIO()
        image.save(saved, "PNG")
        assert emptiness(saved.getvalue())[0]
