"""Every lab keeps the rules for labs, is built from its source, and is listed once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labrunner import notebook, readme, source, template
from labrunner import rules as lab_rules
from labrunner.curriculum import Curriculum, Lab, load
from labrunner.draft import Draft, read
from labrunner.rules import RULES
from tests.repo.tree import ROOT, Tree

pytestmark = pytest.mark.fast

LABS = load(ROOT).labs
TOY = Lab("toy/a", "toy/a", "Toy", "beginner", 5)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_lab_keeps_every_rule(lab: Lab) -> None:
    assert [str(finding) for finding in lab_rules.check(load(ROOT), lab)] == []


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_notebook_is_byte_by_byte_what_its_source_gives(lab: Lab) -> None:
    curriculum = load(ROOT)
    assert curriculum.notebook(lab).read_bytes() == notebook.build(curriculum, lab).encode()


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_excuse_names_a_rule_and_a_reason(lab: Lab) -> None:
    known = {rule.__name__ for rule in RULES}
    assert [name for name, why in lab.excused.items() if name not in known or len(why) < 30] == []


def test_excused_rule_is_not_a_finding(tmp_path: Path) -> None:
    lab = replace(TOY, excused={"words_are_kind": "The word is a quotation from the manual."})
    curriculum = Curriculum(tmp_path, (lab,))
    notebook.save(curriculum.source(lab), GOOD.replace("Words that", "Words that simply"))
    notebook.save(curriculum.notebook(lab), notebook.build(curriculum, lab))
    assert lab_rules.check(curriculum, lab) == []


def unlisted(tree: Tree, curriculum: Curriculum) -> Iterator[str]:
    """Yield notebooks and sources that labs.toml does not list."""
    listed = {lab.file for lab in curriculum.labs}
    for path in tree.files:
        match = re.fullmatch(r"notebooks/(?:_src/(.+)\.py|(.+)\.ipynb)", path)
        if match and (match[1] or match[2]) not in listed:
            yield path


def second_lists(tree: Tree, curriculum: Curriculum) -> Iterator[str]:
    """Yield files, other than labs and tests, that name most of the labs by hand."""
    names = [Path(lab.file).name for lab in curriculum.labs]
    for path, text in tree.texts.items():
        if path.startswith(("notebooks/", "tests/", "labs.toml")):
            continue
        text = re.sub(rf"{re.escape(readme.BEGIN)}.*?{re.escape(readme.END)}", "", text, flags=re.S)
        if sum(name in text for name in names) >= 3:
            yield path


def test_every_notebook_is_listed() -> None:
    assert list(unlisted(Tree.of_checkout(), load(ROOT))) == []


def test_unlisted_notebook_is_found() -> None:
    tree = Tree.of(**{"notebooks/core/99_stray.ipynb": "{}", "notebooks/_src/stray.py": ""})
    assert len(list(unlisted(tree, load(ROOT)))) == 2


def test_labs_are_listed_once() -> None:
    assert list(second_lists(Tree.of_checkout(), load(ROOT))) == []


def test_second_list_of_labs_is_found() -> None:
    labs = tuple(replace(TOY, id=str(at), file=f"core/0{at}_lab") for at in range(4))
    tree = Tree.of(**{"docs.md": "core/00_lab core/01_lab core/02_lab"})
    assert list(second_lists(tree, Curriculum(ROOT, labs))) == ["docs.md"]


def test_table_in_the_readme_is_the_generated_one() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert readme.filled(text, load(ROOT)) == text
    assert all(f"| {lab.id} |" in text for lab in LABS)


GOOD = template.draft(TOY)
FILLER = "\n# %% [markdown]\n# " + "Words that explain what you see and why it is so. " * 6 + "\n"
GOOD = GOOD.replace("\n# %% [markdown]\n# ## If it", FILLER * 5 + "\n# %% [markdown]\n# ## If it")
GOOD = GOOD.replace("\nmade\n", "\n" + "made += 1\n" * 12 + "made\n")

BAD: dict[str, tuple[str, str]] = {
    "title_is_the_listed_one": ("# # Lab toy-a: Toy", "# # Lab toy-a: Another"),
    "purpose_is_one_sentence": ("# One sentence that says", "# One. Two. That says"),
    "sections_are_in_order": ("# ## Recap", "# ## Summary"),
    "steps_are_numbered": ("# ## 3. Verb", "# ## 5. Verb"),
    "steps_begin_with_why": (
        "# Why this step comes now, in one to three sentences that make the learner want to run"
        " the cell.",
        "# Now.",
    ),
    "steps_end_in_a_checkpoint": ("check(\n", "print(\n"),
    "overview_has_bullets": ("# - The second thing.\n", "#\n"),
    "prerequisites_are_a_table": ("| Need | Why | Check |", "| Need | Check | Why |"),
    "parameters_are_one_cell": (
        "rows: int = 1000  # how many rows",
        "rows = 1000  # how many rows",
    ),
    "recap_has_three_questions": ("A third question?", "No third question."),
    "right_answers_are_spread": (
        "\nmade\n",
        "\nquiz('A?', ['x', 'y'], right=1, because='x')\n"
        "quiz('B?', ['x', 'y'], right=1, because='x')\n",
    ),
    "troubles_are_two_or_three": ("# | Another one | Its cure |\n", ""),
    "cells_are_as_many_as_fit": (
        "\nmade\n",
        "\nmade\n\n# %%\n1\n\n# %%\n2\n\n# %%\n3\n\n# %%\n4\n",
    ),
    "code_is_as_long_as_fits": ("made += 1\n", ""),
    "prose_carries_the_code": ("Words that explain what you see and why it is so. ", ""),
    "cells_are_short": ("\nmade\n", "\nmade\n" + "made += 1\n" * 10),
    "cells_are_python": ("\nmade\n", "\nmade = (\n"),
    "imports_are_allowed": (
        "from labhelpers import",
        "import labsandbox.cli\nfrom labhelpers import",
    ),
    "imports_of_ours_are_few": (
        "from labhelpers import",
        "from labhelpers import data\n" * 3 + "from labhelpers import",
    ),
    "nothing_is_installed": ("\nmade\n", "\n!pip install pandas\n"),
    "nothing_asks_where_it_runs": ("\nmade\n", "\nif IS_" + "TESTING: made\n"),
    "certificates_are_verified": ("\nmade\n", "\nget(made, verify=" + "False)\n"),
    "nothing_sleeps": ("\nmade\n", "\ntime.sleep(made)\n"),
    "errors_are_named": ("\nmade\n", "\ntry:\n    made\nexcept Exception:\n    rows\n"),
    "paths_are_portable": ("\nmade\n", "\nopen('/home" + "/me/made')\n"),
    "last_values_are_meant": ("\nmade\n", "\nk8s.core.patch_namespaced_secret(made)\n"),
    "checkpoints_have_three_hints": ('        "Where to look.",\n', ""),
    "hints_name_cells_that_exist": ("begins `made = rows * 3`", "begins `made = rows * 7`"),
    "tags_are_known": ('tags=["exercise"]', 'tags=["exercise", "hard"]'),
    "blanks_can_be_filled": ('# %% tags=["exercise"]', '# %% tags=["blank"]'),
    "clean_up_asks": ("\nif finished:\n    del made\n", "\ndel made\n"),
    "exercise_has_a_solution": ("# end of solution", "# end"),
    "words_are_kind": ("Words that explain", "Words that simply explain"),
    "text_is_finished": ("Words that explain", "TO" + "DO Words that explain"),
    "links_lead_somewhere": ("Words that explain", "Words [here](gone.md) that explain"),
    "sources_are_two_to_four": ("https://example.org/two", "http://example.org/two"),
    "pictures_have_words": ("Words that explain", "Words ![](pictures.svg) that explain"),
    "secrets_are_absent": ("\nmade\n", "\nmade = 'ghp" + "_" + "a1B2" * 9 + "'\n"),
    "names_in_text_exist": ("Words that explain", "Words, `made_up_name` and all, that explain"),
    "names_are_used": ("made = rows * ", "made = 7 * "),
}

Drafts = Callable[[str], Draft]


@pytest.fixture
def draft(tmp_path: Path) -> Drafts:
    def write(text: str) -> Draft:
        curriculum = Curriculum(tmp_path, (TOY,))
        path = curriculum.source(TOY)
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
        (tmp_path / "notebooks" / "toy").mkdir(parents=True)
        return read(curriculum, TOY)

    return write


def findings(rule: lab_rules.Rule, found: Draft) -> list[str]:
    try:
        return list(rule(found))
    except source.BadSource as error:
        return [str(error)]


def test_good_draft_keeps_every_rule(draft: Drafts) -> None:
    good = draft(GOOD)
    assert {rule.__name__: findings(rule, good) for rule in RULES if findings(rule, good)} == {}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_bad_lab_is_rejected(draft: Drafts, rule: lab_rules.Rule) -> None:
    good, bad = BAD[rule.__name__]
    assert good in GOOD, "the fixture no longer fits the draft"
    assert findings(rule, draft(GOOD.replace(good, bad)))


def test_edited_notebook_is_a_finding(tmp_path: Path) -> None:
    curriculum = Curriculum(tmp_path, (TOY,))
    notebook.save(curriculum.source(TOY), GOOD)
    notebook.save(curriculum.notebook(TOY), notebook.build(curriculum, TOY) + " ")
    assert [finding.rule for finding in lab_rules.check(curriculum, TOY)] == ["notebook_is_built"]
