"""What people without sight, without colours or with large letters meet: labs, report, panel."""

from __future__ import annotations

import pytest

from tests.browser.accessibility import violations
from tests.browser.lab import OUTPUTS, TEXTS, OpenLab

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

BAD = """
one => one.insertAdjacentHTML('beforeend',
  '<img src="data:," width=9 height=9><p style="color:#bbb;background:#fff">Hardly to be read</p>')
"""


# The colours of words in a block of shell code are JupyterLab's.
THEIRS = (f"{TEXTS} pre span",)


@pytest.mark.parametrize("lab", ["lab_01", "lab_02"])
def test_lab_in_jupyterlab_is_accessible(lab: str, request: pytest.FixtureRequest) -> None:
    opened: OpenLab = request.getfixturevalue(lab)
    with opened.unrolled() as page:
        assert violations(page, OUTPUTS, TEXTS, but=THEIRS) == []


@pytest.mark.parametrize("lab", ["lab_01", "lab_02"])
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
