"""Indexed Jobs: each pod has a number, and each number has to succeed once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labsandbox import whole
from labsandbox.controllers import objects

Object = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"


def is_indexed(job: Object) -> bool:
    """Say whether a Job's pods are numbered."""
    return bool(job["spec"].get("completionMode") == "Indexed")


def of(pod: Object) -> int:
    """Return a pod's number, -1 for none."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return whole.read(text, -1)


def read(text: str | None) -> set[int]:
    """Return the numbers that "0,2-4" stands for."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            found |= set(range(int(first), int(last or first) + 1))
    return found


def write(numbers: Iterable[int]) -> str | None:
    """Return numbers as "0,1,3-5", None for none: three or more in a row are joined."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = (f"{a}-{b}" if b > a + 1 else ",".join(map(str, range(a, b + 1))) for a, b in runs)
    return ",".join(texts) or None


def completed(job: Object, pods: Iterable[Object]) -> set[int]:
    """Return the numbers that have succeeded."""
    total = job["spec"].get("completions") or 0
    done = read((job.get("status") or {}).get("completedIndexes"))
    done |= {of(pod) for pod in pods if objects.phase(pod) == "Succeeded"}
    return {number for number in done if 0 <= number < total}


def mark(job: Object, pod: Object, index: int) -> None:
    """Give a pod that is about to be created its number."""
    name = job["metadata"]["name"]
    meta = pod["metadata"]
    meta["generateName"] = f"{name}-{index}-"
    meta["annotations"] = {**(meta.get("annotations") or {}), INDEX: str(index)}
    meta["labels"] = {**(meta.get("labels") or {}), INDEX: str(index)}
    pod["spec"].setdefault("hostname", f"{name}-{index}")
    field = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": field}
    for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]:
        container["env"] = [*(container.get("env") or []), variable]
