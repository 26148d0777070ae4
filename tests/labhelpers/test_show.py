"""Tables and pictures say what they were given, in one look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from labhelpers import show

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
    assert [text.get_text().strip() for text in plt.gca().texts] == ["working day", "day off"]


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
