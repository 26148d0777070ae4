"""What one learner's programs may take of the host: memory, processes, a part of the processors.

Control groups bound it where this process may make some, of version 2 or 1. Elsewhere each program
gets a limit of its own for memory, and `watch` ends the largest one when together they hold too
much; the processors are shared by what the kernel has for sessions, or by being nice to the hub.
In either case the kernel, when it runs out of memory, ends a learner's program and not the hub.

Standard library only: each learner's warden imports it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from labclass.processes import descendants

CLASS, PROCESSES = "labs-class", 4096
_LIMITS = {  # the file of version 2, and of version 1
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "pids": ("pids.max", "pids.max"),
    "cpu": ("", ""),  # groups have equal weights
}
_NICE, _FIRST_TO_END = 5, 500
_LEAST = 1400 * 10**6  # bytes: a server, two kernels and a small Spark
_SECONDS, _SECONDS_WHEN_LITTLE = 1.0, 4.0


@dataclass
class Share:
    """A learner's groups: one folder for each controller, or the same one for all."""

    memory: int
    folders: dict[str, Path] = field(default_factory=dict)

    def join(self) -> None:
        """Put this process, and what it will start, under the bounds."""
        with contextlib.suppress(OSError):  # it is among the first already
            Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_END))
        joined = {name for name, folder in self.folders.items() if _moves_into(folder)}
        if "memory" not in joined:
            resource.setrlimit(resource.RLIMIT_DATA, (self.memory, self.memory))
        if "cpu" not in joined and not has_autogroups():
            os.nice(_NICE)

    def release(self) -> None:
        """Remove the groups, which are empty by now; the class's group stays for the others."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def words(self) -> str:
        """Say what bounds a learner here, and what does not."""
        most = f"{self.memory / 1e9:.1f} GB"
        if not self.folders.keys() ^ _LIMITS.keys():
            return (
                f"Control groups give each learner {most} of memory, {PROCESSES:,} processes and "
                "an equal part of the processors."
            )
        memory = f"A control group gives each learner {most} of memory"
        if "memory" not in self.folders:
            memory = (
                f"We may make no control group for memory here: a program that takes {most} gets "
                "an error, and a learner's largest one ends when all of theirs hold more than that"
            )
        processors = "the kernel shares the processors between sessions (autogroups)"
        if "cpu" in self.folders:
            processors = "another one an equal part of the processors"
        elif not has_autogroups():
            processors = "nothing shares the processors fairly, learners only give way to the hub"
        unbounded = (
            "" if "pids" in self.folders else "; nothing bounds how many processes they start"
        )
        return f"{memory}; {processors}{unbounded}."


def most_memory(learners: int, total: int = 0) -> int:
    """Return the bytes at which one of so many takes too much: never do all need most at once.

    >>> [round(most_memory(n, 24 * 2**30) / 1e9, 1) for n in (1, 6, 12, 30)]
    [12.9, 7.3, 3.7, 2.8]
    """
    total = total or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    fair = int(total * 0.85) // max(learners, 1)
    return min(2 * max(fair, _LEAST), total // 2)


def take(name: str, memory: int) -> Share:
    """Make a learner's groups, as far as this process may."""
    share = Share(memory)
    for controller, (folder, version) in hierarchies().items():
        with contextlib.suppress(OSError):
            share.folders[controller] = _make(folder, version, controller, name, memory)
    return share


def explain(memory: int) -> str:
    """Try what this process may bound, and say it."""
    share = take(f"try-{os.getpid()}", memory)
    share.release()
    return share.words()


def has_autogroups() -> bool:
    """Tell whether the kernel gives each session an equal part of the processors."""
    try:
        return Path("/proc/sys/kernel/sched_autogroup_enabled").read_text().strip() == "1"
    except OSError:
        return False


def hierarchies(proc: Path = Path("/proc/self")) -> dict[str, tuple[Path, int]]:
    """Return for each controller where we may hope to make groups, and its version."""
    try:
        groups, mounts = ((proc / name).read_text() for name in ("cgroup", "mountinfo"))
    except OSError:
        return {}
    ours: dict[str, str] = {}
    for line in groups.splitlines():
        _, names, group = line.split(":", 2)
        ours |= dict.fromkeys(names.split(","), group)  # that of version 2 has no name
    found = {}
    for line in mounts.splitlines():
        head, _, tail = line.partition(" - ")
        kind, _, options = [*tail.split(), "", "", ""][:3]
        if kind not in ("cgroup", "cgroup2"):
            continue
        top, mount = head.split()[3], Path(head.split()[4])
        for name in set(_LIMITS) & set(_controllers(kind, mount, options)):
            group = ours.get(name if kind == "cgroup" else "", "/")
            folder = mount / group.removeprefix(top).lstrip("/")
            if kind == "cgroup2" and folder != mount:
                folder = folder.parent  # a group with processes has no groups below it
            found[name] = (folder, 1 if kind == "cgroup" else 2)
    return found


def watch(root: int, most: int, tell: Callable[[str], None]) -> None:
    """End the largest program below a process whenever all of them hold too much memory."""
    while True:
        held = {pid: _held(pid, "statm") for pid in descendants(root)}
        if sum(held.values()) > most:  # pages that several share were counted several times
            held = {pid: _held(pid, "smaps_rollup") for pid in held}
        if (total := sum(held.values())) > most:
            largest = max(held, key=lambda pid: held[pid])
            tell(
                f"Expected at most {most / 1e9:.2f} GB of memory, found {total / 1e9:.2f} GB: "
                f"ended the largest program, {_name(largest)} with {held[largest] / 1e9:.2f} GB."
            )
            with contextlib.suppress(ProcessLookupError):
                os.kill(largest, signal.SIGKILL)
        time.sleep(_SECONDS if total > most / 2 else _SECONDS_WHEN_LITTLE)


def _controllers(kind: str, mount: Path, options: str) -> list[str]:
    if kind == "cgroup":
        return options.split(",")
    try:
        return (mount / "cgroup.controllers").read_text().split()
    except OSError:
        return []


def _make(folder: Path, version: int, controller: str, name: str, memory: int) -> Path:
    """Make a group for a learner below that of the class; raise OSError where we may not."""
    above = folder / CLASS
    if not os.access(folder / "cgroup.procs", os.W_OK):
        raise PermissionError(f"{folder}: no process may be moved from here")
    above.mkdir(exist_ok=True)
    if version == 2:
        for place in (folder, above):
            (place / "cgroup.subtree_control").write_text(f"+{controller}")
    group = above / name
    group.mkdir(exist_ok=True)
    # `watch` comes first and says what it ends; the kernel, which says nothing, a little later.
    bound = {"memory": memory + memory // 8, "pids": PROCESSES}.get(controller)
    try:
        if bound is not None:
            (group / _LIMITS[controller][2 - version]).write_text(str(bound))
    except OSError:
        group.rmdir()
        raise
    return group


def _moves_into(folder: Path) -> bool:
    """Move this process into a group, if the kernel lets."""
    try:
        (folder / "cgroup.procs").write_text("0")
    except OSError:
        return False
    return True


def _held(pid: int, file: str) -> int:
    """Return the bytes a process holds: in `smaps_rollup` its part of those that it shares."""
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return 0
    if file == "statm":
        return int(text.split()[1]) * resource.getpagesize()
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if "Pss:" in line), 0)


def _name(pid: int) -> str:
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (process {pid})"
    except OSError:
        return f"process {pid}"
