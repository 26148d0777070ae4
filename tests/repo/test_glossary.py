"""The glossary holds the words that labs explain, each once, and the labs link to it."""

from __future__ import annotations

import functools
import re

import pytest

from labrunner import glossary, notebook
from labrunner.curriculum import load
from labrunner.source import read
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

CURRICULUM = load(ROOT)
TERMS = glossary.terms(ROOT)
LAB = re.compile(r" \(\[[a-z0-9 -]+\]\((?P<file>[a-z0-9_/]+)\.ipynb\)\)$")
LONGEST = 26  # words


@functools.cache
def prose(file: str) -> str:
    """Return the text cells of a lab."""
    cells = read(ROOT / "notebooks" / "_src" / f"{file}.py")
    return "\n\n".join(cell.text for cell in cells if cell.kind == "markdown")


def explained(file: str, term: str) -> bool:
    """Tell whether a lab's text has the term in bold."""
    return glossary.link([prose(file)], [term], "glossary.md") != [prose(file)]


def faults(terms: dict[str, str]) -> list[str]:
    """Return what is wrong with entries."""
    found = []
    for term, text in terms.items():
        lab = LAB.search(text)
        if lab is None:
            found.append(f"{term}: expected the lab that explains it at the end.")
        elif not explained(lab["file"], term):
            found.append(f"{term}: {lab['file']} does not have it in bold.")
        for sentence in re.split(r"(?<=[.;:]) ", LAB.sub("", text)):
            if len(sentence.split()) > LONGEST:
                found.append(f"{term}: a sentence of more than {LONGEST} words.")
    return found


def test_every_term_is_explained_by_the_lab_that_its_entry_names() -> None:
    assert len(TERMS) > 100
    assert faults(TERMS) == []


def test_term_that_no_lab_explains_is_found() -> None:
    assert faults({"flux": "A flow. ([core-01](core/01_authenticate.ipynb))"}) != []
    assert faults({"session": "A record."}) != []
    long = "word " * LONGEST + "more. ([core-01](core/01_authenticate.ipynb))"
    assert faults({"session": long}) != []


def test_entries_are_in_order_and_each_stands_once() -> None:
    text = (ROOT / glossary.PAGE).read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings == sorted(set(headings), key=str.lower)
    assert list(TERMS) == headings, "each heading has one paragraph"


def test_entry_names_the_first_lab_that_explains_the_term() -> None:
    late = {}
    for term, text in TERMS.items():
        first = next(lab.file for lab in CURRICULUM.labs if explained(lab.file, term))
        if f"({first}.ipynb)" not in text:
            late[term] = first
    assert late == {}


def test_links_of_the_labs_lead_to_entries_and_each_core_lab_has_some() -> None:
    for lab in CURRICULUM.labs:
        built = notebook.build(CURRICULUM, lab)
        linked = glossary.targets(built)
        assert {glossary.anchor(term) for term in TERMS} >= set(linked), lab.id
        assert len(linked) == len(set(linked)), f"{lab.id}: each term is linked once"
        if lab.workshop == "core":
            assert len(linked) >= 3, lab.id


def test_start_page_links_to_the_glossary() -> None:
    start = (ROOT / "notebooks" / "_src" / "00_start_here.py").read_text("utf-8")
    assert "](glossary.md)" in start


def test_bold_word_that_goes_over_two_lines_is_linked_and_the_edit_taken_back() -> None:
    text = "The **project\nrepository** is a folder."
    (linked,) = glossary.link([text], ["project repository"], "../glossary.md")
    assert linked == "The [**project\nrepository**](../glossary.md#project-repository) is a folder."
    assert glossary.unlink(linked) == text
