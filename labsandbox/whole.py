"""Read whole numbers that anybody may have written, into an annotation for example."""

from __future__ import annotations

import re

_DIGITS = re.compile("[0-9]{1,18}")


def read(text: object, default: int = 0) -> int:
    """Return the number a text of ASCII digits stands for, else the default.

    `str.isdigit` is also true of `²`, which `int` refuses, as it does 5,000 digits.
    """
    return int(text) if isinstance(text, str) and _DIGITS.fullmatch(text) else default
