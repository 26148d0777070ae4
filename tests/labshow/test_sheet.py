"""A page that a program writes: whole, quiet, and the same for those who do not see drawings."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from labshow.sheet import Box, Sheet

pytestmark = pytest.mark.fast


def sheet() -> Sheet:
    made = Sheet("March <2024>", "What was decided & what became of it.")
    made.heading("Outcomes", "Counted.")
    made.table("Outcomes", ["outcome", "loans"], [["<accepted>", 1812], ["refused", 0.5]])
    made.facts("Facts", {"snapshot": "12345678901234567890"})
    made.bars("Purposes", [("medical", 12.0), ("a purpose with a very long name", -3.0)], unit="%")
    boxes = {"a": Box("data", "loans", "12,000 rows"), "b": Box("run", "train"),
             "c": Box("run", "push")}  # fmt: skip
    made.graph("Lineage", ["data", "run"], boxes, [("a", "b", "the tag"), ("b", "c", "the tree")])
    return made


class Tags(HTMLParser):
    """Collects what a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes


def test_page_runs_nothing_and_loads_nothing() -> None:
    found = Tags(sheet().html())
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name in ("src", "href") or name[:2] == "on"]
    assert "http" not in sheet().html()
    assert "url(" not in sheet().html()


def test_words_of_others_are_text() -> None:
    text = sheet().html()
    assert "<h1>March &lt;2024&gt;</h1>" in text
    assert "&lt;accepted&gt;" in text
    assert "<accepted>" not in text


def test_each_drawing_has_a_title_and_the_same_as_a_table() -> None:
    text = sheet().html()
    drawings = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(drawings) == 2 == text.count("The same as a table")
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        title = root.find("title")
        assert title is not None
        assert title.text
        assert root.get("aria-labelledby") == title.get("id")
    assert "<td>the tag</td>" in text
    assert "a purpose with a very long name" in text.split("The same as a table")[1]


def test_facts_stand_left_and_read_as_words() -> None:
    made = Sheet("Facts")
    made.facts("Version 1", {"rows": 12_000, "columns": ["term", "purpose"], "is new": True})
    for cell in ("<td>12,000</td>", "<td>term, purpose</td>", "<td>True</td>"):
        assert cell in made.html()


def test_drawing_names_its_unit_once() -> None:
    made = Sheet("Money")
    made.bars("The money", [("gain", 3.0)], unit="dollars")
    made.bars("Drift (PSI)", [("age", 0.1)], unit="PSI")
    assert "<figcaption>The money, in dollars</figcaption>" in made.html()
    assert "<figcaption>Drift (PSI)</figcaption>" in made.html()


def test_numbers_stand_right_and_ids_stay_whole() -> None:
    text = sheet().html()
    assert '<td class="n">1,812</td>' in text
    assert "<td>12345678901234567890</td>" in text


def test_nothing_of_a_graph_lies_outside_of_it() -> None:
    (drawing,) = re.findall(r"<svg(?:(?!<svg).)*things in.*?</svg>", sheet().html(), re.S)
    root = ElementTree.fromstring(drawing)
    _, _, wide, high = map(float, str(root.get("viewBox")).split())
    boxes = [one for one in root if one.get("class") == "box"]
    assert len(boxes) == 3
    for box in boxes:
        x, y, w, h = (float(str(box.get(key))) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= wide
        assert y >= 0
        assert y + h <= high
