"""Measure what the machine has left, and say when it is too little: a node's conditions.

Signals and thresholds have a kubelet's names (`--eviction-hard memory.available<100Mi,...`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from labsandbox import quantity

# differs: a kubelet wants 10 % of the disk free; a learner's laptop is often fuller than that.
DEFAULTS = {
    "memory.available": "100Mi",
    "nodefs.available": "200Mi",
    "nodefs.inodesFree": "1%",
    "pid.available": "2%",
}
_MEMORY = ("memory.available",)
_DISK = ("nodefs.available", "nodefs.inodesFree")
_PIDS = ("pid.available",)


@dataclass(frozen=True)
class Condition:
    """One condition of a node."""

    kind: str
    status: str
    reason: str
    message: str

    @property
    def event(self) -> str:
        """Return the reason of the event a kubelet records for it."""
        return f"NodeHas{self.reason.removeprefix('KubeletHas')}"


@dataclass(frozen=True)
class Signals:
    """What is available of each resource, and how much there is."""

    available: dict[str, int] = field(default_factory=dict)
    capacity: dict[str, int] = field(default_factory=dict)


class ThresholdError(ValueError):
    """A threshold cannot be read."""


def read_thresholds(text: str) -> dict[str, str]:
    """Read thresholds as a kubelet's --eviction-hard is written.

    >>> read_thresholds("memory.available<1Gi,pid.available<5%")
    {'memory.available': '1Gi', 'pid.available': '5%'}
    """
    found = {}
    for word in filter(None, text.split(",")):
        name, sign, value = word.partition("<")
        if not sign or name not in DEFAULTS:
            raise ThresholdError(
                f"Expected SIGNAL<AMOUNT with one of {', '.join(DEFAULTS)}; found {word!r}. "
                "Example: memory.available<100Mi,nodefs.available<1Gi"
            )
        found[name] = value
    return found


def measure(folder: Path) -> Signals:
    """Measure the machine, and the disk a folder is on."""
    disk = os.statvfs(folder)
    memory = _memory()
    most = int(_read("/proc/sys/kernel/pid_max", "32768"))
    running = int(_read("/proc/loadavg", "0 0 0 0/0").split()[3].partition("/")[2])
    return Signals(
        {
            "memory.available": memory.get("MemAvailable", 0),
            "nodefs.available": disk.f_bavail * disk.f_frsize,
            "nodefs.inodesFree": disk.f_favail,
            "pid.available": max(0, most - running),
        },
        {
            "memory.available": memory.get("MemTotal", 0),
            "nodefs.available": disk.f_blocks * disk.f_frsize,
            "nodefs.inodesFree": disk.f_files,
            "pid.available": most,
        },
    )


def judge(signals: Signals, thresholds: dict[str, str]) -> list[Condition]:
    """Return the three conditions: pressure is when a signal is below its threshold."""
    memory = _too_little(signals, thresholds, _MEMORY)
    disk = _too_little(signals, thresholds, _DISK)
    pids = _too_little(signals, thresholds, _PIDS)
    return [
        Condition("MemoryPressure", "True", "KubeletHasInsufficientMemory", memory)
        if memory
        else Condition(
            "MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory is available"
        ),
        Condition("DiskPressure", "True", "KubeletHasDiskPressure", disk)
        if disk
        else Condition(
            "DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk is available"
        ),
        Condition("PIDPressure", "True", "KubeletHasInsufficientPID", pids)
        if pids
        else Condition(
            "PIDPressure", "False", "KubeletHasSufficientPID", "enough process ids are available"
        ),
    ]


def _too_little(signals: Signals, thresholds: dict[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        text = thresholds.get(name, DEFAULTS[name])
        total, found = signals.capacity[name], signals.available[name]
        least = (
            total * float(text.removesuffix("%")) / 100
            if text.endswith("%")
            else float(quantity.amount(text))
        )
        # A file system without a number of inodes (btrfs) says 0 of 0.
        if total and found < least:
            return f"{name} is {_write(name, found)}, below the threshold of {text}"
    return ""


def _write(name: str, value: int) -> str:
    return str(value) if name.startswith("pid") or "inodes" in name else f"{value >> 20}Mi"


def _memory() -> dict[str, int]:
    found = {}
    for line in _read("/proc/meminfo", "").splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found


def _read(path: str, otherwise: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return otherwise
