"""Read and write Kubernetes quantities ("100m", "1Gi") exactly, without floats."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}


def parse(text: str | int | float) -> Decimal:
    """Return the number a quantity stands for."""
    text = str(text).strip()
    number, factor = text, Decimal(1)
    if text[-2:] in _BINARY:
        number, factor = text[:-2], Decimal(_BINARY[text[-2:]])
    elif text[-1:] in _DECIMAL and not text[-1:].isdigit():
        number, factor = text[:-1], _DECIMAL[text[-1]]
    try:
        return Decimal(number) * factor
    except InvalidOperation:
        raise ValueError(
            f"Expected a quantity such as 500m, 2 or 1Gi; found {text!r}. Write one of these forms."
        ) from None


def is_binary(text: str | int | float) -> bool:
    """Say whether a quantity is written with a power of two."""
    return str(text)[-2:] in _BINARY


def write(number: Decimal, binary: bool = False) -> str:
    """Return the canonical form: the largest unit that leaves a whole number."""
    if binary and number == number.to_integral_value() and abs(number) >= 1024:
        for unit, factor in reversed(_BINARY.items()):
            if number % factor == 0:
                return f"{int(number // factor)}{unit}"
        return str(int(number))
    for unit in ("E", "P", "T", "G", "M", "k", "", "m", "u"):
        scaled = number / _DECIMAL[unit]
        if scaled == scaled.to_integral_value() and (abs(scaled) >= 1 or number == 0):
            return "0" if number == 0 else f"{int(scaled)}{unit}"
    return f"{int((number / _DECIMAL['n']).to_integral_value(ROUND_CEILING))}n"


def divide(number: Decimal, divisor: Decimal) -> str:
    """Return number / divisor rounded up, as the downward API gives it."""
    return str(int((number / divisor).to_integral_value(ROUND_CEILING)))
