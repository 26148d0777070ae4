"""Decide whether and when an ended container starts again: pure functions."""

from __future__ import annotations

from labsandbox.node.records import Record

FIRST, LONGEST, RESET_AFTER = 10.0, 300.0, 600.0


def should_restart(policy: str, code: int) -> bool:
    """Say whether a container that ended with this code is started again."""
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def delay(record: Record, now: float) -> float:
    """Return how many seconds to wait; the first restart is immediate, as the kubelet's."""
    if record.ending is None or record.backoff == 0:
        return 0
    return max(0.0, record.ending.finished + record.backoff - now)


def next_backoff(record: Record) -> float:
    """Return the back-off of the following restart; ten minutes of running forgive all before."""
    if record.ending is not None and record.ending.finished - record.ending.started >= RESET_AFTER:
        return FIRST
    return min(max(FIRST, record.backoff * 2), LONGEST)


def current_backoff(record: Record) -> float:
    """Return the back-off that applies to the restart at hand."""
    if record.ending is not None and record.ending.finished - record.ending.started >= RESET_AFTER:
        return 0
    return record.backoff


def write_duration(seconds: float) -> str:
    """Return a duration as Go writes it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
