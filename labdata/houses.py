"""Blocks of houses around a made-up bay, with the columns of the California census set of 1990.

Why not the Boston set, which the original use case took: one of its columns counts people by skin
colour and assumes that this moves prices; it was withdrawn from the libraries for that reason. The
census set of California replaced it in most courses, and this is a made-up one with its columns.
A price is known effects (income, the way to the water, two town centres, rooms) times noise, capped
at 5.00001 as in the census, so the best possible score can be computed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from labdata.table import Column, Table, Truth, uniform

__all__ = ["ROWS", "TABLE", "make"]

ROWS = 20640
CAP = 5.00001
NOISE = 0.25  # standard deviation of the logarithm of a price

TABLE = Table(
    "houses",
    (
        Column("MedInc", 4),
        Column("HouseAge", 0),
        Column("AveRooms", 4),
        Column("AveBedrms", 4),
        Column("Population", 0),
        Column("AveOccup", 4),
        Column("Latitude", 2),
        Column("Longitude", 2),
        Column("MedHouseVal", 5),
    ),
)

# made-up towns: latitude, longitude, spread in degrees, share of the blocks, how dear
TOWNS = np.array(
    [
        (37.78, -122.42, 0.06, 0.16, 1.00),
        (37.80, -122.24, 0.07, 0.17, 0.45),
        (37.55, -122.05, 0.10, 0.14, 0.35),
        (37.33, -121.89, 0.11, 0.20, 0.55),
        (37.95, -122.03, 0.12, 0.13, 0.15),
        (38.28, -122.45, 0.15, 0.10, -0.05),
        (37.65, -121.45, 0.22, 0.10, -0.35),
    ]
)
# the shore, as points that are joined by straight lines
SHORE = np.array(
    [
        (38.20, -122.95), (37.90, -122.68), (37.82, -122.53), (37.60, -122.50), (37.40, -122.43),
        (37.10, -122.30), (36.96, -122.02),
    ]
)  # fmt: skip


def make(rows: int = ROWS, seed: int = 7) -> tuple[pd.DataFrame, Truth]:
    """Return blocks and the truth about them; the same seed makes the same blocks."""
    lanes = uniform(seed, rows, 10)
    normal = ndtri(lanes[1:])
    town = np.searchsorted(np.cumsum(TOWNS[:, 3]), lanes[0], "right").clip(max=len(TOWNS) - 1)
    dear = TOWNS[town, 4]
    rooms = np.clip(5.3 * np.exp(0.24 * normal[3] + 0.10 * normal[2]), 0.85, 60)
    places = TABLE.tidy(
        {
            "MedInc": np.clip(np.exp(1.22 + 0.22 * dear + 0.42 * normal[2]), 0.4999, 15.0001),
            "HouseAge": np.clip(29 + 9 * dear + 11 * normal[4], 1, 52),
            "AveRooms": rooms,
            "AveBedrms": np.clip(1.07 * np.exp(0.07 * normal[5]) * (rooms / 5.3) ** 0.15, 0.33, 34),
            "Population": np.clip(np.exp(7.05 + 0.62 * normal[6]), 3, 35682),
            "AveOccup": np.clip(2.85 * np.exp(0.22 * normal[7] - 0.06 * normal[2]), 0.69, 60),
            "Latitude": TOWNS[town, 0] + TOWNS[town, 2] * normal[0],
            "Longitude": TOWNS[town, 1] + TOWNS[town, 2] * normal[1],
            "MedHouseVal": np.zeros(rows),
        }
    )
    level = _level(places)
    price = np.minimum(np.exp(level + NOISE * normal[8]), CAP)
    frame = TABLE.tidy({**places, "MedHouseVal": price})
    return frame, _truth(level, frame["MedHouseVal"].to_numpy())


def _level(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the logarithm of a block's price before noise."""
    place = frame[["Latitude", "Longitude"]].to_numpy()
    income = frame["MedInc"].to_numpy()
    centre = np.exp(-(_miles(place, TOWNS[0, :2]) / 9.0))
    valley = np.exp(-(_miles(place, TOWNS[3, :2]) / 12.0))
    level = 0.12 + 0.66 * np.log(income / 3.5) + 0.08 * (income > 7)
    level += 0.55 * centre + 0.35 * valley + 0.60 * np.exp(-_to_shore(place) / 10.0)
    level += 0.18 * np.log(frame["AveRooms"].to_numpy() / 5.3)
    level -= 0.35 * np.log(frame["AveOccup"].to_numpy() / 2.85)
    level += 0.004 * (frame["HouseAge"].to_numpy() - 29) * (centre > 0.3)
    return np.asarray(level, dtype=np.float64)


def _miles(place: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    north, east = place[:, 0] - point[0], (place[:, 1] - point[1]) * 0.795
    return np.asarray(69.0 * np.hypot(north, east), dtype=np.float64)


def _to_shore(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the miles to the nearest of the points along the shore."""
    steps = np.linspace(0, len(SHORE) - 1, 60)
    known = np.arange(len(SHORE))
    points = np.column_stack([np.interp(steps, known, SHORE[:, axis]) for axis in (0, 1)])
    return np.asarray(np.min([_miles(place, point) for point in points], axis=0))


def _truth(level: NDArray[np.float64], price: NDArray[np.float64]) -> Truth:
    """Return each block's expected price under the cap, and the best possible score."""
    room = (np.log(CAP) - level) / NOISE
    expected = np.exp(level + NOISE**2 / 2) * ndtr(room - NOISE) + CAP * ndtr(-room)
    left = np.mean((price - expected) ** 2)
    return Truth(expected, {"r2": float(1 - left / np.var(price)), "rmse": float(np.sqrt(left))})
