"""Tables and pictures say what they were given, in one look."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from labshow import show

pytestmark = pytest.mark.fast

FRAME = pd.DataFrame({"zone": ["JFK", "LGA"], "trips": [1200, 30]})


@pytest.fixture(autouse=True)
def canvas() -> Iterator[None]:
    matplotlib.use("agg")
    yield
    plt.close("all")


def test_table_writes_numbers_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(FRAME, "Airports")
    said = capsys.readouterr().out
    assert said.startswith("Airports\n")
    assert "1,200" in said


def test_table_takes_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    show.table([["JFK", None]], columns=["airport", "trips"])
    assert capsys.readouterr().out.split() == ["airport", "trips", "JFK", "–"]


def test_table_escapes_what_it_shows() -> None:
    page = show._html(["<b>"], [["<script>"]], [False], "a & b", "")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "a &amp; b" in page


def test_files_are_listed_without_hidden_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part.parquet").write_bytes(b"x" * 2500)
    (tmp_path / ".part.parquet.crc").write_bytes(b"x")
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "0.checkpoint.parquet").write_bytes(b"x")
    show.files(tmp_path)
    said = capsys.readouterr().out
    assert "part.parquet 2.5" in said
    assert "crc" not in said
    assert show.listing(tmp_path) == {tmp_path / "part.parquet"}


def test_bars_carry_their_values_and_a_title() -> None:
    show.bars(FRAME, "zone", "trips", "JFK leads")
    axes = plt.gca()
    assert axes.get_title(loc="left") == "JFK leads"
    assert [text.get_text() for text in axes.texts] == ["1,200", "30"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["JFK", "LGA"]


def test_bars_can_point_at_one() -> None:
    show.bars(FRAME, "zone", "trips", "JFK leads", highlight=lambda zone: zone == "JFK")
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in plt.gca().patches]
    assert colours == [show.BLUE.lower(), show.GREY.lower()]


def test_lines_are_named_at_their_ends() -> None:
    frame = pd.DataFrame({"hour": [0, 1], "working day": [1.0, 2.0], "day off": [2.0, 1.0]})
    show.lines(frame, "hour", ["working day", "day off"], "Two days", unit="rides")
    ends = {text.get_text(): text.xy for text in plt.gca().texts}  # type: ignore[attr-defined]
    assert ends == {"working day": (1, 2), "day off": (1, 1)}


def test_line_alone_needs_no_name() -> None:
    show.lines(pd.DataFrame({"hour": [0, 1], "off": [1.0, 2.0]}), "hour", ["off"], "Alone")
    assert not plt.gca().texts


def test_lines_are_told_apart_without_colour() -> None:
    frame = pd.DataFrame({"hour": [0, 1], **{name: [1.0, 2.0] for name in "abcd"}})
    show.lines(frame, "hour", list("abcd"), "Four")
    looks = {(line.get_marker(), line.get_linestyle()) for line in plt.gca().get_lines()}
    assert len(looks) == 4


def words(axes: Axes) -> dict[str, Bbox]:
    """Return every word of a picture with the room it takes."""
    figure = axes.get_figure()
    assert figure is not None
    figure.canvas.draw()
    across, up = (sorted(limits) for limits in (axes.get_xlim(), axes.get_ylim()))
    written = [
        axes._left_title,  # type: ignore[attr-defined]
        axes.xaxis.label,
        axes.yaxis.label,
        *axes.texts,
        # an axis also keeps places beyond its ends, and does not draw them
        *(one for one in axes.get_xticklabels() if across[0] <= one.get_position()[0] <= across[1]),
        *(one for one in axes.get_yticklabels() if up[0] <= one.get_position()[1] <= up[1]),
    ]
    return {
        f"{number} {text.get_text()}": text.get_window_extent()
        for number, text in enumerate(written)
        if text.get_text()
    }


MAGNITUDES = [1e-12, 3e-7, 2.8e-4, 0.3, 1.0, 480.0, 5570.0, 1.2e6, 3e8, 7e13]


def assert_readable(axes: Axes) -> None:
    """Nothing is cut off, no word covers another, no two places of an axis say the same."""
    figure = axes.get_figure()
    assert figure is not None
    found = words(axes)
    width, height = figure.canvas.get_width_height()
    for word, box in found.items():
        assert box.x0 >= -1 <= box.y0, f"{word!r} is cut off"
        assert box.x1 <= width + 1, f"{word!r} is cut off"
        assert box.y1 <= height + 1, f"{word!r} is cut off"
    for (one, here), (other, there) in itertools.combinations(found.items(), 2):
        assert not here.padded(-1).overlaps(there.padded(-1)), f"{one!r} covers {other!r}"
    for axis in (axes.xaxis, axes.yaxis):
        places = [text.get_text() for text in axis.get_ticklabels()]
        assert len(set(places)) == len(places), places


@pytest.mark.parametrize("size", MAGNITUDES)
def test_bars_are_readable_at_any_magnitude(size: float) -> None:
    values = [1.234 * size, 0.5 * size, 0.0004 * size, 0.0]
    frame = pd.DataFrame({"what": ["speed", "duration", "distance", "hour"], "value": values})
    show.bars(frame, "what", "value", "One leads", limits={"a limit": 0.4 * size})
    beside = [text.get_text() for text in plt.gca().texts]
    assert beside[3] == "0"
    assert len(set(beside)) == 5
    assert all(len(text) <= 11 for text in beside)
    assert_readable(plt.gca())


@pytest.mark.parametrize("size", MAGNITUDES)
@pytest.mark.parametrize("apart", [0.0, 0.3])
def test_lines_are_readable_at_any_magnitude(size: float, apart: float) -> None:
    frame = pd.DataFrame({"hour": range(24)})
    for number, name in enumerate(("working day", "day off", "holiday")):
        frame[name] = size * (2 + (frame["hour"] % 7) / 7 + apart * number)
    show.lines(frame, "hour", list(frame.columns[1:]), "All alike", unit="rides")
    assert_readable(plt.gca())


def test_counts_have_whole_places_and_hours_every_third() -> None:
    show.bars(pd.DataFrame({"what": ["a"], "files": [5]}), "what", "files", "Five")
    assert [text.get_text() for text in plt.gca().get_xticklabels()][:4] == ["0", "1", "2", "3"]
    hours = pd.DataFrame({"hour": [float(one) for one in range(24)], "off": 1.0})
    show.lines(hours, "hour", ["off"], "A day")
    plt.gcf().canvas.draw()
    places = [text.get_text() for text in plt.gca().get_xticklabels()]
    assert [place for place in places if place in ("3", "6", "9", "12")] == ["3", "6", "9", "12"]


def test_unreadable_picture_is_found() -> None:
    show.bars(FRAME, "zone", "trips", "JFK leads")
    plt.gca().xaxis.set_major_formatter("{x:,.0e}")
    plt.gca().set_xlim(0, 1)
    with pytest.raises(AssertionError):
        assert_readable(plt.gca())


def test_comparison_gives_each_measure_a_scale() -> None:
    show.compare({"files": 24, "kB": 5000}, {"files": 3, "kB": 500}, "Less to read")
    assert [axes.get_xlabel() for axes in plt.gcf().axes] == ["files", "kB"]


def test_colours_are_told_apart_by_all_eyes() -> None:
    show.style()
    cycle = [style["color"] for style in plt.rcParams["axes.prop_cycle"]]
    assert [f"#{colour.lstrip('#')}" for colour in cycle[:3]] == [
        show.BLUE,
        show.ORANGE,
        show.GREEN,
    ]
