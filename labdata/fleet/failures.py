"""Failures of devices, with a best possible score: the data of the failure model.

Each row is one device's minute: four signals in the ranges of the original exercise, and whether
the device failed within the hour. The chance of a failure is a known function of the signals (a
threshold, a product and a power), so the best possible AUC can be computed: a model that scores
clearly less did not learn, one that scores clearly more saw something it must not see.

`event_type` is such a thing: it is written *after* the failure. A month with `drift=True` has moved
signals and the same function; `truths_of` says when the truth about each row became known.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from labdata.fleet.rows import COLUMNS, IDS, START, device_name, manufacturer_of, true_position
from labdata.fleet.signals import MINUTES, draw
from labdata.ranking import area_under_curve

__all__ = ["best_auc", "chance", "failures_of", "truths_of"]

MEANS, SPREADS = (35.0, 200.0, 30.0, 14.0), (4.0, 18.0, 3.5, 2.2)
DRIFT = (0.6, 0.6, 0.75, 0.0)  # in standard deviations
STRENGTH, BASE = 1.2, -3.9  # 11.5 % of the rows fail
LAG = 6.0  # hours until the truth is known, on average
NEVER = 0.05  # the share of rows whose truth never arrives

Values = NDArray[np.float64]


def failures_of(
    seed: int, devices: Iterable[int], day: int = 0, *, drift: bool = False
) -> pd.DataFrame:
    """Return one day of these devices, labelled."""
    return pd.concat([_day(seed, device, day, drift) for device in devices], ignore_index=True)


def chance(frame: pd.DataFrame) -> Values:
    """Return the true chance of each row to fail: what no model can know better."""
    signals = frame[[f"iot_signal_{number}" for number in (1, 2, 3, 4)]].to_numpy()
    one, two, three, four = ((signals - MEANS) / SPREADS).T
    score = 1.9 * (one > 0.7) + 1.1 * two * three + 0.55 * two
    score += 0.9 * np.sign(four) * np.abs(four) ** 1.5
    return np.asarray(expit(STRENGTH * score + BASE))


def best_auc(frame: pd.DataFrame) -> float:
    """Return the AUC of the true chances on these rows: the best that is possible.

    For checks, never for a lab's own cells.
    """
    return area_under_curve(frame["iot_failure"].to_numpy() == 1, chance(frame))


def truths_of(seed: int, frame: pd.DataFrame) -> pd.DataFrame:
    """Return id, truth and when it became known, for the rows whose truth arrives at all."""
    number = frame["id"].to_numpy()
    device, minute = number // IDS, number % IDS
    dice = np.empty((2, len(frame)))
    for one in np.unique(device):
        for day in np.unique(minute[device == one] // MINUTES):
            mine = (device == one) & (minute // MINUTES == day)
            lanes = draw(seed, int(one), int(day), 98, 2 * MINUTES).reshape(2, MINUTES)
            dice[:, mine] = lanes[:, minute[mine] % MINUTES]
    hours = -LAG * np.log(dice[0])
    known = frame["event_ts"] + pd.to_timedelta((hours * 3600).round(), unit="s")
    truths = frame[["id", "iot_failure"]].assign(known_ts=known)
    arrives: pd.DataFrame = truths[dice[1] >= NEVER]
    return arrives.reset_index(drop=True)


def _day(seed: int, device: int, day: int, drift: bool) -> pd.DataFrame:
    lanes = draw(seed, device, day, 95, 4 * MINUTES).reshape(4, MINUTES)
    normal = ndtri(lanes) + np.array(DRIFT if drift else (0.0,) * 4)[:, None]
    signals = (np.array(MEANS)[:, None] + np.array(SPREADS)[:, None] * normal).round(3)
    minutes = np.arange(MINUTES)
    lon, lat = true_position(seed, device, day)
    frame = pd.DataFrame({
        "id": device * IDS + day * MINUTES + minutes,
        "device_id": device_name(device),
        "manufacturer": manufacturer_of(seed, device),
        "event_type": "",
        "event_ts": START + np.timedelta64(day, "D") + minutes * np.timedelta64(60_000_000, "us"),
        "longitude": lon,
        "latitude": lat,
        **{f"iot_signal_{number}": lane for number, lane in enumerate(signals, 1)},
    }, columns=[*COLUMNS, "iot_failure"])  # fmt: skip
    fails = draw(seed, device, day, 96, MINUTES) < chance(frame)
    reported = draw(seed, device, day, 97, MINUTES) < np.where(fails, 0.9, 0.02)
    frame["iot_failure"] = fails.astype(np.int32)
    frame["event_type"] = np.where(reported, "system malfunction", "report")
    return frame
