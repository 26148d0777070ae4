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
MAX_DIGITS = 1000
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
    if len(whole) + len(part) > MAX_DIGITS:
        raise QuantityError(NUMBER_ERROR)
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


class Spelled(str):
    """The server's spelling of an amount that was sent in another one, such as `0.5`.

    Go's errors print how an amount was read; in all else this is the text it stands for.
    """

    given: str

    def __new__(cls, text: str, given: str = "") -> Spelled:
        made = super().__new__(cls, text)
        made.given = given
        return made


def read(text: str) -> str:
    """Return the server's spelling, and remember the one it was sent in.

    >>> read("0.5"), read("0.5").given, type(read("500m")) is str
    ('500m', '0.5', True)
    """
    written = normal(text)
    return written if written == text else Spelled(written, text)


def mantissa(text: str) -> tuple[int, int]:
    """Return the digits of an amount and their power of ten, as Go keeps what it has read.

    >>> mantissa("500m"), mantissa(read("0.5")), mantissa("1k"), mantissa("1Ki")
    ((500, -3), (5, -1), (1, 3), (1024, 0))
    """
    found = SHAPE.fullmatch(getattr(text, "given", "") or text)
    if found is None:
        return 0, 0
    sign, whole, part, suffix = found.groups()
    digits, places = int((whole + (part or "")) or "0"), len(part or "")
    notation, factor, power = _suffix(suffix)
    if notation == "binary" and places:  # not an exact power of ten: counted in the smallest step
        return parse(text).nano, -9
    digits *= factor
    return (-digits if sign == "-" else digits), power - places


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
