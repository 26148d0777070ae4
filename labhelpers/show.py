"""Tables and pictures of the labs: one look, readable by colour-blind eyes, few lines in a cell.

    from labhelpers import show

    show.table(frame, "The first rows")
    show.bars(frame, "zone", "trips", title="JFK leads")
    show.lines(frame, "hour", ["working day", "day off"], title="The evening is the peak")
    show.files(folder)

A picture's title says what to see in it. To go on with matplotlib, give a function axes of your
own: `show.bars(..., ax=axes)`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "Live",
    "bars",
    "compare",
    "files",
    "lines",
    "listing",
    "read_size",
    "style",
    "table",
]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#BFBFBF"
STYLE = Path(__file__).with_name("labs.mplstyle")
CELL = "padding:.25em .8em;border-bottom:1px solid #e6e6e6"


def style() -> None:
    """Let all pictures from here on have the look of the labs."""
    import matplotlib.pyplot as plt

    plt.style.use(STYLE)


def table(
    data: pd.DataFrame | Sequence[Sequence[object]],
    caption: str = "",
    rows: int = 20,
    *,
    columns: Sequence[str] | None = None,
) -> None:
    """Show the first rows of a frame or a list; numbers right, with thousands set apart.

    >>> table([["JFK", 132]], columns=["airport", "zone"])
    airport zone
        JFK  132
    """
    import pandas as pd

    frame = (
        data
        if isinstance(data, pd.DataFrame)
        else pd.DataFrame(list(data), columns=None if columns is None else list(columns))
    )
    seen = frame.head(rows)
    cells = [[_text(value) for value in row] for row in seen.itertuples(index=False)]
    numeric = [str(kind)[:3] in ("int", "flo", "Int") for kind in seen.dtypes]
    more = f"{len(frame) - rows:,} more rows" if len(frame) > rows else ""
    plain = pd.DataFrame(cells, columns=seen.columns).to_string(index=False)
    _display(_html(list(map(str, seen.columns)), cells, numeric, caption, more), caption, plain)


def files(folder: Path | str, caption: str = "", rows: int = 12) -> None:
    """Show what is in a folder: paths, sizes; hidden files and Spark's checksums left out."""
    import pandas as pd

    place = Path(folder)
    found = sorted(file for file in place.rglob("*") if file.is_file())
    kept = [file for file in found if not file.name.startswith((".", "_SUCCESS"))]
    listed = [
        {"file": _short(str(file.relative_to(place))), "kB": round(file.stat().st_size / 1000, 1)}
        for file in kept
    ]
    table(pd.DataFrame(listed, columns=["file", "kB"]), caption or f"{place.name}/", rows)


def listing(folder: Path | str) -> set[Path]:
    """Return the Parquet files below a folder, those of Delta's own log left out."""
    found = Path(folder).rglob("*.parquet")
    return {file for file in found if "_delta_log" not in file.parts}


def read_size(frame: DataFrame) -> dict[str, int]:
    """Return how many files, and kB of them, Spark has to open to answer a question."""
    named = [Path(unquote(urlsplit(file).path)) for file in frame.inputFiles()]
    return {"files": len(named), "kB": sum(file.stat().st_size for file in named) // 1000}


def bars(
    frame: pd.DataFrame,
    label: str,
    value: str,
    title: str,
    *,
    unit: str = "",
    highlight: Callable[[Any], bool] | None = None,
    ax: Axes | None = None,
) -> None:
    """Draw one lying bar for each row, the first one on top, its value at its end."""
    names = [str(name) for name in frame[label]]
    values = [float(number) for number in frame[value]]
    axes = ax or _axes(height=0.9 + 0.34 * len(names))
    colours = [BLUE if highlight is None or highlight(name) else GREY for name in frame[label]]
    drawn = axes.barh(range(len(names)), values, color=colours, height=0.68)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.bar_label(drawn, [_text(number) for number in values], padding=4, fontsize=9)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.tick_params(left=False)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit or value)
    axes.set_title(title)


