"""The rows that devices send: the columns of the table, and the dirt in them.

`day_of` makes one device's day as it was sent. `batch_of` makes what arrives on a day: most of the
day, 1 % of the day before, and 0.2 % twice. Both depend on seed, device and day alone, so any
process makes any device. What is wrong with the rows is wrong on purpose:

- the firmware of one manufacturer sends latitude as longitude and longitude as latitude;
- one row in a thousand has no position and says 0, 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from labdata.fleet import roads
from labdata.fleet.signals import MINUTES, MOTIF, draw, plan_of, signals_of

__all__ = ["COLUMNS", "EVENTS", "MANUFACTURERS", "batch_of", "day_of", "device_name",
           "manufacturer_of", "swapped_of", "true_position"]  # fmt: skip

START = np.datetime64("2026-03-02T00:00:00", "us")  # a Monday
COLUMNS = ("id", "device_id", "manufacturer", "event_type", "event_ts", "longitude", "latitude",
           "iot_signal_1", "iot_signal_2", "iot_signal_3", "iot_signal_4")  # fmt: skip
MANUFACTURERS = ("Northline", "Prairie Instruments", "Waypost")
EVENTS = ("driving", "standing", "harsh braking", "tank low", "device error")
FIRST_ID = 0x1000000000000
IDS = 1_000_000  # numbers for each device: 694 days of minutes
NOISE = 0.00018  # degrees: about 20 m
NOWHERE, LATE, TWICE = 0.001, 0.01, 0.002  # shares of the rows

Values = NDArray[np.float64]


def device_name(device: int) -> str:
    """Return the device's name.

    >>> device_name(39)
    '0x1000000000027'
    """
    return f"0x{FIRST_ID + device:013x}"


def manufacturer_of(seed: int, device: int) -> str:
    """Return who made a device; of the first three, each made one."""
    turn = int(draw(seed, device // 3, 0, 80, 1)[0] * 3)
    return MANUFACTURERS[(device + turn) % 3]


def swapped_of(seed: int) -> str:
    """Return the manufacturer whose firmware swaps the axes."""
    return MANUFACTURERS[int(draw(seed, 0, 0, 81, 1)[0] * 3)]


def true_position(seed: int, device: int, day: int = 0) -> tuple[Values, Values]:
    """Return longitude and latitude of each minute as a good receiver would send them."""
    _, speed = signals_of(seed, device, day)
    dice = draw(seed, device, day, 82, 80)
    lon, lat = roads.track(roads.home_of(device), dice, np.cumsum(speed))
    east, north = NOISE * ndtri(draw(seed, device, day, 83, 2 * MINUTES)).reshape(2, MINUTES)
    return (lon + east).round(5), (lat + north).round(5)


def is_nowhere(seed: int, device: int, day: int = 0) -> NDArray[np.bool_]:
    """Return which minutes have no position."""
    return draw(seed, device, day, 84, MINUTES) < NOWHERE


def day_of(seed: int, device: int, day: int = 0) -> pd.DataFrame:
    """Return the rows of one device's day in order of time."""
    signals, speed = signals_of(seed, device, day)
    lon, lat = true_position(seed, device, day)
    if manufacturer_of(seed, device) == swapped_of(seed):
        lon, lat = lat, lon
    known = ~is_nowhere(seed, device, day)
    minutes = np.arange(MINUTES)
    begin = START + np.timedelta64(day, "D")
    values = {
        "id": device * IDS + day * MINUTES + minutes,
        "device_id": device_name(device),
        "manufacturer": manufacturer_of(seed, device),
        "event_type": _events(seed, device, day, speed),
        "event_ts": begin + minutes * np.timedelta64(60_000_000, "us"),
        "longitude": np.where(known, lon, 0.0),
        "latitude": np.where(known, lat, 0.0),
        **{f"iot_signal_{number}": lane for number, lane in enumerate(signals, 1)},
    }
    return pd.DataFrame(values, columns=list(COLUMNS))


def batch_of(seed: int, devices: Iterable[int], day: int = 0) -> pd.DataFrame:
    """Return the rows that arrive on a day, in the order of their arrival."""
    parts = []
    for device in devices:
        today = day_of(seed, device, day)
        late = _is_late(seed, device, day)
        twice = draw(seed, device, day, 86, MINUTES) < TWICE
        parts += [today[~late], today[~late & twice]]
        if day:
            parts.append(day_of(seed, device, day - 1)[_is_late(seed, device, day - 1)])
    return pd.concat(parts).sort_values("event_ts", kind="stable", ignore_index=True)


def _is_late(seed: int, device: int, day: int) -> NDArray[np.bool_]:
    return draw(seed, device, day, 85, MINUTES) < LATE


def _events(seed: int, device: int, day: int, speed: Values) -> NDArray[np.object_]:
    """Return what a device reports each minute: how it moves, or something that happened."""
    plan = plan_of(seed, device, day)
    dice = draw(seed, device, day, 87, MINUTES)
    minutes = np.arange(MINUTES)
    found = np.where(speed > 0.05, EVENTS[0], EVENTS[1]).astype(object)
    found[(dice < 0.008) & (speed > 0.05)] = EVENTS[2]
    for start in plan.motif:  # the tank is low on the way to a refuel stop
        found[(minutes >= start - 12) & (minutes < start) & (dice < 0.4)] = EVENTS[3]
    loose = (minutes >= plan.discord) & (minutes < plan.discord + MOTIF // 2)
    found[loose & (dice < 0.15)] = EVENTS[4]
    found[dice > 0.9995] = EVENTS[4]
    return found
