"""What may be chosen about a node when it is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class NodeSettings:
    """What may be chosen about a node."""

    name: str = "laptop"
    images: Path = _REPOSITORY / "catalog" / "images.toml"
    is_scheduling: bool = True
    allocatable: dict[str, str] = field(default_factory=dict)
    allowed_host_paths: tuple[Path, ...] = ()
    client_ca: Path | None = None
    thresholds: dict[str, str] = field(default_factory=dict)  # of the node's pressure conditions
