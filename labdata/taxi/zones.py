"""The 263 taxi zones: where they are, how many people hail a cab there, how the city is divided."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["AIRPORTS", "AREAS", "COUNT", "UNKNOWN", "ZONES_FILE", "Zone", "areas", "read", "shares"]

ZONES_FILE = Path(__file__).with_name("zones.csv")
COUNT = 263
UNKNOWN = (264, 265)  # TLC's own numbers for "unknown" and "outside of New York City"
AIRPORTS = {"EWR": 1, "JFK": 132, "LGA": 138}
AREAS = (
    "midtown",
    "downtown",
    "uptown",
    "Brooklyn",
    "Queens",
    "Bronx",
    "Staten Island",
    "airport",
    "EWR",
)

# Per cent of pick-ups, rounded, as the published months of 2019-2024 have them.
PICKUPS = {
    237: 4.7, 161: 4.4, 236: 4.4, 132: 4.8, 162: 3.4, 230: 3.3, 186: 3.4, 142: 3.1, 138: 3.1,
    170: 2.9, 163: 2.9, 239: 2.7, 234: 2.8, 48: 2.8, 68: 2.6, 141: 2.4, 79: 2.3, 249: 2.1,
    164: 2.3, 107: 2.2, 238: 2.0, 263: 2.0, 140: 1.9, 229: 1.9, 90: 1.9, 100: 1.9, 231: 1.8,
    137: 1.6, 246: 1.8, 43: 1.5, 113: 1.6, 262: 1.5, 50: 1.4, 114: 1.4, 143: 1.4, 233: 1.4,
    144: 1.2, 148: 1.1, 75: 1.2, 151: 1.0, 158: 1.0, 87: 0.9, 211: 0.9, 166: 0.8, 13: 0.9,
    88: 0.6, 125: 0.7, 24: 0.6, 74: 0.9, 41: 0.5, 261: 0.6, 224: 0.4, 45: 0.4, 209: 0.3,
    232: 0.3, 4: 0.3, 42: 0.25, 116: 0.25, 152: 0.15, 244: 0.25, 7: 0.2, 33: 0.15, 65: 0.15,
    97: 0.1, 255: 0.15, 256: 0.1, 181: 0.1, 25: 0.08, 112: 0.08, 145: 0.15, 146: 0.08, 226: 0.1,
    193: 0.1, 129: 0.08, 70: 0.3, 12: 0.1, 1: 0.01,
}  # fmt: skip
ELSEWHERE = {
    "Manhattan": 0.03,
    "Brooklyn": 0.02,
    "Queens": 0.015,
    "Bronx": 0.01,
    "Staten Island": 0.001,
    "EWR": 0.01,
}


class Zone(NamedTuple):
    """One line of the lookup."""

    number: int
    borough: str
    name: str
    latitude: float
    longitude: float


@cache
def read() -> tuple[Zone, ...]:
    """Read the zone lookup."""
    with ZONES_FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    return tuple(Zone(int(n), borough, name, float(y), float(x)) for n, borough, name, y, x in rows)


def shares() -> NDArray[np.float64]:
    """Return each zone's share of all pick-ups, in the order of the lookup."""
    weights = np.array([PICKUPS.get(zone.number, ELSEWHERE[zone.borough]) for zone in read()])
    return np.asarray(weights / weights.sum())


def areas() -> NDArray[np.int8]:
    """Return the index into AREAS of each zone."""
    return np.array([AREAS.index(_area(zone)) for zone in read()], np.int8)


def _area(zone: Zone) -> str:
    if zone.number in (AIRPORTS["JFK"], AIRPORTS["LGA"]):
        return "airport"
    if zone.borough != "Manhattan":
        return zone.borough
    if zone.latitude >= 40.790:
        return "uptown"
    return "midtown" if zone.latitude >= 40.737 else "downtown"
