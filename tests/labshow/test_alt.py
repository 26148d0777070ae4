"""A picture says in words what it shows, and a notebook shows it with them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import matplotlib
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from labshow import alt, show

pytestmark = pytest.mark.fast

ZONES = pd.DataFrame({"zone": ["JFK", "LGA"], "trips": [1200, 30]})
HOURS = pd.DataFrame(
    {"hour": [0, 1, 2], "working day": [1.0, 5.0, 2.0], "day off": [3.0, 2.0, 4.0]}
)


@pytest.fixture(autouse=True)
def canvas() -> Iterator[None]:
    matplotlib.use("agg")
    yield
    plt.close("all")


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_bars_are_read_out_with_their_values() -> None:
    show.bars(ZONES, "zone", "trips", "JFK leads")
    assert alt.words_of(plt.gcf()) == "JFK leads: bars of trips, JFK 1,200, LGA 30."


def test_many_bars_are_cut_short() -> None:
    frame = pd.DataFrame({"zone": [f"z{number}" for number in range(40)], "trips": range(40)})
    show.bars(frame, "zone", "trips", "Forty")
    words = alt.words_of(plt.gcf())
    assert words.endswith("z11 11, and 28 more.")


def test_lines_are_told_from_end_to_end() -> None:
    show.lines(HOURS, "hour", ["working day", "day off"], "The evening", unit="rides")
    words = alt.words_of(plt.gcf())
    assert words.startswith("The evening: line working day (rides by hour) begins at 0 with 1")
    assert "highest at 1 with 5" in words
    assert "line day off" in words


def test_each_pair_of_axes_is_told() -> None:
    show.compare({"files": 24, "kB": 5000}, {"files": 3, "kB": 500}, "Less to read")
    assert alt.words_of(plt.gcf()) == (
        "Less to read. Bars of files, before 24, after 3. Bars of kB, before 5,000, after 500."
    )


def test_author_has_the_last_word() -> None:
    show.bars(ZONES, "zone", "trips", "JFK leads")
    show.describe(plt.gcf(), "Most rides begin at JFK.")
    assert alt.words_of(plt.gcf()) == "Most rides begin at JFK."


def test_picture_without_anything_says_so() -> None:
    assert alt.words_of(Figure()) == "A picture without words."


def test_notebook_shows_a_picture_with_its_words(shell: InteractiveShell) -> None:
    show.bars(ZONES, "zone", "trips", 'JFK leads "by far" & more')
    shown, _ = shell.display_formatter.format(plt.gcf())
    found = re.search(r'<img alt="([^"]*)"', shown["text/html"])
    assert found is not None
    assert html.unescape(found[1]).startswith('JFK leads "by far" & more: bars of trips')
    assert "base64," in shown["text/html"]


def test_empty_picture_is_not_shown_as_an_image(shell: InteractiveShell) -> None:
    show.style()
    shown, _ = shell.display_formatter.format(Figure())
    assert "text/html" not in shown


def test_histogram_says_where_it_is_highest() -> None:
    axes = pd.Series([0.0, 1.0, 1.0, 1.0, 2.0, 9.0]).plot.hist(bins=9, title="Most are small")
    axes.set(xlabel="minutes late", ylabel="rides")
    assert alt.words_of(axes.figure) == (
        "Most are small: 9 bars of rides by minutes late, the highest from 1 to 2."
    )
