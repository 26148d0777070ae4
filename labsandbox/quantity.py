"""Quantities (`100m`, `1Gi`, `2e3`): read, compare and write them as Kubernetes does.

Values are whole numbers of nano-units, the smallest step Kubernetes knows; smaller parts round up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

NANO = 10**9
FORMAT_ERROR = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
SUFFIX_ERROR = "unable to parse quantity's suffix"
NUMBER_ERROR = "unable to parse numeric part of quantity"
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BY_EXPONENT = {exponent: suffix for suffix, exponent in DECIMAL.items()}
SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
MAX_BINARY = (2**63 - 1) * NANO


class QuantityError(ValueError):
    """The text is not a quantity."""


@dataclass(frozen=True)
class Quantity:
    """A number of nano-units and the notation it is written in."""

    nano: int
    notation: str = "decimal"

    def __str__(self) -> str:
        return canonical(self.nano, self.notation)

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __le__(self, other: Quantity) -> bool:
        return self.nano <= other.nano

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano + other.nano, self.notation if self.nano else other.notation)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.notation if self.nano else other.notation)

    @property
    def value(self) -> int:
        """Whole units, rounded up."""
        return -(-self.nano // NANO)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up."""
        return -(-self.nano // 10**6)

    @property
    def is_integer(self) -> bool:
        return self.nano % NANO == 0


@lru_cache(maxsize=512)
def parse(text: str) -> Quantity:
    """Read a quantity; QuantityError carries Go's words."""
    if not text:
        raise QuantityError(FORMAT_ERROR)
    found = SHAPE.fullmatch(text)
    if found is None:
        raise QuantityError(FORMAT_ERROR)
    sign, whole, part, suffix = found.groups()
    part = part or ""
    notation, factor, power = _suffix(suffix)
    digits = int((whole + part) or "0")
    # digits * 10**-len(part) * factor * 10**power, counted in nano
    shift = power - len(part) + 9
    if shift > 200:
        raise QuantityError(SUFFIX_ERROR)
    scaled = digits * factor
    nano = scaled * 10**shift if shift >= 0 else -(-scaled // 10**-shift)
    if notation == "binary":
        nano = min(nano, MAX_BINARY)
        if 0 < nano < NANO:
            notation = "decimal"
    return Quantity(-nano if sign == "-" else nano, notation)


def _suffix(suffix: str) -> tuple[str, int, int]:
    """(notation, factor, power of ten) of a suffix."""
    if suffix in DECIMAL:
        return "decimal", 1, DECIMAL[suffix]
    if suffix in BINARY:
        return "binary", 2 ** BINARY[suffix], 0
    if suffix[:1] in ("e", "E") and re.fullmatch(r"[-+]?[0-9]{1,4}", suffix[1:], re.ASCII):
        return "exponent", 1, int(suffix[1:])
    raise QuantityError(SUFFIX_ERROR)


def canonical(nano: int, notation: str) -> str:
    """The shortest exact spelling in this notation, as the server writes it."""
    if nano == 0:
        return "0"
    if notation == "binary":
        if -1024 * NANO < nano < 1024 * NANO or nano % NANO:
            notation = "decimal"
        else:
            return _binary(nano // NANO)
    number, exponent = nano, -9
    while number % 1000 == 0 and (exponent < 18 or notation == "exponent"):
        number //= 1000
        exponent += 3
    if notation == "exponent":
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{BY_EXPONENT[exponent]}"


def _binary(number: int) -> str:
    power = 0
    while number % 1024 == 0 and power < 60:
        number //= 1024
        power += 10
    names = {bits: name for name, bits in BINARY.items()}
    return f"{number}{names.get(power, '')}"


@lru_cache(maxsize=512)
def normal(text: str) -> str:
    """The server's spelling of a quantity: `0.5` is `500m`, `1024Mi` is `1Gi`."""
    return str(parse(text))


def amount(written: str | int | float) -> Decimal:
    """Return the number a quantity stands for, to reckon with."""
    text = str(written).strip()
    try:
        return Decimal(parse(text).nano).scaleb(-9)
    except QuantityError as error:
        raise ValueError(
            f"Expected a quantity such as 500m, 2 or 1Gi; found {text!r}. Write one of these forms."
        ) from error


def write(number: Decimal, is_binary: bool = False) -> str:
    """Return the server's spelling of a number."""
    nano = int(number.scaleb(9).to_integral_value(ROUND_CEILING))
    return canonical(nano, "binary" if is_binary else "decimal")


def divide(number: Decimal, divisor: Decimal) -> str:
    """Return number / divisor rounded up, as the downward API gives it."""
    return str(int((number / divisor).to_integral_value(ROUND_CEILING)))


def is_binary(written: str | int | float) -> bool:
    """Say whether a quantity is written with a power of two."""
    return str(written)[-2:] in BINARY
