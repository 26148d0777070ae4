"""Ages as kubectl shows them: two units at most, the finer the younger."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "<unknown>"
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


def read_moment(stamp: object) -> datetime | None:
    """Read an RFC 3339 time; None when there is none."""
    if not isinstance(stamp, str) or not stamp:
        return None
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


def age(stamp: object) -> str:
    """How long ago a moment was."""
    moment = read_moment(stamp)
    if moment is None:
        return UNKNOWN
    return span((datetime.now(UTC) - moment).total_seconds())


def span(length: float) -> str:
    """A length of time in one or two units."""
    seconds = int(length)
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 2 * MINUTE:
        return f"{seconds}s"
    minutes = seconds // MINUTE
    if minutes < 10:
        return _two(minutes, "m", seconds % MINUTE, "s")
    if minutes < 3 * 60:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two(hours // 24, "d", hours % 24, "h")
    days = hours // 24
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
