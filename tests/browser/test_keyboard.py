"""Labs with the keyboard alone: nothing in this file calls a mouse, and focus is always seen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import PATIENCE
from tests.browser.lab import RUN, OpenLab, checkpoints
from tests.browser.workshop import Workshop
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

OpenLabs = Callable[..., OpenLab]
FOCUS = """
() => {
  const one = document.activeElement, look = getComputedStyle(one);
  const line = look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 1;
  return {name: one.tagName, text: one.innerText || '', is_seen: line || look.boxShadow !== 'none'};
}
"""
VERDICT = re.compile("✓ Right|✗ Not quite")
MOST = 60  # presses of Tab from a cell to the last answer


def test_start_page_runs_and_its_questions_open_by_keys(open_lab: OpenLabs) -> None:
    lab = open_lab("00_start_here")
    keys, cells = lab.page.keyboard, lab.page.locator(".jp-Notebook .jp-Cell").count()
    assert lab.page.evaluate(FOCUS)["is_seen"], "the first cell has the focus, and shows it"
    for _ in range(cells - 1):
        keys.press("Shift+Enter")
    keys.press("Control+Enter")
    lab.wait_until_run()
    assert lab.errors() == []
    keys.press("ArrowUp")
    keys.press("ArrowUp")
    opened: list[str] = []
    for _ in range(MOST):
        keys.press("Tab")
        focus = lab.page.evaluate(FOCUS)
        if focus["name"] == "SUMMARY":
            assert focus["is_seen"], f"no focus is seen on {focus['text']}"
            keys.press("Enter")
            opened.append(focus["text"])
        elif opened:
            break
    answers = lab.page.locator("fieldset details")
    assert len(opened) == answers.count() > 5
    for question in lab.page.locator("fieldset").all():
        expect(question.locator("details[open]")).to_have_count(1)
        last = question.locator("details").last
        expect(last, "the answer opened last is open, the others are closed").to_have_attribute(
            "open", ""
        )
        expect(last.get_by_text(VERDICT)).to_be_visible()
        expect(question.get_by_text("✓ Right.")).to_have_count(1)
    panel = lab.page.locator("#house-on-the-lake-labs .labs-lab").first
    expect(panel, "the panel counts the answers").to_contain_text(
        re.compile(r"\d of \d questions right at the first answer$", re.M), timeout=PATIENCE * 1000
    )


def test_lab_01_runs_by_the_command_palette(open_lab: OpenLabs, open_workshop: Workshop) -> None:
    copied = open_workshop.notebook("core/01_by_keys")
    shutil.copyfile(ROOT / "notebooks" / "core" / "01_authenticate.ipynb", copied)
    lab = open_lab("core/01_by_keys")
    keys = lab.page.keyboard
    keys.press("Control+Shift+C")
    expect(lab.page.locator(".lm-CommandPalette-input")).to_be_focused()
    keys.type(RUN)
    expect(lab.page.locator(".lm-CommandPalette-item.lm-mod-active")).to_contain_text(RUN)
    keys.press("Enter")
    expect(lab.box).to_be_focused(timeout=PATIENCE * 1000)
    keys.type(lab.workshop.password)
    keys.press("Enter")
    lab.wait_until_run()
    assert lab.errors() == []
    assert all(checkpoints(lab.saved).values())
