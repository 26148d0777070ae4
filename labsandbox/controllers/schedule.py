"""Find the moments of a CronJob's schedule.

croniter reads the expressions. What the original adds to them is here: a zone before the
expression, `@every 90m`, and no run at a time that a change of clocks skips.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, CroniterError, croniter

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE = re.compile(r"^(?:CRON_)?TZ=(\S+)\s+")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{0,9})?)(h|ms|us|µs|ns|m|s)")
_YEARS = 5  # a schedule without a moment in so many years never fires
_SKIPPED_AT_MOST = 60
MANY = 100


class NeverFires(Exception):
    """The schedule has no moment at all, as 31 February."""


@dataclass(frozen=True)
class Schedule:
    """When something is to happen."""

    expression: str
    zone: tzinfo = UTC
    every: timedelta | None = None

    def next(self, after: datetime) -> datetime | None:
        """Return the first moment later than this one, in UTC; None when there is none."""
        if self.every is not None:
            return (after + self.every).replace(microsecond=0)
        moments = croniter(
            self.expression, after.astimezone(self.zone), max_years_between_matches=_YEARS
        )
        minutes, hours = moments.expanded[:2]
        try:
            for _ in range(_SKIPPED_AT_MOST):
                moment: datetime = moments.get_next(datetime)
                # Where clocks go forward croniter takes the hour after the one that is skipped.
                if _is_in(moment.hour, hours) and _is_in(moment.minute, minutes):
                    return moment.astimezone(UTC)
        except CroniterBadDateError:
            pass
        return None


@dataclass(frozen=True)
class Due:
    """The latest moment that was missed, and how many there were."""

    moment: datetime
    missed: int


def parse(text: str, zone: str | None = None) -> Schedule:
    """Read a schedule; raise ValueError that says what is wrong."""
    named = _ZONE.match(text)
    place = zone or (named.group(1) if named else None)
    rest = text[named.end() :] if named else text
    try:
        where = ZoneInfo(place) if place else UTC
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"Expected the name of a time zone; found {place!r}.") from error
    rest = rest.strip()
    if rest.startswith("@every "):
        return Schedule(rest, where, _length(rest.removeprefix("@every ")))
    fields = _MACROS.get(rest, rest).split()
    if len(fields) != 5:
        raise ValueError(
            "Expected five fields (minute hour day month weekday) or a word such as @daily; "
            f"found {text!r}."
        )
    expression = " ".join("*" + field[1:] if field[:1] == "?" else field for field in fields)
    try:
        croniter(expression)
    except (CroniterError, ValueError, KeyError) as error:
        raise ValueError(f"Expected a cron expression; found {text!r}: {error}") from error
    return Schedule(expression, where)


def _is_in(value: int, field: list[int | str]) -> bool:
    return field == ["*"] or value in field


def _length(text: str) -> timedelta:
    """Read a length of time as Go writes it; less than a second counts as one."""
    parts = _LENGTH.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"Expected a length of time such as 1h30m; found {text!r}.")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return timedelta(seconds=max(1, int(seconds)))


def due(schedule: Schedule, since: datetime, now: datetime) -> Due | None:
    """Return the latest moment between two moments; raise NeverFires when there are none at all."""
    if since > now:
        return None
    first = schedule.next(since)
    second = schedule.next(first) if first else None
    if first is None or second is None or second - first < timedelta(seconds=1):
        raise NeverFires
    if now < first:
        return None
    if now < second:
        return Due(first, 1)
    interval = second - first
    missed = (now - first) // interval + 1
    # One interval early: the moments need not be evenly spaced.
    latest, moment = first, schedule.next(first + (missed - 2) * interval)
    while moment is not None and moment <= now:
        latest, moment = moment, schedule.next(moment)
    return Due(latest, missed)
