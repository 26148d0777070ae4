"""A second workshop is an entry in labs.toml: commands, links, README and limits follow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labclass import tenants
from labclass.checkup import sizes
from labrunner import anatomy, cli, draft, notebook, readme
from labrunner.curriculum import Curriculum, load
from labrunner.errors import BadCurriculum, UnknownLab
from labrunner.template import draft as template
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

WORKSHOPS = """
[[workshop]]
id = "one"
title = "The first"
sentence = "What it is about."
applications = ["spark"]
[workshop.learner]
pods = "3"
cpu = "600m"

[[workshop]]
id = "two"
title = "The second"
sentence = "Another one."
applications = ["training-engine"]
shared = ["training-engine"]
extra_pods = 2
learner = {pods = "1", cpu = "1"}
limits = {cells = [5, 9], steps = [1, 4]}
"""
LAB = """
[[lab]]
id = "{id}"
file = "{id}"
title = "{title}"
level = "beginner"
minutes = 5
needs = {needs}
"""
LABS = {"start": [], "one/01": [], "one/02": ["one/01"], "two/01": ["one/01"], "two/02": []}


def write(root: Path, workshops: str = WORKSHOPS) -> Curriculum:
    labs = "".join(
        LAB.format(id=lab, title=lab.title(), needs=needs) for lab, needs in LABS.items()
    )
    (root / "labs.toml").write_text(workshops + labs, "utf-8")
    return load(root)


@pytest.fixture
def two(tmp_path: Path) -> Curriculum:
    return write(tmp_path)


def test_workshop_is_picked_with_what_its_labs_need(two: Curriculum) -> None:
    assert [lab.id for lab in two.pick(workshop="two")] == ["one/01", "two/01", "two/02"]
    assert [lab.id for lab in two.pick(workshop="one")] == ["one/01", "one/02"]
    assert [lab.id for lab in two.pick(first="two/01", workshop="two")] == ["two/01", "two/02"]
    with pytest.raises(UnknownLab, match=r"found 'three'\. There are: one, two"):
        two.pick(workshop="three")


def test_previous_and_next_stay_in_the_workshop(two: Curriculum) -> None:
    def around(lab: str) -> tuple[str | None, ...]:
        return tuple(one and one.id for one in two.neighbours(two.get(lab)))

    assert around("start") == (None, "one/01")
    assert around("one/02") == ("one/01", None)
    assert around("two/01") == ("start", "two/02")
    assert "two" not in notebook.navigation(two, two.get("one/02")).lower()


def test_readme_groups_the_labs_by_workshop(two: Curriculum) -> None:
    names = [line.split("|")[1].strip() for line in readme.table(two).splitlines()[2:]]
    assert names == ["start", "**one**", "one/01", "one/02", "**two**", "two/01", "two/02"]
    assert "| **one** | **The first.** What it is about. | 10 min | |" in readme.table(two)


def test_command_lists_one_workshop(two: Curriculum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labrunner.cli.curricula.load", lambda: two)
    done = CliRunner().invoke(cli.app, ["list", "--workshop", "two"])
    assert done.exit_code == 0
    everything = CliRunner().invoke(cli.app, ["list"])
    assert everything.exit_code == 0
    refused = CliRunner().invoke(cli.app, ["list", "--workshop", "three"])
    assert isinstance(refused.exception, UnknownLab)


@pytest.mark.parametrize("words", [(), ("--checkout",)], ids=["copies", "checkout"])
def test_lab_opens_at_the_first_notebook_of_the_workshop(
    two: Curriculum, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli.curricula, "load", lambda: two)
    monkeypatch.setenv("LABS_HOME", str(tmp_path / "home"))
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "labpanel.jupyter.open_lab", lambda *_, **options: asked.append(options) or 0
    )
    for more in (("--workshop", "two", "--no-browser"), ()):
        done = CliRunner().invoke(cli.app, ["lab", *words, *more])
        assert done.exit_code == 0, done.output
    assert [one["first"] for one in asked] == [
        "notebooks/two/01.ipynb",
        "notebooks/00_start_here.ipynb",
    ]
    assert [one["arguments"] for one in asked] == [("--no-browser",), ()]


def test_limits_are_those_of_the_workshop(two: Curriculum) -> None:
    for lab in ("one/01", "two/01"):
        path = two.source(two.get(lab))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template(two.get(lab)), "utf-8")
    usual, own = (draft.read(two, two.get(lab)) for lab in ("one/01", "two/01"))
    assert list(anatomy.cells_are_as_many_as_fit(usual)) == []
    (found,) = anatomy.cells_are_as_many_as_fit(own)
    assert found.endswith(" cells; a lab has 5 to 9.")


def test_class_shares_what_the_workshop_shares(two: Curriculum) -> None:
    first, second = two.workshops
    assert tenants.shared(ROOT, [first], 12) == []
    found = tenants.shared(ROOT, [first, second], 12)
    assert [one["metadata"]["name"] for one in found] == ["training-engine-shared"]
    assert tenants.pods_of(found) == 2
    assert second.most_pods == 3


def test_learner_takes_the_largest_of_each(two: Curriculum) -> None:
    found = sizes.largest(workshop.learner for workshop in two.workshops)
    assert found == {"pods": "3", "cpu": "1"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('id = "two"', 'id = "one"', "stands there twice"),
        ('id = "two"', 'id = "three"', r"no \[\[workshop\]\] has the id \['two'\]"),
        ('title = "The second"\n', "", "a key is missing"),
        ("extra_pods", "more_pods", "unknown key"),
        ('["training-engine"]\nextra', '["mlflow"]\nextra', "which it does not need"),
        ("cells = [5, 9]", "lines = [5, 9]", "expected limits"),
    ],
)
def test_workshop_that_does_not_hold_together_is_refused(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert old in WORKSHOPS
    with pytest.raises(BadCurriculum, match=problem):
        write(tmp_path, WORKSHOPS.replace(old, new))


def test_applications_of_workshops_are_in_the_catalogue() -> None:
    workshops = load(ROOT).workshops
    assert workshops
    for workshop in workshops:
        for app in workshop.applications:
            assert (ROOT / "catalog" / app / "kdapp.yaml").is_file(), app
        for app in workshop.shared:
            assert (ROOT / "catalog" / app / "shared").is_dir(), app
