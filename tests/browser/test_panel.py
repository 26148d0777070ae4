"""The panel in a real browser: a page of its own, and JupyterLab's left side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from labhelpers import progress
from labpanel import standing
from tests.browser import chromium
from tests.browser.accessibility import ZOOMED, cut_off, violations
from tests.browser.workshop import Workshop

pytestmark = pytest.mark.labs

PANEL = "#house-on-the-lake-labs"
SOON = chromium.PATIENCE * 1000
START = "Start here"


@pytest.fixture
def home(open_workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this test note what a kernel of the learner's would."""
    named = open_workshop.environment["LABS_HOME"]
    monkeypatch.setenv("LABS_HOME", named)
    return Path(named)


def first_checkpoint(workshop: Workshop, file: str) -> str:
    """Return the name of a lab's first checkpoint."""
    return standing.checkpoints(workshop.notebook(file))[0]


@pytest.fixture
def panel(page: Page, open_workshop: Workshop) -> Page:
    """Open the panel in a tab of its own."""
    page.goto(f"{open_workshop.address}/labs/?token={open_workshop.token}")
    page.get_by_role("link", name=START).wait_for()
    return page


@pytest.fixture(scope="module")
def jupyterlab(browser: Browser, open_workshop: Workshop) -> Iterator[Page]:
    """Open JupyterLab for the first time in this browser."""
    with chromium.window(browser) as page:
        page.goto(open_workshop.page("00_start_here"))
        page.get_by_role("region", name="Labs").get_by_role("link", name=START).wait_for()
        yield page


@pytest.mark.parametrize("width", [chromium.WINDOW["width"], ZOOMED])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible_and_fits(
    browser: Browser, open_workshop: Workshop, home: Path, width: int, scheme: str
) -> None:
    progress.record("core/05", first_checkpoint(open_workshop, "core/05_register"), False)
    with chromium.window(browser, width, color_scheme=scheme) as page:
        page.goto(f"{open_workshop.address}/labs/?token={open_workshop.token}")
        page.get_by_role("link", name=START).wait_for()
        assert violations(page) == []
        assert cut_off(page) == []


def test_page_takes_the_token_out_of_sight(panel: Page, open_workshop: Workshop) -> None:
    assert panel.url == f"{open_workshop.address}/labs/"
    assert open_workshop.token not in panel.content()


def to_the_start(panel: Page) -> None:
    """Go to the first lab by keys; before it are the links to the pages of the workshop."""
    for _ in range(5):
        panel.keyboard.press("Tab")
        if panel.locator(":focus").text_content() == START:
            return
    raise AssertionError(f"no link {START!r} within five tabs")


def test_page_says_a_new_result_without_taking_the_focus(
    panel: Page, open_workshop: Workshop, home: Path
) -> None:
    name = first_checkpoint(open_workshop, "core/06_serve")
    to_the_start(panel)
    progress.record("core/06", name, False)
    expect(panel.get_by_text(f"Not yet: {name}")).to_be_visible(timeout=SOON)
    expect(panel.locator("[aria-live=polite]")).to_contain_text(
        re.compile(r"Serve: \d of \d.*1 not yet")
    )
    expect(panel.locator(":focus")).to_have_text(START)
    with progress.rewrite() as kept:
        kept.pop("core/06", None)


def test_page_says_what_was_ended_and_what_to_do(panel: Page, open_workshop: Workshop) -> None:
    file = Path(open_workshop.environment["LABS_NOTICE"])
    words = "22:35 Expected at most 3.65 GB of memory, found 3.91 GB: ended python"
    file.write_text(words)
    try:
        notice = panel.get_by_role("region", name="Notice")
        expect(notice).to_contain_text(words, timeout=SOON)
        expect(notice).to_contain_text("shut down the kernels that you no longer use")
        expect(panel.locator("[aria-live=polite]")).to_contain_text("found 3.91 GB")
        assert violations(panel) == []
    finally:
        file.unlink()
    expect(notice).to_have_count(0, timeout=SOON)


def test_page_opens_a_lab_by_keyboard(panel: Page) -> None:
    to_the_start(panel)
    panel.keyboard.press("Enter")
    panel.locator(".jp-Notebook h1", has_text=START).wait_for()


def test_jupyterlab_shows_the_panel_and_no_news(jupyterlab: Page) -> None:
    expect(jupyterlab.locator(PANEL)).to_contain_text("ready", timeout=SOON)
    assert violations(jupyterlab, PANEL) == []
    assert "Jupyter news" not in jupyterlab.content()


def test_jupyterlab_opens_a_lab_from_the_panel(jupyterlab: Page) -> None:
    jupyterlab.get_by_role("region", name="Labs").get_by_role("link", name="Authenticate").click()
    jupyterlab.locator(".jp-Notebook h1", has_text="Lab core-01").wait_for()
    expect(jupyterlab.get_by_role("tab", name="01_authenticate.ipynb")).to_be_visible()


def test_jupyterlab_opens_the_glossary_from_the_panel(jupyterlab: Page) -> None:
    jupyterlab.get_by_role("region", name="Labs").get_by_role("link", name="Glossary").click()
    shown = jupyterlab.locator(".jp-MarkdownViewer")
    expect(shown.get_by_role("heading", name="Glossary")).to_be_visible()
    jupyterlab.get_by_role("tab", name="01_authenticate.ipynb").click()


def test_picture_beside_the_notebooks_is_shown(jupyterlab: Page) -> None:
    shown = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook img[alt]"
    picture = jupyterlab.locator(shown).first
    picture.scroll_into_view_if_needed()
    jupyterlab.wait_for_function("one => one.naturalWidth > 0", arg=picture.element_handle())


def test_jupyterlab_goes_on_without_a_panel_that_does_not_load(
    page: Page, open_workshop: Workshop
) -> None:
    page.route("**/labs/static/panel.js", lambda route: route.abort())
    page.goto(open_workshop.page("00_start_here"))
    page.locator(".jp-Notebook h1", has_text=START).wait_for()
    assert page.locator(PANEL).count() == 0
