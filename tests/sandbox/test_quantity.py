"""Quantities, exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest

from labsandbox import quantity

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", "0.1"),
        ("2", "2"),
        ("1.5Gi", "1610612736"),
        ("1e3", "1000"),
        ("1k", "1000"),
        ("12E", "12000000000000000000"),
        ("5n", "0.000000005"),
        ("0", "0"),
    ],
)
def test_parse_reads_every_form(text: str, number: str) -> None:
    assert quantity.amount(text) == Decimal(number)


@pytest.mark.parametrize(
    ("number", "binary", "text"),
    [
        ("0.1", False, "100m"),
        ("1", False, "1"),
        ("2000", False, "2k"),
        ("1073741824", True, "1Gi"),
        ("1610612736", True, "1536Mi"),
        ("1000", True, "1k"),
        ("0", True, "0"),
    ],
)
def test_write_is_canonical(number: str, binary: bool, text: str) -> None:
    assert quantity.write(Decimal(number), binary) == text


def test_parse_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="Expected a quantity"):
        quantity.amount("abc")


def test_numbers_of_thousands_of_digits_are_refused() -> None:
    with pytest.raises(quantity.QuantityError):
        quantity.parse("9" * 5_000)
    assert str(quantity.parse("9" * 900)).startswith("9" * 900)
