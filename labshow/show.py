"""Tables and pictures of the labs: one look, readable by colour-blind eyes, few lines in a cell.

    from labshow import show

    show.table(frame, "The first rows")
    show.bars(frame, "zone", "trips", title="JFK leads")
    show.lines(frame, "hour", ["working day", "day off"], title="The evening is the peak")
    show.files(folder)

A picture's title says what to see in it. To go on with matplotlib, give a function axes of your
own: `show.bars(..., ax=axes)`. Who does not see a picture is told its title and its numbers; better
words are given with `show.describe(figure, "…")`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame

from labshow import number
from labshow.alt import describe, show_words
from labshow.colour import BLUE, DARK, GREEN, GREY, ORANGE, QUIET

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "Live",
    "bars",
    "compare",
    "describe",
    "files",
    "lines",
    "listing",
    "read_size",
    "style",
    "table",
]

SHAPES = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"))  # marker and dashes of each line
STYLE = Path(__file__).with_name("labs.mplstyle")
_ON_TOP: dict[str, Any] = {
    "xycoords": ("data", "axes fraction"),
    "textcoords": "offset points",
    "fontsize": 9,
    "color": DARK,
    "va": "bottom",
}
CELL = "padding:.25em .8em;border-bottom:1px solid #e6e6e6"
HEAD = f"white-space:nowrap;{CELL}"


def style() -> None:
    """Let all pictures from here on have the look of the labs."""
    import matplotlib.pyplot as plt

    plt.style.use(STYLE)
    show_words()


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
    cells = [[number.write(value) for value in row] for row in seen.itertuples(index=False)]
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
    limits: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> None:
    """Draw one lying bar for each row, the first one on top, its value at its end.

    `limits` are upright lines with a word at their top: what a bar is compared with.
    """
    names = [str(name) for name in frame[label]]
    values = [float(one) for one in frame[value]]
    axes = ax or _axes(height=0.9 + 0.34 * len(names) + (0.3 if limits else 0))
    colours = [BLUE if highlight is None or highlight(name) else GREY for name in frame[label]]
    drawn = axes.barh(range(len(names)), values, color=colours, height=0.68)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    beside = axes.bar_label(drawn, number.labels(values), padding=4, fontsize=9)
    for text in beside:  # white behind it: a line of the grid, or a limit, may cross it
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    axes.margins(x=0.12)
    for word, level in (limits or {}).items():
        axes.axvline(level, color=DARK, linewidth=1.2, linestyle="--", zorder=1.5)
        axes.annotate(word, (level, 1), (3, 1), **_ON_TOP)
    axes.grid(axis="y", visible=False)
    axes.tick_params(left=False)
    _number_axis(axes.xaxis, values)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit or value)
    axes.set_title(title, pad=20 if limits else None)


def lines(
    frame: pd.DataFrame,
    across: str,
    values: Sequence[str],
    title: str,
    *,
    unit: str = "",
    ax: Axes | None = None,
) -> None:
    """Draw one line for each named column, told apart by colour, dashes and marker.

    Two or more have their names at their ends instead of in a legend.
    """
    axes = ax or _axes()
    for name, (marker, dashes) in zip(values, cycle(SHAPES), strict=False):
        (line,) = axes.plot(frame[across], frame[name], marker=marker, markersize=4)
        line.set(linestyle=dashes, label=name)
    if float(frame[list(values)].min().min()) >= 0:
        axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    if len(values) > 1:
        at = float(frame[across].iloc[-1])
        ends = {name: float(frame[name].iloc[-1]) for name in values}
        _name_at_the_end(axes, at, ends)
    axes.set_xlabel(across)
    axes.set_ylabel(unit)
    axes.set_title(title)
    _number_axis(axes.yaxis, frame[list(values)].to_numpy().ravel())
    if frame[across].dtype.kind in "iuf":
        _number_axis(axes.xaxis, frame[across], most=9, steps=(1, 2, 3, 5, 6, 10))


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


def _number_axis(
    axis: Axis, data: Iterable[Any] = (), most: int = 7, steps: Sequence[float] = (1, 2, 2.5, 5, 10)
) -> None:
    """Write round places along an axis, as many as fit beside each other; whole ones for counts."""
    from matplotlib.ticker import MaxNLocator

    values = [float(one) for one in data if math.isfinite(one)]
    is_whole = bool(values) and all(one == int(one) for one in values)
    axis.set_major_locator(MaxNLocator(most, steps=list(steps), integer=is_whole))
    axis.set_major_formatter(number.tick)


def _name_at_the_end(axes: Axes, at: float, ends: Mapping[str, float]) -> None:
    """Write each line's name at its right end, moved apart where two would cover each other."""
    low, high = axes.get_ylim()
    below = -math.inf
    colours = {
        name: line.get_color()
        for name, line in zip(ends, axes.get_lines()[-len(ends) :], strict=True)
    }
    for name, level in sorted(ends.items(), key=lambda end: end[1]):
        below = max(level, below + 0.075 * (high - low))
        axes.annotate(
            name,
            (at, below),
            (7, 0),
            textcoords="offset points",
            va="center",
            color=_darker(colours[name]),
            fontsize=10,
            annotation_clip=False,
        )


def _darker(colour: Any) -> tuple[float, ...]:
    """Return a line's colour as words may have it: enough contrast to be read on white."""
    from matplotlib.colors import to_rgb

    return tuple(0.55 * part for part in to_rgb(colour))


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
    is_named = bool(numeric) and not numeric[0]  # the first column names its row
    head = "".join(
        f'<th scope="col" style="text-align:{side};{HEAD}">{html.escape(name)}</th>'
        for name, side in zip(names, sides, strict=True)
    )

    def cell(at: int, text: str) -> str:
        look = f"text-align:{sides[at]};{CELL}"
        if at == 0 and is_named:
            return f'<th scope="row" style="font-weight:normal;{look}">{html.escape(text)}</th>'
        return f'<td style="{look}">{html.escape(text)}</td>'

    body = "".join(
        "<tr>" + "".join(cell(at, text) for at, text in enumerate(row)) + "</tr>" for row in cells
    )
    title = f'<caption style="text-align:left;font-weight:bold">{html.escape(caption)}</caption>'
    foot = f'<div style="color:{QUIET}">… {html.escape(more)}</div>' if more else ""
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
