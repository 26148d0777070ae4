"""The page as a browser without JavaScript, a screen reader and a curious learner meet it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from labclass import ledger, page
from labclass.ledger import BadReport, Ledger
from labclass.page import Frame, View
from tests.classroom.pupils import COURSE, keep, twelve

pytestmark = pytest.mark.fast

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture
def seen(tmp_path: Path) -> View:
    book = Ledger(tmp_path)
    keep(book, twelve(NOW), NOW)
    return page.view(twelve(NOW), book.entries(), COURSE, NOW)


class Elements(HTMLParser):
    """The elements of a page, with the attributes of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_page_has_one_heading_a_language_and_scopes(seen: View) -> None:
    text = page.of_class(seen, "need", Frame("/services/attendance/", "instructor"))
    elements = Elements(text)
    assert elements.of("html") == [{"lang": "en"}]
    assert len(elements.of("h1")) == len(elements.of("main")) == 1
    assert all(heading.get("scope") in ("col", "row") for heading in elements.of("th"))
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))


def test_instructor_reads_what_learners_say_and_a_learner_does_not(tmp_path: Path) -> None:
    answers = {"core": {"useful": 2, "pace": "too fast", "change": "<b>slower</b>"}}
    report = {"progress": {}, "at": NOW.isoformat(), "survey": answers}
    book = Ledger(tmp_path)
    book.keep("ann", ledger.read(json.dumps(report).encode()), NOW)
    seen = page.view(["ann", "ben"], book.entries(), COURSE, NOW)
    text = page.of_class(seen, "need", Frame("/", "instructor"))
    assert "too fast" in text
    assert "&lt;b&gt;slower&lt;/b&gt;" in text
    assert "too fast" not in page.of_learner(seen.rows[1], NOW, Frame("/", "ben"))


def test_status_is_said_in_words_and_not_by_colour_alone(seen: View) -> None:
    text = page.of_class(seen, "need", Frame("/", "instructor"))
    assert {"! stuck", "▸ working", "– not begun", "✓ done"} <= {
        part.split("<")[0] for part in text.split('class="state">')[1:]
    }


def test_columns_sort_by_plain_links(seen: View) -> None:
    text = page.of_class(seen, "name", Frame("/", "instructor"))
    assert [a["href"] for a in Elements(text).of("a") if "sort" in str(a["href"])] == [
        f"?sort={key}" for key, _ in page.COLUMNS
    ]
    assert text.index("row-student1") < text.index("row-student9") < text.index("row-student10")
    assert 'aria-sort="ascending"' in text
    assert page.of_class(seen, "nonsense", Frame("/", "x")) == page.of_class(
        seen, "need", Frame("/", "x")
    )


def test_learners_page_names_nobody_else(seen: View) -> None:
    mine = next(row for row in seen.rows if row.name == "student7")
    text = page.of_learner(mine, NOW, Frame("/", "student7"))
    assert "student2" not in text
    assert "student4" not in text
    assert "Where you stand" in text


def test_names_that_are_markup_stay_text(tmp_path: Path) -> None:
    name = '<img src=x onerror="alert(1)">'
    seen = page.view([name], {}, COURSE, NOW)
    assert "<img" not in page.of_class(seen, "need", Frame("/", name))
    assert "<img" not in page.of_learner(seen.rows[0], NOW, Frame("/", "instructor"))


def test_learners_data_has_no_figures_of_the_class(seen: View) -> None:
    alone = page.view(["student7"], {}, COURSE, NOW)
    assert set(page.as_json(alone, False)) == {"at", "learners"}
    assert set(page.as_json(seen, True)) == {"at", "learners", "obstacles", "counts"}
    json.dumps(page.as_json(seen, True))


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "the body"),
        (b"[1, 2]", "the body"),
        (b'{"progress": {}}', "at"),
        (b'{"progress": {}, "at": "yesterday"}', "at"),
        (b'{"progress": {}, "at": "2026-01-01T00:00:00"}', "at"),
        (b'{"progress": {"core/01": {"x": {"passed": "perhaps"}}}, "at": "2026-01-01T00:00:00Z"}',
         "progress.core/01.x.passed"),
        (b'{"progress": {"core/01": {"x": {"passed": true, "failures": -1}}}, '
         b'"at": "2026-01-01T00:00:00Z"}', "progress.core/01.x.failures"),
        (b'{"a":' * 100_000, "the body"),
        (b"\xff\xfe", "the body"),
    ],
)  # fmt: skip
def test_malformed_report_is_refused_with_its_place(body: bytes, where: str) -> None:
    with pytest.raises(BadReport, match=r"^Expected \{\"progress\"") as refused:
        ledger.read(body)
    assert f"found at {where}" in str(refused.value)


def test_names_cannot_leave_the_ledgers_folder(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "attendance")
    report = ledger.read(b'{"progress": {}, "at": "2026-01-01T00:00:00Z"}')
    for name in ("../evil", "a/b", "..", "zoe@example.org", "ünïcode"):
        book.keep(name, report)
    assert [path.name for path in tmp_path.iterdir()] == ["attendance"]
    assert set(book.entries()) == {"../evil", "a/b", "..", "zoe@example.org", "ünïcode"}


def test_damaged_file_costs_one_learner_and_not_the_page(tmp_path: Path) -> None:
    book = Ledger(tmp_path)
    keep(book, twelve(NOW), NOW)
    (tmp_path / "student1.json").write_text('{"half')
    assert set(book.entries()) == set(twelve(NOW)) - {"student1"}
