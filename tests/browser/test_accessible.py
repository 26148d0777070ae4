"""What people without sight, without colours or with large letters meet: labs, report, panel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import judge, violations
from tests.browser.lab import OUTPUTS, TEXTS, OpenLab
from tests.browser.workshop import Workshop

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

Shoot = Callable[[Page, str], None]
BAD = """
one => one.insertAdjacentHTML('beforeend',
  '<img src="data:," width=9 height=9><p style="color:#bbb;background:#fff">Hardly to be read</p>')
"""


# The colours of words in a block of shell code are JupyterLab's.
THEIRS = (f"{TEXTS} pre span",)


LABS = pytest.mark.parametrize("lab", ["lab_01", pytest.param("lab_02", marks=pytest.mark.nightly)])


@LABS
def test_lab_in_jupyterlab_is_accessible(lab: str, request: pytest.FixtureRequest) -> None:
    opened: OpenLab = request.getfixturevalue(lab)
    with opened.unrolled() as page:
        assert violations(page, OUTPUTS, TEXTS, but=THEIRS) == []


@LABS
def test_lab_in_jupyterlab_shows_its_pictures(lab: str, request: pytest.FixtureRequest) -> None:
    opened: OpenLab = request.getfixturevalue(lab)
    assert opened.broken_pictures() == []


def test_picture_without_words_and_pale_words_are_found(lab_01: OpenLab) -> None:
    last = lab_01.page.locator(OUTPUTS).last
    before = last.inner_html()
    last.evaluate(BAD)
    with lab_01.unrolled() as page:
        found = violations(page, OUTPUTS, TEXTS, but=THEIRS)
    last.evaluate("(one, page) => { one.innerHTML = page }", before)
    assert {one.partition(" ")[0] for one in found} == {"image-alt", "color-contrast"}, found


@pytest.fixture(scope="module")
def report(open_workshop: Workshop, folder: Path) -> Path:
    """Replay a lab that passes and one that fails."""
    out = folder / "replay"
    platform = folder / "platform.env"
    lines = [f"{name}={value!r}" for name, value in open_workshop.platform.settings.items()]
    platform.write_text("\n".join(lines))
    words = ["--only", "start,core/01", "--set", "other_tenant=K8sMLTenant"]
    done = open_workshop.labs("replay", *words, "--out", str(out), "--platform", str(platform))
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    return out


def test_report_is_accessible(report: Path, page: Page) -> None:
    page.goto((report / "report.html").as_uri())
    expect(page.get_by_role("heading", level=1)).to_have_text("1 of 2 labs passed")
    expect(page.get_by_role("alert")).to_contain_text("CheckFailed")
    judge(page)


def test_page_of_a_lab_is_accessible(report: Path, page: Page) -> None:
    page.goto((report / "notebooks" / "core" / "01_authenticate.html").as_uri())
    judge(page)


def test_panel_is_accessible(
    open_workshop: Workshop, lab_01: OpenLab, page: Page, shoot: Shoot
) -> None:
    page.goto(f"{open_workshop.address}/labs/?token={open_workshop.token}")
    expect(page.locator(".labs-lab").first).to_be_visible()
    judge(page)
    shoot(page, "panel")
    with lab_01.unrolled() as lab:
        assert violations(lab, "#house-on-the-lake-labs") == []
