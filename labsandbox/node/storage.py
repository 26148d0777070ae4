"""Enforce limits of ephemeral storage: measure what pods have written and evict the one over it.

As a kubelet without quotas does: every ten seconds the folders are walked, and a pod is evicted for
a container (its own files and its logs) over its limit, for an emptyDir over its sizeLimit, or for
all together over the sum of the limits. A program that writes fast is seen when it has written.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from labsandbox import quantity, tree
from labsandbox.node import volumes
from labsandbox.node.roles import Node, Pod

log = logging.getLogger(__name__)

Object = dict[str, Any]

_SLOW, _FAST = 10.0, 2.0
_CLOSE = 0.5
_SHM = 1 << 30  # of a pod; its files count for the memory limit of its containers as well
_MOST_ENTRIES = 200_000
_MOST = Decimal(1 << 62)


@dataclass(frozen=True)
class Bound:
    """A limit, the folders and files it holds for, and what is said when they are over it."""

    limit: int
    paths: tuple[Path, ...]
    message: str


# differs: there is no eviction of others when the whole node runs low; it takes no new pods then.
def bounds(spec: Object, folder: Path, shm: str | None = None) -> list[Bound]:
    """Return the limits of a pod's storage; the folder is the pod's, `shm` its /dev/shm."""
    found, total, every = [], 0, []
    if shm:
        message = f'Usage of /dev/shm exceeds the limit "{_SHM >> 30}Gi". '
        found.append(Bound(_SHM, (Path(shm),), message))
    names = [c["name"] for c in spec["containers"]]
    limits = [_limit(c) for c in spec["containers"]]
    for container, limit in zip(spec["containers"], limits, strict=True):
        place = folder / f"c-{container['name']}"
        if limit is not None:
            text = container["resources"]["limits"]["ephemeral-storage"]
            message = (
                f"Container {container['name']} exceeded its local ephemeral storage limit "
                f'"{text}". '
            )
            found.append(Bound(limit, (place,), message))
            total += limit
    for volume in spec.get("volumes") or []:
        if volumes.kind_of(volume) != "emptyDir":
            continue
        place = folder / "volumes" / volume["name"]
        size = (volume["emptyDir"] or {}).get("sizeLimit")
        if size is not None:
            message = f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{size}". '
            found.append(Bound(_bytes(size), (place,), message))
        every.append(place)
    if names and all(limit is not None for limit in limits):
        every += [folder / f"c-{name}" for name in names]
        message = (
            "Pod ephemeral local storage usage exceeds the total limit of containers "
            f"{quantity.write(quantity.amount(total), is_binary=True)}. "
        )
        found.append(Bound(total, tuple(every), message))
    return found


def _limit(container: Object) -> int | None:
    limits = (container.get("resources") or {}).get("limits") or {}
    return _bytes(limits["ephemeral-storage"]) if "ephemeral-storage" in limits else None


def _bytes(text: str) -> int:
    return int(min(quantity.amount(text), _MOST))


def used(paths: tuple[Path, ...]) -> int:
    """Return the bytes that files below these folders take on disk; links are not followed."""
    total, seen = 0, set()
    for number, status in enumerate(_walk(paths)):
        if number > _MOST_ENTRIES:
            break
        if status.st_nlink > 1:
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * 512
    return total


def _walk(paths: tuple[Path, ...]) -> Iterator[os.stat_result]:
    todo = [os.fspath(path) for path in paths if not path.is_symlink()]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            continue  # it was removed while we looked


def exceeded(limits: list[Bound]) -> tuple[float, str | None]:
    """Return how full the fullest is, as a part of its limit, and what to say of one over it."""
    fullest = 0.0
    for bound in limits:
        size = used(bound.paths)
        fullest = max(fullest, size / max(bound.limit, 1))
        if size > bound.limit:
            return fullest, bound.message
    return fullest, None


def free(folder: Path, shm: str | None = None) -> None:
    """Remove what an evicted pod has written; its logs stay until its object is deleted."""
    places = [*folder.glob("c-*/root"), folder / "volumes", *([Path(shm)] if shm else [])]
    for place in places:
        tree.remove(str(place))


async def watch(agent: Node) -> None:
    """Keep the pods of a node within their limits, for ever."""
    while True:
        fullest = 0.0
        for worker in list(agent.workers.values()):
            try:
                fullest = max(fullest, await _check(worker))
            except (OSError, ValueError, ArithmeticError, LookupError, TypeError):
                log.exception("the storage of pod %s cannot be measured", worker.record.name)
        await asyncio.sleep(_FAST if fullest > _CLOSE else _SLOW)


async def _check(worker: Pod) -> float:
    if worker.record.phase or worker.is_leaving:
        return 0
    limits = bounds(worker.pod["spec"], worker.folder, worker.shm)
    if not limits:
        return 0
    fullest, message = await asyncio.to_thread(exceeded, limits)
    if message and not worker.is_leaving:
        log.info("pod %s: %s", worker.record.name, message)
        worker.evict(message)
    return fullest
