"""Read a cron schedule and find its moments: five fields, names, steps, @daily and the like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {
    3: {name: number for number, name in enumerate(_MONTHS, start=1)},
    4: {name: number for number, name in enumerate(_DAYS)},
}
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_LONGEST_SEARCH = timedelta(days=366 * 5)


@dataclass(frozen=True)
class Schedule:
    """When something is to happen."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool
    is_any_weekday: bool

    def _matches_day(self, moment: datetime) -> bool:
        is_day = moment.day in self.days
        is_weekday = moment.isoweekday() % 7 in self.weekdays
        if self.is_any_day or self.is_any_weekday:
            return is_day and is_weekday
        return is_day or is_weekday  # Both are restricted: one of them is enough, as in cron.

    def next(self, after: datetime) -> datetime | None:
        """Return the first moment later than this one."""
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = moment + _LONGEST_SEARCH
        while moment < end:
            if moment.month not in self.months or not self._matches_day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None


def parse(text: str) -> Schedule:
    """Read a schedule; raise ValueError that says what is wrong."""
    fields = _MACROS.get(text.strip(), text).split()
    if len(fields) != 5:
        raise ValueError(
            f"Expected five fields (minute hour day month weekday) or a word such as @daily; "
            f"found {text!r}."
        )
    sets = [_field(field, *_RANGES[index], index) for index, field in enumerate(fields)]
    minutes, hours, days, months, weekdays = map(frozenset, sets)
    return Schedule(
        minutes,
        hours,
        days,
        months,
        weekdays,
        is_any_day=fields[2] in ("*", "?"),
        is_any_weekday=fields[4] in ("*", "?"),
    )


def _field(text: str, low: int, high: int, index: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        every = int(step) if step else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, stop = span.partition("-")
            first = _number(start, index)
            last = _number(stop, index) if dash else (high if step else first)
        if index == 4 and last == 7:
            found.add(0)
            last = 6 if first != 7 else first
        if every < 1 or ((first < low or last > high) and not (index == 4 and first == 7)):
            raise ValueError(f"Expected values from {low} to {high}; found {part!r}.")
        found |= {value % 7 if index == 4 else value for value in range(first, last + 1, every)}
    return found


def _number(text: str, index: int) -> int:
    word = text.lower()[:3]
    if word in _NAMES.get(index, {}):
        return _NAMES[index][word]
    if not text.isdigit():
        raise ValueError(f"Expected a number or a name; found {text!r}.")
    return int(text)


def due(schedule: Schedule, since: datetime, now: datetime, zone: tzinfo) -> datetime | None:
    """Return the latest moment of a schedule between two moments."""
    latest, moment = None, since.astimezone(zone)
    for _ in range(10_000):
        following = schedule.next(moment)
        if following is None or following > now:
            return latest
        latest = moment = following
    return latest
