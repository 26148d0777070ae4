"""Practice copies in a real browser, as somebody who learns does them: each blank is left empty,
then filled in wrongly, then rightly; the kernel is restarted in the middle; all is run twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labrunner import practice
from labrunner.curriculum import load
from tests.browser.conftest import OpenLabs, Shoot
from tests.browser.lab import OpenLab, checkpoints
from tests.browser.workshop import Workshop
from tests.labs.kernel import desk
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(3600)]

LONG = 900.0  # a training job on a busy machine
CURRICULUM = load(ROOT)
# What somebody might write first: a part of the solution, and what stands in its place.
WRONG = {
    "core/01": [
        ("json=credentials", "data=credentials"),
        ("/ 3600", "* 3600"),
        ('{"tenant_name": other_tenant}', '{"tenant_name": place.tenant}'),
        ("status.allowed", "status.denied"),
    ],
    "core/04": [
        ('"hypot(69.0', '"least(69.0'),
        ('rule = np.polyval(line, rides["straight_miles"])', 'rule = rides["duration"].mean()'),
        ('test["duration"] - test["predicted"]', 'test["duration"]'),
        ('"America/New_York"', '"UTC"'),
    ],
}
# The cells of lab core-03 that make the table which lab core-04 reads.
MAKE_THE_TABLE = (
    *("rows: int", "import json", "if spark_cluster:", "lake = data.find_trips(", "rides = fresh("),
    *("zones = spark.read.csv(", 'rules = """SELECT', 'path = home / "trips"'),
)
ROWS = 20_000
MIDDLE = 2  # the blank at which the kernel is restarted


def blanks(lab: str) -> list[tuple[int, str, str]]:
    """Return where each blank is, its solution, and the checkpoint that judges it."""
    path = CURRICULUM.notebook(CURRICULUM.get(lab))
    notebook: dict[str, Any] = json.loads(path.read_text("utf-8"))
    cells = notebook["cells"]
    return [
        (at, "".join(cells[at]["source"]), practice.checkpoint_of(cells[judge]))
        for at, judge in practice._blanks(notebook)
    ]


def hand_on_a_table(workshop: Workshop) -> None:
    """Sign in, and run as much of lab core-03 as lab core-04 needs."""
    signed_in = workshop.labs("prepare", "core/02")
    assert signed_in.returncode == 0, signed_in.stdout[-3000:] + signed_in.stderr[-2000:]
    with desk(CURRICULUM, CURRICULUM.get("core/03"), workshop.environment) as learner:
        for words in MAKE_THE_TABLE:
            learner.do(learner.begins(words), LONG)
            if words == "rows: int":
                learner.do(f"rows = {ROWS}")


@pytest.fixture(scope="module", params=list(WRONG))
def lab(
    request: pytest.FixtureRequest, open_lab: OpenLabs, open_workshop: Workshop
) -> tuple[str, OpenLab]:
    name = str(request.param)
    if name == "core/04":
        hand_on_a_table(open_workshop)
    return name, open_lab(f"{CURRICULUM.get(name).file}-practice")


def test_practice_copy_is_done_from_the_first_blank_to_the_last(
    lab: tuple[str, OpenLab], shoot: Shoot
) -> None:
    name, copy = lab
    todo = blanks(name)
    assert len(todo) == len(WRONG[name])
    copy.run_all()
    for number, (at, solution, judge) in enumerate(todo):
        assert copy.result_of(judge, LONG) is False, "a blank passes no checkpoint"
        before, after = WRONG[name][number]
        assert before in solution
        copy.write(at, solution.replace(before, after))
        copy.run_from(at)
        assert copy.result_of(judge, LONG) is False, f"a wrong answer passed: {after}"
        copy.look_at(copy.page.get_by_text(f"✗ {judge}").first)
        shoot(copy.page, f"practice-{name.replace('/', '-')}-{number}")
        if number == MIDDLE:
            restart_in_the_middle(copy, at)
        copy.write(at, solution)
        copy.run_from(at)
        if number + 1 < len(todo):
            assert copy.result_of(todo[number + 1][2], LONG) is False
            assert checkpoints(copy.saved)[judge] is True
    assert copy.result_of(todo[-1][2], LONG) is True


def restart_in_the_middle(copy: OpenLab, at: int) -> None:
    """Restart the kernel: the cell says which one has to run first, and the work goes on."""
    copy.restart()
    copy.select(at)
    copy.page.keyboard.press("Control+Enter")
    shown = copy.cell(at).locator(".jp-OutputArea-output")
    shown.get_by_text("is made by the cell that begins").first.wait_for()
    assert "Traceback" not in "".join(shown.all_text_contents())
    copy.run_above(at, LONG)


def test_run_all_twice_passes_and_destroys_nothing(
    lab: tuple[str, OpenLab], open_workshop: Workshop
) -> None:
    _, copy = lab
    platform = open_workshop.platform
    clusters = set(platform.kdclusters())
    files = sorted((platform.repository / "models").rglob("*"))
    for _ in range(2):
        copy.choose("Edit", "Clear Outputs of All Cells")
        copy.run_all()
        copy.wait_until_run(LONG)
        assert copy.errors() == []
        assert all(checkpoints(copy.saved).values())
        assert set(platform.kdclusters()) == clusters
        assert sorted((platform.repository / "models").rglob("*")) == files
