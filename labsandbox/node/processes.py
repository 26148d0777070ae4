"""Find and end the processes of a container or of a whole node.

A process belongs to a container when one of these holds, or when its parent belongs to it:
- its hard limit RLIMIT_RTTIME is the container's number. Children inherit limits, no program writes
  over them by accident (setproctitle does over its environment), and raising one needs a right that
  pods have not. The number is so large that it limits nobody, with real-time scheduling or without;
- its environment carries the container's mark;
- it is the container's first process, or lives in its session. The first process is known by its id
  and the time it started: an id alone is soon somebody else's;
- its standard output goes to the container's pipes.
A program that sets out to erase all of these is an orphan with the keeper for a parent, and the
keeper ends such orphans. No control groups: an ordinary user has none on most laptops.
Standard library only: the keeper imports this.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NODE_MARK = "LABSANDBOX_NODE"
CONTAINER_MARK = "LABSANDBOX_CONTAINER"
_NOBODY = -2  # no process, and the session of none
_FLAG, _BITS = 1 << 62, 31
_MASK = (1 << _BITS) - 1


def number_of(node: str, container: str) -> int:
    """Return the number by which the limits of a container's processes are told from others'.

    >>> number_of("n", "u/c/0") >> 31 == number_of("n", "u/d/0") >> 31
    True
    """
    run = "/".join(container.split("/")[:3])  # a command beside a container belongs to it
    return _FLAG | _digest(node) << _BITS | _digest(run)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> (64 - _BITS)


def stamp(env: Mapping[str, str]) -> None:
    """Give this process, about to become a container's, the container's number."""
    number = number_of(env.get(NODE_MARK, ""), env.get(CONTAINER_MARK, ""))
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (number, number))
    except (OSError, ValueError):
        return  # a sandbox within a pod of another one: the other marks have to do


def number(pid: int) -> int:
    """Return the number in a process's limits; 0 when it has none."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    words = text.rpartition(b"Max realtime timeout")[2].split()
    found = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return found if found >> 62 == 1 else 0


class Numbers:
    """The processes of all containers by number; each process is asked once or twice."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._misses: dict[int, int] = {}

    def look(self) -> dict[int, list[int]]:
        """Return number -> process ids, as it is now."""
        current = all_pids()
        living = set(current)
        self._known = {pid: n for pid, n in self._known.items() if pid in living}
        self._misses = {pid: n for pid, n in self._misses.items() if pid in living}
        found: dict[int, list[int]] = {}
        for pid in current:
            # A child of the keeper gets its number some milliseconds after its id.
            if pid not in self._known and self._misses.get(pid, 0) < 2:
                if one := number(pid):
                    self._known[pid] = one
                else:
                    self._misses[pid] = self._misses.get(pid, 0) + 1
            if pid in self._known:
                found.setdefault(self._known[pid], []).append(pid)
        return found


def all_pids() -> list[int]:
    """Return the ids of all processes of the machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def start_time(pid: int) -> int | None:
    """Return when a living process started, in clock ticks; None for a dead one or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Say whether the process with this id is still the one that started then."""
    return start_time(pid) == started


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0" + file.read() + b"\0"
    except OSError:
        return b""


def _outputs(pid: int) -> Iterator[str]:
    for number in (1, 2):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue


def find_marked(mark: str, value: str) -> list[int]:
    """Return the living processes whose environment carries mark=value."""
    needle = f"\0{mark}={value}\0".encode()
    own = os.getpid()
    return [
        pid
        for pid in all_pids()
        if pid != own and needle in _environment(pid) and start_time(pid) is not None
    ]


def find_members(container: str, first: tuple[int, int], folder: str) -> list[int]:
    """Return the living processes of a container; `first` is the id and start of its first one."""
    main = first[0] if is_alive(*first) else _NOBODY
    needle = f"\0{CONTAINER_MARK}={container}\0".encode()
    mark = number_of("", container) & _MASK
    members = []
    for pid in all_pids():
        if (
            pid == main
            or _digest_in(pid) == mark
            or needle in _environment(pid)
            or _session(pid) == main
            or any(name.startswith(folder + "/") for name in _outputs(pid))
        ):
            members.append(pid)
    return _with_children(members)


