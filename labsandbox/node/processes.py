"""Find and end the processes of a container or of a whole node.

A process belongs to a container when its environment carries the container's mark, when it lives
in the session of the container's first process, or when its standard output goes to the
container's pipes. No control groups: an ordinary user has none on most laptops.
Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

NODE_MARK = "LABSANDBOX_NODE"
CONTAINER_MARK = "LABSANDBOX_CONTAINER"


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


def find_members(container: str, main: int, folder: str) -> list[int]:
    """Return the living processes of a container, its first one included."""
    needle = f"\0{CONTAINER_MARK}={container}\0".encode()
    own = os.getpid()
    members = []
    for pid in all_pids():
        if pid == own:
            continue
        if (
            pid == main
            or needle in _environment(pid)
            or _session(pid) == main
            or any(name.startswith(folder + "/") for name in _outputs(pid))
        ) and start_time(pid) is not None:
            members.append(pid)
    return members


def descendants(pid: int) -> list[int]:
    """Return a process and its children's children."""
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        try:
            with open(f"/proc/{current}/task/{current}/children", "rb") as file:
                todo += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return found


def send(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_members(container: str, main: int, folder: str) -> int:
    """Kill all processes of a container, those they start meanwhile included; return how many."""
    killed = 0
    for _ in range(50):
        members = find_members(container, main, folder)
        if not members:
            break
        killed += len(members)
        send(members, signal.SIGKILL)
        _await_end(members, 0.2)
    return killed


def kill_node(node: str, seconds: float = 10) -> int:
    """Kill every process that carries the node's mark; return how many there were."""
    killed: set[int] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        members = find_marked(NODE_MARK, node)
        if not members:
            break
        killed |= set(members)
        send(members, signal.SIGKILL)
        _await_end(members, 0.5)
    return len(killed)


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


def proportional(pid: int) -> int:
    """Return the memory of one process with shared pages divided among their users, in bytes."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resident(pid)
