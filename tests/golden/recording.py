"""Recorded exchanges on disk: areas, exchanges, and the paths two real recordings disagreed on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Exchange:
    """One request and what a real server answered."""

    name: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    user: str
    body: Any
    status: int
    answer_headers: dict[str, str]
    answer: Any
    stream: bool = False
    ended: str = ""
    seconds: float = 0.0
    offsets: tuple[float, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Area:
    """The exchanges of one file, in order, on shared state."""

    name: str
    description: str
    exchanges: tuple[Exchange, ...]
    unstable: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_areas(folder: Path, only: tuple[str, ...] = ()) -> list[Area]:
    """Read every recording in the folder (``NN-area.json``, optionally gzipped), in name order."""
    unstable_file = folder / "unstable.json"
    unstable = json.loads(unstable_file.read_text()) if unstable_file.exists() else {}
    areas = []
    for file in sorted(_recordings(folder)):
        document = _load(file)
        if not isinstance(document, dict) or "exchanges" not in document:
            continue
        name = str(document.get("area") or file.name.partition(".")[0])
        if only and not any(name.startswith(prefix) for prefix in only):
            continue
        exchanges = tuple(_exchanges(document["exchanges"]))
        paths = {key: tuple(value) for key, value in unstable.get(name, {}).items()}
        areas.append(Area(name, str(document.get("description", "")), exchanges, paths))
    return areas


def _recordings(folder: Path) -> Iterator[Path]:
    for pattern in ("[0-9]*.json", "[0-9]*.json.gz"):
        yield from folder.glob(pattern)


def _load(file: Path) -> Any:
    if file.suffix == ".gz":
        return json.loads(gzip.decompress(file.read_bytes()))
    return json.loads(file.read_text())


def _exchanges(items: list[dict[str, Any]]) -> Iterator[Exchange]:
    seen: dict[str, int] = {}
    for item in items:
        request, response = item["request"], item["response"]
        name = item["name"]
        seen[name] = seen.get(name, 0) + 1
        yield Exchange(
            name=name,
            method=request["method"],
            path=request["path"],
            query=request.get("query") or "",
            headers=dict(request.get("headers") or {}),
            user=request.get("user") or "admin",
            body=request.get("body"),
            status=response["status"],
            answer_headers=dict(response.get("headers") or {}),
            answer=response.get("body"),
            stream=bool(response.get("stream")),
            ended=response.get("ended", ""),
            seconds=float(response.get("elapsed_s") or 0),
            offsets=tuple(response.get("event_offsets_s") or ()),
            key=name if seen[name] == 1 else f"{name} #{seen[name]}",
        )