def lines(
    frame: pd.DataFrame,
    across: str,
    values: Sequence[str],
    title: str,
    *,
    unit: str = "",
    ax: Axes | None = None,
) -> None:
    """Draw one line for each named column, its name at its end instead of in a legend."""
    axes = ax or _axes()
    for number, name in enumerate(values):
        (line,) = axes.plot(frame[across], frame[name], marker="o", markersize=3.5)
        last = frame[name].iloc[-1]
        level = last + (0.02 * number * (max(frame[name]) or 1))
        axes.annotate(
            f" {name}", (frame[across].iloc[-1], level), color=line.get_color(), fontsize=10
        )
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    axes.set_xlabel(across)
    axes.set_ylabel(unit)
    axes.set_title(title)


def compare(before: Mapping[str, float], after: Mapping[str, float], title: str) -> None:
    """Draw each measure before and after, side by side, each with a scale of its own."""
    import matplotlib.pyplot as plt
    import pandas as pd

    style()
    figure, axes = plt.subplots(1, len(before), figsize=(8.4, 2.0), squeeze=False)
    for ax, measure in zip(axes[0], before, strict=True):
        pair = {"when": ["before", "after"], measure: [before[measure], after[measure]]}
        bars(pd.DataFrame(pair), "when", measure, "", ax=ax)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")


class Live:
    """A picture that is drawn again in the same place, each time its data have changed."""

    def __init__(self) -> None:
        from matplotlib.figure import Figure

        style()
        self.figure: Figure = Figure()
        self.axes: Axes = self.figure.add_subplot()
        self._handle: Any = None

    def draw(self, frame: pd.DataFrame, label: str, value: str, title: str) -> None:
        """Draw the bars of a frame in place of those that are there."""
        from IPython.display import display

        self.axes.clear()
        bars(frame, label, value, title, ax=self.axes)
        if self._handle is None:
            self._handle = display(self.figure, display_id=True)
        else:
            self._handle.update(self.figure)


def _axes(height: float | None = None) -> Axes:
    import matplotlib.pyplot as plt

    style()
    width, usual = plt.rcParams["figure.figsize"]
    return plt.subplots(figsize=(width, height or usual))[1]


def _text(value: Any) -> str:
    """Write a value for people.

    >>> _text(1234567), _text(0.12345), _text(None), _text(3.0)
    ('1,234,567', '0.12345', '–', '3')
    """
    if value is None or value != value:  # NaN and NaT are unlike themselves
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _short(name: str, width: int = 68) -> str:
    """Leave out the middle of a long name.

    >>> _short("part-00000-0a1b2c3d-snappy.parquet", 20)
    'part-000…ppy.parquet'
    """
    if len(name) <= width:
        return name
    tail = (width - 1) * 11 // 20 + 1
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"


def _html(
    names: list[str], cells: list[list[str]], numeric: list[bool], caption: str, more: str
) -> str:
    sides = ["right" if right else "left" for right in numeric]
    head = "".join(
        f'<th style="text-align:{side};{CELL}">{html.escape(name)}</th>'
        for name, side in zip(names, sides, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:{side};{CELL}">{html.escape(text)}</td>'
            for text, side in zip(row, sides, strict=True)
        )
        + "</tr>"
        for row in cells
    )
    title = f'<caption style="text-align:left;font-weight:bold">{html.escape(caption)}</caption>'
    foot = f'<div style="color:#595959">… {html.escape(more)}</div>' if more else ""
    shown = title if caption else ""
    return f"<table>{shown}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}"


def _display(markup: str, caption: str, plain: str) -> None:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    text = f"{caption}\n{plain}" if caption else plain
    if shell is None:
        print(text)
        return
    from IPython.display import display

    display({"text/html": markup, "text/plain": text}, raw=True)