def find_node(node: str) -> list[int]:
    """Return the living processes of a node: the keeper, the containers, and their children."""
    needle = f"\0{NODE_MARK}={node}\0".encode()
    mark = number_of(node, "") >> _BITS
    return _with_children(
        [pid for pid in all_pids() if number(pid) >> _BITS == mark or needle in _environment(pid)]
    )


def _digest_in(pid: int) -> int:
    found = number(pid)
    return found & _MASK if found else -1


def _with_children(pids: Iterable[int]) -> list[int]:
    """Return these processes and their children's children, as far as they live; never us."""
    own = os.getpid()
    found: dict[int, None] = {}
    for pid in pids:
        if pid != own and pid not in found:
            found |= dict.fromkeys(descendants(pid))
    return [pid for pid in found if pid != own and start_time(pid) is not None]


def is_marked(pid: int) -> bool:
    """Say whether some mark of a container is left on a process."""
    return number(pid) != 0 or f"\0{CONTAINER_MARK}=".encode() in _environment(pid)


def children(pid: int) -> list[int]:
    """Return the children of a process, whichever of its threads started them."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass  # it has ended
    return found


def mark_of(state: Path) -> str:
    """Return the mark by which the processes of the node of this state folder are found."""
    return hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]


def descendants(pid: int) -> list[int]:
    """Return a process and its children's children."""
    found: dict[int, None] = {}
    todo = [pid]
    while todo:
        current = todo.pop()
        if current not in found:
            found[current] = None
            todo += children(current)
    return list(found)


def send(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there; 0 and below would be whole groups."""
    for pid in (pid for pid in pids if pid > 1):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_members(container: str, first: tuple[int, int], folder: str) -> int:
    """Kill all processes of a container, those they start meanwhile included; return how many."""
    killed = 0
    for _ in range(50):
        members = _freeze(lambda: find_members(container, first, folder))
        if not members:
            break
        killed += len(members)
        send(members, signal.SIGKILL)
        _await_end(members, 0.2)
    return killed


def kill_node(node: str, seconds: float = 10) -> int:
    """Kill every process of a node; return how many there were."""
    killed: set[int] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        members = _freeze(lambda: find_node(node))
        if not members:
            break
        killed |= set(members)
        send(members, signal.SIGKILL)
        _await_end(members, 0.5)
    return len(killed)


def _freeze(find: Callable[[], list[int]]) -> list[int]:
    """Stop all processes that `find` returns, so that none starts another while they are killed."""
    frozen: dict[int, None] = {}
    for _ in range(20):
        fresh = [pid for pid in find() if pid not in frozen]
        if not fresh:
            break
        send(fresh, signal.SIGSTOP)
        frozen |= dict.fromkeys(fresh)
    return list(frozen)


def _await_end(pids: list[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(start_time(pid) is not None for pid in pids):
        time.sleep(0.002)


def resident(pid: int) -> int:
    """Return the resident memory of one process in bytes, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def proportional(pid: int, has_shmem: bool = True) -> int:
    """Return the memory of one process with shared pages divided among their users, in bytes."""
    found = {}
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                name, _, rest = line.partition(b":")
                if name in (b"Pss", b"Pss_Shmem"):
                    found[name] = int(rest.split()[0]) * 1024
    except OSError:
        pass
    whole = found.get(b"Pss", resident(pid))
    return whole if has_shmem else whole - found.get(b"Pss_Shmem", 0)


def cpu_times(pid: int) -> tuple[float, float]:
    """Return the CPU seconds of a process and of its children that ended, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0, 0.0
    own, ended = fields[11:13], fields[13:15]
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(map(int, own)) / ticks, sum(map(int, ended)) / ticks
