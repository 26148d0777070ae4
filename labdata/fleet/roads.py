"""Where the fleet drives: real towns in five states, and the interstates between them.

Coordinates are written down from general knowledge, to about a kilometre. A lorry leaves the depot
of its home town, drives to one town after the other, and is somewhere on a road at every minute.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOWNS", "home_of", "track"]

# name: latitude, longitude, state
TOWNS: dict[str, tuple[float, float, str]] = {
    "Des Moines": (41.587, -93.625, "Iowa"),
    "Ames": (42.031, -93.632, "Iowa"),
    "Newton": (41.700, -93.048, "Iowa"),
    "Iowa City": (41.661, -91.530, "Iowa"),
    "Cedar Rapids": (41.978, -91.666, "Iowa"),
    "Davenport": (41.546, -90.590, "Iowa"),
    "Moline": (41.492, -90.505, "Illinois"),
    "Galesburg": (40.948, -90.371, "Illinois"),
    "Council Bluffs": (41.250, -95.840, "Iowa"),
    "Omaha": (41.257, -95.960, "Nebraska"),
    "Lincoln": (40.814, -96.703, "Nebraska"),
    "Sioux City": (42.496, -96.370, "Iowa"),
    "Mason City": (43.154, -93.201, "Iowa"),
    "Albert Lea": (43.648, -93.368, "Minnesota"),
    "Owatonna": (44.084, -93.226, "Minnesota"),
    "Kansas City": (39.100, -94.560, "Missouri"),
    "St. Joseph": (39.768, -94.830, "Missouri"),
}
DEPOTS = ("Des Moines", "Council Bluffs", "Omaha", "Davenport", "Moline", "Mason City",
          "Albert Lea", "Kansas City", "Cedar Rapids", "Sioux City")  # fmt: skip
# two towns, and the points of the road between them
ROADS: tuple[tuple[str, str, tuple[tuple[float, float], ...]], ...] = (
    ("Omaha", "Council Bluffs", ((41.240, -95.915),)),
    ("Omaha", "Lincoln", ((41.03, -96.33),)),
    ("Council Bluffs", "Des Moines", ((41.48, -95.34), (41.50, -94.64), (41.58, -93.80))),
    ("Council Bluffs", "Sioux City", ((41.56, -95.89), (42.03, -96.10))),
    (
        "Council Bluffs",
        "St. Joseph",
        ((40.74, -95.66), (40.41, -95.48), (40.08, -95.10), (39.90, -94.78)),
    ),
    ("St. Joseph", "Kansas City", ((39.38, -94.76), (39.25, -94.57))),
    ("Des Moines", "Ames", ()),
    ("Des Moines", "Newton", ((41.68, -93.35),)),
    ("Des Moines", "Kansas City", ((41.03, -93.80), (40.27, -94.01), (39.74, -94.24))),
    ("Newton", "Iowa City", ((41.69, -92.72), (41.69, -92.00))),
    ("Iowa City", "Cedar Rapids", ()),
    ("Iowa City", "Davenport", ((41.60, -90.85),)),
    ("Davenport", "Moline", ((41.530, -90.515),)),
    ("Moline", "Galesburg", ((41.20, -90.32),)),
    ("Ames", "Mason City", ((42.45, -93.57), (43.14, -93.38))),
    ("Mason City", "Albert Lea", ((43.45, -93.35),)),
    ("Albert Lea", "Owatonna", ()),
)
NORTH_KM = 111.2  # of a degree of latitude
EAST_KM = NORTH_KM * 0.7478  # of a degree of longitude, at 41.6 degrees north

Points = NDArray[np.float64]


def home_of(device: int) -> str:
    """Return the town of a device's depot.

    >>> home_of(0), home_of(13)
    ('Des Moines', 'Davenport')
    """
    return DEPOTS[device % len(DEPOTS)]


def track(
    home: str, dice: NDArray[np.float64], driven: NDArray[np.float64]
) -> tuple[Points, Points]:
    """Return longitude and latitude after so many kilometres; the dice choose the towns."""
    line = _line(_tour(home, dice, float(driven[-1])))
    along = np.concatenate(([0.0], np.cumsum(_steps(line))))
    return np.interp(driven, along, line[:, 1]), np.interp(driven, along, line[:, 0])


def _tour(home: str, dice: NDArray[np.float64], kilometres: float) -> list[str]:
    """Return towns next to each other on the map, for at least so many kilometres."""
    names, towns, done = list(TOWNS), [home], 0.0
    for throw in dice:
        target = names[int(throw * len(names))]
        leg = _way(towns[-1], target)[1:]
        done += sum(_length(*pair) for pair in zip([towns[-1], *leg], leg, strict=False))
        towns += leg
        if done > kilometres:
            break
    return towns


@cache
def _way(start: str, end: str) -> tuple[str, ...]:
    """Return the shortest way between two towns (Dijkstra)."""
    front: list[tuple[float, tuple[str, ...]]] = [(0.0, (start,))]
    done: set[str] = set()
    while front:
        length, way = heapq.heappop(front)
        if way[-1] == end:
            return way
        if way[-1] not in done:
            done.add(way[-1])
            for town in _neighbours(way[-1]):
                heapq.heappush(front, (length + _length(way[-1], town), (*way, town)))
    raise AssertionError(f"no road from {start} to {end}")


def _neighbours(town: str) -> Iterator[str]:
    for one, other, _ in ROADS:
        if town in (one, other):
            yield other if town == one else one


@cache
def _length(one: str, other: str) -> float:
    return float(_steps(_road(one, other)).sum())


@cache
def _road(one: str, other: str) -> Points:
    """Return the points of the road between two neighbours, ends included, in driving order."""
    for start, end, between in ROADS:
        if {start, end} == {one, other}:
            points = np.array([TOWNS[start][:2], *between, TOWNS[end][:2]])
            return points if start == one else points[::-1]
    raise AssertionError(f"no road joins {one} and {other}")


def _line(towns: list[str]) -> Points:
    roads = [_road(*pair)[1:] for pair in pairwise(towns)]
    return np.vstack([np.array([TOWNS[towns[0]][:2]]), *roads])


def _steps(line: Points) -> Points:
    """Return the kilometres between neighbouring points."""
    north, east = np.diff(line, axis=0).T
    return np.asarray(np.hypot(north * NORTH_KM, east * EAST_KM))
