"""Numbers for people: in tables, beside bars and along axes, at any magnitude.

The text never depends on the machine's locale: a comma sets thousands apart, a point begins the
decimals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["labels", "tick", "write"]

FIGURES = 3  # what a reader takes from a picture
TINY, HUGE = 1e-4, 1e9  # beyond these, powers of ten read better than zeros
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write(value: Any) -> str:
    """Write a value of a table: six figures at most, nothing that is not in it.

    >>> write(1234567), write(0.12345), write(None), write(3.0), write(2.5e-7)
    ('1,234,567', '0.12345', '–', '3', '2.5×10⁻⁷')
    """
    if value is None or value != value:  # NaN and NaT are unlike themselves
        return "–"
    if isinstance(value, float):
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if 0 < abs(value) < TINY:
            return _power(value, 6)
        return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def labels(values: Sequence[float]) -> list[str]:
    """Write numbers that are compared with each other: three figures of the largest are enough.

    >>> labels([0.324271, 0.128817, 0.000260652, 0.0])
    ['0.324', '0.129', '< 0.001', '0']
    >>> labels([161.602, 1001.3])
    ['162', '1,001']
    >>> labels([3.1e-9, 2e-10])
    ['3.1×10⁻⁹', '2×10⁻¹⁰']
    """
    finite = [one for one in values if math.isfinite(one)]
    largest = max(map(abs, finite), default=0.0)
    if largest and not TINY <= largest < HUGE:
        return [_power(one, FIGURES) if one and one in finite else write(one) for one in values]
    whole = all(one == int(one) for one in finite)
    places = 0 if whole or not largest else max(0, FIGURES - 1 - math.floor(math.log10(largest)))
    return [_rounded(float(one), places) for one in values]


def tick(number: float, _: object = None) -> str:
    """Write a place on an axis; matplotlib calls it with the number and its position.

    >>> tick(0.05), tick(0.15000000000000002), tick(20000.0), tick(0.0), tick(2e-9), tick(-250.0)
    ('0.05', '0.15', '20,000', '0', '2×10⁻⁹', '−250')
    """
    if number and not TINY / 10 <= abs(number) < HUGE:
        return _power(number, FIGURES)
    return f"{number:,.10g}".replace("-", "−")


def _rounded(number: float, places: int) -> str:
    if not math.isfinite(number):
        return write(number)
    text = f"{number:,.{places}f}"
    if number and not float(text.replace(",", "")):  # it is there, and smaller than what is shown
        least = f"{10.0**-places:.{places}f}"
        return f"< {least}" if number > 0 else f"> −{least}"
    return text.replace("-", "−") if number else "0"


def _power(number: float, figures: int) -> str:
    """Write a number as a figure times a power of ten.

    >>> _power(281036e6, 3)
    '2.81×10¹¹'
    """
    figure, _, exponent = f"{number:.{figures - 1}e}".partition("e")
    figure = figure.rstrip("0").rstrip(".") if "." in figure else figure
    return f"{figure}×10{str(int(exponent)).translate(RAISED)}".replace("-", "−")
