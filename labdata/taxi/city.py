"""The city as tables: when and where people ride, how far it is, how fast the traffic moves.

Every random choice in a trip is a look-up in one of these tables with 16 random bits, which is
what makes millions of rows a second possible on one core.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from labdata.taxi import zones

__all__ = ["SLOTS", "City", "Drift", "build", "hour_weights"]

SLOTS = 65536  # 16 random bits
GOALS = 8192  # 13 random bits: enough for the destinations from one zone

# Demand by hour of a working day and of a day off, and by day of the week (Monday first).
WORKDAY = [.55, .35, .24, .18, .17, .22, .50, .90, 1.15, 1.15, 1.10, 1.12,
           1.20, 1.22, 1.28, 1.30, 1.25, 1.42, 1.60, 1.55, 1.40, 1.30, 1.15, .85]  # fmt: skip
DAY_OFF = [1.20, 1.10, .90, .65, .40, .20, .22, .35, .55, .80, 1.00, 1.15,
           1.25, 1.30, 1.30, 1.30, 1.28, 1.35, 1.40, 1.35, 1.20, 1.15, 1.20, 1.15]  # fmt: skip
WEEK = (0.90, 0.97, 1.00, 1.05, 1.06, 1.04, 0.88)
HOLIDAYS = {(1, 1): 0.70, (7, 4): 0.75, (11, 28): 0.60, (12, 24): 0.80, (12, 25): 0.55}

# Miles per hour in midtown by hour; other areas are so many times faster.
MPH_WORKDAY = [15.0, 16, 17, 18, 18.5, 18, 14.5, 11, 9.0, 8.6, 8.6, 8.4,
               8.3, 8.4, 8.2, 7.8, 7.9, 7.9, 8.4, 9.4, 10.6, 11.4, 12.2, 13.6]  # fmt: skip
MPH_DAY_OFF = [13.0, 13, 13.5, 14.5, 16, 18, 18, 17, 15.5, 13.5, 12, 11,
               10.4, 10, 9.8, 9.8, 9.9, 10, 10, 10.4, 11, 11.2, 11.2, 11.8]  # fmt: skip
FASTER = (1.00, 1.05, 1.18, 1.15, 1.28, 1.30, 1.60, 1.75, 1.90)  # in the order of zones.AREAS

BUSINESS = (161, 162, 163, 164, 170, 230, 100, 186, 234, 87, 88, 261, 231, 233, 229, 48, 246)
NIGHTLIFE = (79, 148, 249, 158, 114, 144, 4, 255, 256, 211, 113, 232, 68, 90, 234, 107)
HOMES = (236, 237, 238, 239, 262, 263, 140, 141, 142, 143, 151, 24, 166, 75, 74, 224, 137)


@dataclass(frozen=True)
class Drift:
    """How a later month differs from the city the tables describe; 1.0 is no difference."""

    midtown_speed: float = 1.0
    fare: float = 1.0
    airports: float = 1.0


@dataclass(frozen=True)
class City:
    """The look-up tables of one seed and one drift; zones are counted from 0 here."""

    pickup: NDArray[np.uint16]  # [10 kinds of hour, SLOTS] -> zone
    dropoff: NDArray[np.uint16]  # [4 kinds of hour, zone, GOALS] -> zone
    miles: NDArray[np.float32]  # [zone, zone]
    pace: NDArray[np.float32]  # [48 hours, area, area] -> seconds per mile
    area: NDArray[np.int8]  # [zone]
    detour: NDArray[np.float32]  # [SLOTS] log-normal, around 1
    traffic: NDArray[np.float32]  # [SLOTS] log-normal, around 1


@lru_cache(maxsize=4)
def build(drift: Drift) -> City:
    """Build the tables; a third of a second, once."""
    area = zones.areas()
    miles = _miles()
    return City(
        pickup=np.stack([_choices(_hailing(kind, drift), SLOTS) for kind in range(10)]),
        dropoff=_destinations(miles, area, drift),
        miles=miles,
        pace=_pace(drift),
        area=area,
        detour=_log_normal(0.13),
        traffic=_log_normal(0.25),
    )


def kind_of_hour(hour: int, day_off: bool) -> int:
    """Sort an hour into night, morning, midday, evening, late; of a working day or a day off."""
    part = 0 if hour < 6 else 1 if hour < 10 else 2 if hour < 16 else 3 if hour < 20 else 4
    return part + 5 * day_off


@lru_cache(maxsize=64)
def hour_weights(year: int, month: int, seed: int) -> NDArray[np.float64]:
    """Return the share of a month's trips that begin in each of its hours."""
    days = calendar.monthrange(year, month)[1]
    weather = np.random.Generator(np.random.PCG64([seed, year, month])).normal(0, 0.06, days)
    weights: list[float] = []
    for number in range(days):
        day = date(year, month, 1) + timedelta(days=number)
        holiday = HOLIDAYS.get((day.month, day.day))
        level = WEEK[day.weekday()] * np.exp(weather[number]) * (holiday or 1.0)
        shape = DAY_OFF if day.weekday() >= 5 or holiday else WORKDAY
        weights.extend(level * weight / sum(shape) for weight in shape)
    total = np.array(weights)
    return np.asarray(total / total.sum())


