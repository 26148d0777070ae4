"""Kubernetes quantities such as 500m, 2Gi or 1e3."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation

_FORM = re.compile(r"^([+-]?[0-9.]+)(|[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)$")
_BINARY = {unit: Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def parse(text: str | int | float) -> Decimal:
    """Return the number a quantity stands for; ValueError says what it should look like."""
    match = _FORM.match(str(text).strip())
    try:
        if not match:
            raise InvalidOperation
        number, unit = Decimal(match[1]), match[2]
    except InvalidOperation:
        raise ValueError(
            f"A quantity such as 2, 500m or 2Gi was expected and {text!r} was found."
        ) from None
    if unit.endswith("i"):
        return number * _BINARY[unit[0]]
    if unit[:1] in ("e", "E") and len(unit) > 1:
        return number * Decimal(10) ** int(unit[1:])
    return number * Decimal(10) ** _DECIMAL[unit]


def round_up(text: str | int | float) -> int:
    """Return a quantity as a whole number, rounded up as Kubernetes does."""
    return math.ceil(parse(text))
