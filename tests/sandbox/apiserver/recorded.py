"""Recorded exchanges of a real server, for tests that feed them to functions."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from labsandbox.apiserver.schema import KindSchema, kind_schema
from tests.golden.recording import Exchange, read_areas

RECORDINGS = Path(__file__).parents[2] / "golden" / "recordings"
Json = dict[str, Any]


@cache
def exchanges(area: str) -> tuple[Exchange, ...]:
    """All exchanges of the area whose name begins so."""
    return tuple(row for found in read_areas(RECORDINGS, (area,)) for row in found.exchanges)


def exchange(area: str, name: str) -> Exchange:
    """The exchange of this name."""
    return next(row for row in exchanges(area) if row.name == name)


def schema_of(obj: Json) -> KindSchema | None:
    """The schema of a built-in object; None for anything else."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    return kind_schema(group, version, str(obj.get("kind", "")))


def schema_named(api_version: str, kind: str) -> KindSchema:
    """The schema of a kind that surely exists."""
    found = schema_of({"apiVersion": api_version, "kind": kind})
    assert found is not None
    return found
