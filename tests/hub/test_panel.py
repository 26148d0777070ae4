"""The panel of labs on a hub: each learner sees their own, and nothing of the platform's inside."""

from __future__ import annotations

import pytest

from labclass import isolation
from tests.hub.person import Person
from tests.hub.running import Hub

pytestmark = [
    pytest.mark.labs,
    pytest.mark.skipif(not isolation.version(), reason="this kernel has no Landlock"),
]


def test_panel_is_served_below_the_learners_own_address(first: Person) -> None:
    page = first.get("labs/")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    state = first.get("labs/state").json()
    assert state["labs"][0]["path"] == "notebooks/00_start_here.ipynb"
    assert state["platform"]["applications"] == []


def test_panel_of_another_learner_is_closed(first: Person, second: Person) -> None:
    assert first.get("labs/state", base=second.base).status_code in (403, 404)


def test_jupyterlab_of_a_learner_has_the_panel(first: Person) -> None:
    entry = first.get("lab/extensions/house-on-the-lake/static/remoteEntry.js")
    assert entry.status_code == 200
    assert "_JUPYTERLAB" in entry.text


def test_learner_alone_is_told_what_of_theirs_was_ended(
    hub: Hub, first: Person, second: Person
) -> None:
    words = "Expected at most 2.00 GB of memory, found 2.31 GB: ended python"
    (hub.folder / "notices" / "student1.txt").write_text(words)
    told = [person.get("labs/state").json()["notice"] for person in (first, second)]
    assert told == [words, ""]
    kernel = second.kernel()
    try:
        said = kernel.run(
            "import os, pathlib\nmine = pathlib.Path(os.environ['LABS_NOTICE'])\n"
            "for file in (mine, mine.with_name('student1.txt')):\n"
            "    try:\n        print(repr(file.read_text()))\n"
            "    except PermissionError:\n        print('shut')\n"
            "try:\n    mine.write_text('x')\nexcept OSError:\n    print('not mine to write')\n"
        )
    finally:
        kernel.close()
    assert said.split("\n")[:3] == ["''", "shut", "not mine to write"]
