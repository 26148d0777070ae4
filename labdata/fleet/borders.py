"""The borders of the states: read for a map, converted once from the published topology.

`datasets/fleet/states.geojson` comes from the package `us-atlas`: the Census Bureau's boundaries at
1:10 million. `convert` is how it was made; it is kept so that anybody can make it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labdata.errors import DataUnreadable

__all__ = ["STATES", "Borders", "convert", "read"]

STATES = "states.geojson"
DECIMALS = 4  # about 10 m, finer than the generalised borders are

Ring = NDArray[np.float64]
# A state's polygons, each an outer ring and its holes.
Borders = Mapping[str, Sequence[Sequence[Ring]]]


def read(folder: Path) -> dict[str, list[list[Ring]]]:
    """Return the polygons of each state by its name, from `folder/fleet/states.geojson`."""
    path = folder / "fleet" / STATES
    try:
        found = json.loads(path.read_text("utf-8"))["features"]
    except (OSError, ValueError, KeyError) as error:
        raise DataUnreadable(
            f"{path}: expected GeoJSON with features, found {error}. "
            "Restore it: `git checkout datasets/fleet`."
        ) from error
    return {one["properties"]["name"]: _polygons(one["geometry"]) for one in found}


def _polygons(geometry: Mapping[str, Any]) -> list[list[Ring]]:
    parts = geometry["coordinates"]
    several = parts if geometry["type"] == "MultiPolygon" else [parts]
    return [[np.asarray(ring, dtype=float) for ring in polygon] for polygon in several]


def convert(topology: Mapping[str, Any], layer: str = "states") -> str:
    """Return a TopoJSON layer as GeoJSON text, one feature a line.

    A topology stores each border once, as an arc that both neighbours use: so they stay joined.
    """
    scale, shift = (topology["transform"][key] for key in ("scale", "translate"))
    arcs = [_arc(arc, scale, shift) for arc in topology["arcs"]]

    def ring(numbers: Sequence[int]) -> list[list[float]]:
        points: list[list[float]] = []
        for number in numbers:
            arc = arcs[number] if number >= 0 else arcs[~number][::-1]
            points += arc[1:] if points else arc
        return points

    features = []
    for one in sorted(topology["objects"][layer]["geometries"], key=lambda one: str(one["id"])):
        several = one["arcs"] if one["type"] == "MultiPolygon" else [one["arcs"]]
        shape = [[ring(numbers) for numbers in polygon] for polygon in several]
        feature = {
            "type": "Feature",
            "properties": {"fips": one["id"], "name": one["properties"]["name"]},
            "geometry": {"type": "MultiPolygon", "coordinates": shape},
        }
        features.append(json.dumps(feature, separators=(",", ":")))
    return '{"type":"FeatureCollection","features":[\n' + ",\n".join(features) + "\n]}\n"


def _arc(
    arc: Sequence[Sequence[int]], scale: Sequence[float], shift: Sequence[float]
) -> list[list[float]]:
    """Return an arc's points: each is stored as the difference to the one before."""
    east, north = (accumulate(lane) for lane in zip(*arc, strict=True))
    return [
        [round(x * scale[0] + shift[0], DECIMALS), round(y * scale[1] + shift[1], DECIMALS)]
        for x, y in zip(east, north, strict=True)
    ]
