"""Words for pictures: what a screen reader says of a figure, and who reads a page as text.

A figure that a lab draws is shown as an image with these words as its alternative text. They are
read off the figure itself: its title, its bars with their values, its lines from end to end. A
figure that needs better words gets them from its author: `describe(figure, "…")`.
"""

from __future__ import annotations

import html
import importlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from labshow import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["describe", "page_of", "show_words", "words_of"]

MOST = 12  # bars that are read out; a listener does not keep more


def describe(figure: Figure, words: str) -> None:
    """Say in a sentence what a figure shows, for those who do not see it.

    >>> from matplotlib.figure import Figure
    >>> drawn = Figure()
    >>> describe(drawn, "Routes across the city; those to the airports take longest.")
    >>> words_of(drawn)
    'Routes across the city; those to the airports take longest.'
    """
    figure.set_label(words)
    show_words()


def words_of(figure: Figure) -> str:
    """Return the author's words of a figure, or what can be read off it."""
    if words := str(figure.get_label()):
        return words
    said = [figure.get_suptitle(), *(_part(axes) for axes in figure.axes)]
    return " ".join(f"{one.rstrip('.')}." for one in said if one) or "A picture without words."


def show_words() -> None:
    """Let this notebook show figures with their words; once is enough, more do no harm."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell: Any = get_ipython()
    if shell is not None:
        import matplotlib
        from matplotlib.figure import Figure

        if "inline" in matplotlib.get_backend():
            # Loaded with the first figure it would forget what is said here: load it before.
            importlib.import_module("matplotlib_inline.backend_inline")
        shell.display_formatter.formatters["text/html"].for_type(Figure, page_of)


def page_of(figure: Figure) -> str | None:
    """Return a figure as an image with its words; nothing when there is nothing to see."""
    from IPython.core.pylabtools import print_figure

    if not figure.axes:
        return None
    picture = print_figure(figure, base64=True)
    words = html.escape(words_of(figure), quote=True)
    return f'<img alt="{words}" style="max-width:100%" src="data:image/png;base64,{picture}">'


def _part(axes: Axes) -> str:
    """Say what one pair of axes shows."""
    title = axes.get_title("left") or axes.get_title() or axes.get_title("right")
    said = ": ".join(one for one in (title, "; ".join((*_bars(axes), *_lines(axes)))) if one)
    return said[:1].upper() + said[1:]


def _bars(axes: Axes) -> Iterator[str]:
    from matplotlib.container import BarContainer

    for bars in axes.containers:
        if not isinstance(bars, BarContainer) or not bars.patches:
            continue
        lying = bars.orientation == "horizontal"
        names = axes.get_yticklabels() if lying else axes.get_xticklabels()
        measure = axes.get_xlabel() if lying else axes.get_ylabel()
        values = [bar.get_width() if lying else bar.get_height() for bar in bars.patches]
        if len(names) != len(values):  # a histogram: its bars stand on an axis and have no names
            yield _histogram(axes, bars.patches)
            continue
        said = [
            f"{name.get_text()} {value}".strip()
            for name, value in zip(names, number.labels(values), strict=False)
        ]
        more = [f"and {len(said) - MOST} more"] if len(said) > MOST else []
        yield f"bars of {measure or 'values'}, {', '.join([*said[:MOST], *more])}"


def _histogram(axes: Axes, bars: Sequence[Any]) -> str:
    highest = max(bars, key=lambda bar: bar.get_height())
    ends = highest.get_x(), highest.get_x() + highest.get_width()
    low, high = number.labels([*ends])
    return (
        f"{len(bars)} bars of {axes.get_ylabel() or 'counts'} by {axes.get_xlabel() or 'value'}, "
        f"the highest from {low} to {high}"
    )


def _lines(axes: Axes) -> Iterator[str]:
    """Say of each named line where it begins, turns highest and lowest, and ends."""
    for line in axes.get_lines():
        name = str(line.get_label())
        if not name.startswith("_") and len(list(line.get_xdata())) > 1:  # type: ignore[arg-type]
            yield _line(axes, name, line)


def _line(axes: Axes, name: str, line: Line2D) -> str:
    x = [float(one) for one in _plain(line.get_xdata())]
    y = [float(one) for one in _plain(line.get_ydata())]
    points = [(one, two) for one, two in zip(x, y, strict=True) if math.isfinite(two)]
    if not points:
        return f"line {name} without values"
    turns = {
        "begins": points[0],
        "lowest": min(points, key=lambda point: point[1]),
        "highest": max(points, key=lambda point: point[1]),
        "ends": points[-1],
    }
    places = number.labels([one for one, _ in turns.values()])
    levels = number.labels([two for _, two in turns.values()])
    said = [
        f"{word} at {place} with {level}"
        for word, place, level in zip(turns, places, levels, strict=True)
    ]
    across, up = axes.get_xlabel(), axes.get_ylabel()
    of = f" ({up} by {across})" if across and up else ""
    return f"line {name}{of} {', '.join(said)}"


def _plain(data: Any) -> list[Any]:
    """Return a line's numbers; dates become the days that matplotlib counts."""
    from matplotlib import dates
    from numpy import asarray

    values, count = asarray(data), getattr(dates, "date2num")  # noqa: B009  (it has no types)
    return list(count(values) if values.dtype.kind == "M" else values)
