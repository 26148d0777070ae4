"""What a ride costs: the published yellow-cab tariffs, in cents, by the date they began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

__all__ = ["Tariff", "tariff_on"]


@dataclass(frozen=True)
class Tariff:
    """One published tariff; a unit is a fifth of a mile, or a minute in slow traffic."""

    since: date
    start: int
    unit: int
    flat_jfk: int
    newark: int
    night: int
    rush: int
    improvement: int
    congestion: int
    airport: int
    tax: int = 50

    def raised(self, factor: float) -> Tariff:
        """Return this tariff with the metered parts multiplied."""
        changed = {
            name: round(getattr(self, name) * factor)
            for name in ("start", "unit", "flat_jfk", "newark")
        }
        return Tariff(**{**self.__dict__, **changed})


TARIFFS = (
    Tariff(date(2012, 9, 4), 250, 50, 5200, 1750, 50, 100, 0, 0, 0),
    Tariff(date(2015, 1, 1), 250, 50, 5200, 1750, 50, 100, 30, 0, 0),
    Tariff(date(2019, 2, 2), 250, 50, 5200, 1750, 50, 100, 30, 250, 0),
    Tariff(date(2022, 4, 1), 250, 50, 5200, 1750, 50, 100, 30, 250, 125),
    Tariff(date(2022, 12, 19), 300, 70, 7000, 2300, 100, 250, 100, 250, 125),
    Tariff(date(2023, 4, 1), 300, 70, 7000, 2300, 100, 250, 100, 250, 175),
)


def tariff_on(day: date) -> Tariff:
    """Return the tariff of a day; before the first one we know, the first one."""
    known = [tariff for tariff in TARIFFS if tariff.since <= day]
    return known[-1] if known else TARIFFS[0]