def _hailing(kind: int, drift: Drift) -> NDArray[np.float64]:
    """Return the share of each zone in the pick-ups of one kind of hour."""
    part, day_off = kind % 5, kind >= 5
    share = zones.shares()
    _scale(share, NIGHTLIFE, (2.6, 0.7, 0.9, 1.0, 1.7)[part] * (1.25 if day_off else 1.0))
    _scale(share, BUSINESS, (0.8, 0.9, 1.1, 1.35, 1.1)[part] * (0.75 if day_off else 1.0))
    _scale(share, HOMES, (0.6, 1.6, 1.1, 0.9, 0.8)[part])
    _scale(share, (132, 138), (0.5, 0.7, 1.1, 1.1, 1.2)[part] * drift.airports)
    return np.asarray(share / share.sum())


def _destinations(
    miles: NDArray[np.float32], area: NDArray[np.int8], drift: Drift
) -> NDArray[np.uint16]:
    """Return, for four kinds of hour and each zone, where the rides from there go."""
    table = np.empty((4, zones.COUNT, GOALS), np.uint16)
    manhattan = area < 3
    for kind in range(4):
        pull = zones.shares() * np.where(manhattan, 1.0, 2.4)
        _scale(pull, BUSINESS, (0.8, 1.7, 1.1, 0.9)[kind])
        _scale(pull, HOMES, (1.3, 0.8, 1.0, 1.4)[kind])
        _scale(pull, NIGHTLIFE, (1.3, 0.7, 0.9, 1.3)[kind])
        pull[~manhattan] *= (1.8, 0.9, 0.9, 1.1)[kind]
        _scale(pull, (132, 138), (0.3, 0.6, 0.6, 0.45)[kind] * drift.airports)
        for start in range(zones.COUNT):
            from_airport = area[start] >= 7
            reach = 14.0 if from_airport else 2.3 if manhattan[start] else 3.5
            decay = np.exp(-miles[start] / reach)
            if not from_airport:  # people do ride far to their plane
                decay[[131, 137]] = np.maximum(decay[[131, 137]], 0.10)
                decay[0] = max(decay[0], 0.25)
            else:  # few ride from one airport to the other
                decay[[131, 137]] *= 0.05
            table[kind, start] = _choices(pull * decay, GOALS)
    return table


def _choices(weights: NDArray[np.float64], slots: int) -> NDArray[np.uint16]:
    """Turn weights into a table such that a uniform index draws each zone in proportion."""
    edges = np.cumsum(weights) / weights.sum()
    drawn = np.searchsorted(edges, (np.arange(slots) + 0.5) / slots)
    return np.minimum(drawn, len(weights) - 1).astype(np.uint16)


def _miles() -> NDArray[np.float32]:
    """Return the miles by road between the zones' centroids: the grid makes every way longer."""
    place = zones.read()
    latitude = np.radians([zone.latitude for zone in place])
    longitude = np.radians([zone.longitude for zone in place])
    half_y = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half_x = np.sin((longitude[:, None] - longitude) / 2) ** 2
    arc = half_y + np.cos(latitude)[:, None] * np.cos(latitude) * half_x
    straight = 2 * 3958.8 * np.arcsin(np.sqrt(arc))
    return np.asarray(np.maximum(straight * 1.28, 0.35) + 0.25, np.float32)


def _pace(drift: Drift) -> NDArray[np.float32]:
    """Return seconds per mile by hour (working day, day off) and by the areas of both ends."""
    speed = np.array([*MPH_WORKDAY, *MPH_DAY_OFF])[:, None, None]
    factor = np.array(FASTER)
    factor[0] *= drift.midtown_speed
    factor[1] *= 1 + (drift.midtown_speed - 1) / 2  # a jam in midtown is felt downtown
    pair = np.sqrt(factor[:, None] * factor)
    return np.asarray(3600.0 / (speed * pair), np.float32)


def _log_normal(sigma: float) -> NDArray[np.float32]:
    inverse = NormalDist().inv_cdf
    normal = np.array([inverse((slot + 0.5) / SLOTS) for slot in range(SLOTS)])
    return np.asarray(np.exp(sigma * normal), np.float32)


def _scale(weights: NDArray[np.float64], numbers: tuple[int, ...], factor: float) -> None:
    weights[np.array(numbers) - 1] *= factor
