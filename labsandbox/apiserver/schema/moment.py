"""Times and durations: read what Go reads, write what Kubernetes writes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

LAYOUT = "2006-01-02T15:04:05Z07:00"
SHAPE = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
PARTS = (
    (r"\d{4}", "2006"),
    ("-", "-"),
    (r"\d{2}", "01"),
    ("-", "-"),
    (r"\d{2}", "02"),
    ("T", "T"),
    (r"\d{1,2}", "15"),
    (":", ":"),
    (r"\d{2}", "04"),
    (":", ":"),
    (r"\d{2}", "05"),
)


class TimeError(ValueError):
    """The text is not a time; the message is Go's."""


def read_time(text: str) -> datetime:
    """Parse RFC 3339."""
    found = SHAPE.fullmatch(text)
    if found is None:
        raise TimeError(_complain(text))
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    zone = found[8]
    for value, low, high, what in (
        (month, 1, 12, "month"),
        (day, 1, 31, "day"),
        (hour, 0, 23, "hour"),
        (minute, 0, 59, "minute"),
        (second, 0, 59, "second"),
    ):
        if not low <= value <= high:
            raise TimeError(f'parsing time "{text}": {what} out of range')
    try:
        moment = datetime(year or 1, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise TimeError(f'parsing time "{text}": day out of range') from error
    if found[7]:
        moment = moment.replace(microsecond=int(found[7][:6].ljust(6, "0")))
    if zone != "Z":
        away = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        try:
            moment = moment - away if zone[0] == "+" else moment + away
        except OverflowError as error:
            raise TimeError(f'parsing time "{text}": year out of range') from error
    return moment


def _complain(text: str) -> str:
    rest = text
    for pattern, wanted in PARTS:
        found = re.match(pattern, rest, re.ASCII)
        if found is None:
            return f'parsing time "{text}" as "{LAYOUT}": cannot parse "{rest}" as "{wanted}"'
        rest = rest[found.end() :]
    if rest and re.match(r"[.,]\d+", rest):
        rest = re.sub(r"^[.,]\d+", "", rest)
    if re.match(r"Z|[+-]\d{2}:\d{2}", rest):
        rest = re.sub(r"^(Z|[+-]\d{2}:\d{2})", "", rest)
        return f'parsing time "{text}": extra text: "{rest}"'
    return f'parsing time "{text}" as "{LAYOUT}": cannot parse "{rest}" as "Z07:00"'


def write_time(moment: datetime) -> str:
    """`2026-01-02T03:04:05Z`: seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year > 999 else _early(moment)


def _early(moment: datetime) -> str:
    return f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}T{moment:%H:%M:%S}Z"


def normal_time(text: str) -> str:
    """A time as the server writes it back."""
    if len(text) == 20 and text[19] == "Z" and SHAPE.fullmatch(text):
        read_time(text)
        return text
    return write_time(read_time(text))


def normal_micro_time(text: str) -> str:
    """A time with its six decimals."""
    found = read_time(text)
    return f"{write_time(found)[:-1]}.{found.microsecond:06d}Z"


def read_duration(text: str) -> None:
    """Refuse what Go's time.ParseDuration refuses."""
    body = text.lstrip("+-") if text[:1] in "+-" else text
    if body == "0":
        return
    if not body or not re.fullmatch(
        r"((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+", body, re.ASCII
    ):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        if re.fullmatch(r"[0-9.]+", body):
            raise TimeError(f'time: missing unit in duration "{quoted}"')
        raise TimeError(f'time: invalid duration "{quoted}"')
