"""Cron schedules, checked with the words of the library Kubernetes uses."""

from __future__ import annotations

from labsandbox.apiserver.validation.goprint import plain, quote

FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (
        1,
        12,
        {
            name: index
            for index, name in enumerate(
                (
                    "jan",
                    "feb",
                    "mar",
                    "apr",
                    "may",
                    "jun",
                    "jul",
                    "aug",
                    "sep",
                    "oct",
                    "nov",
                    "dec",
                ),
                1,
            )
        },
    ),
    (
        0,
        6,
        {
            name: index
            for index, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
        },
    ),
)
DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def schedule_error(schedule: str) -> str:
    """What is wrong with a schedule; "" when nothing is."""
    text = schedule
    if text.startswith(("TZ=", "CRON_TZ=")):
        _, _, text = text.partition(" ")
        text = text.strip()
    if text.startswith("@"):
        return _descriptor(text)
    parts = text.split()
    if len(parts) != 5:
        return f"expected exactly 5 fields, found {len(parts)}: {plain(parts)}"
    for part, (low, high, words) in zip(parts, FIELDS, strict=True):
        for option in part.split(","):
            problem = _range(option, low, high, words)
            if problem:
                return problem
    return ""


def _descriptor(text: str) -> str:
    if text in DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        from labsandbox.apiserver.schema.moment import TimeError, read_duration

        try:
            read_duration(text[len("@every ") :])
        except TimeError as error:
            return f"failed to parse duration {text}: {error}"
        return ""
    return f"unrecognized descriptor: {text}"


def _number(text: str, words: dict[str, int]) -> tuple[int, str]:
    if text.lower() in words:
        return words[text.lower()], ""
    body = text[1:] if text[:1] in "+-" else text
    if not (body.isascii() and body.isdigit()):
        says = f"strconv.Atoi: parsing {quote(text)}: invalid syntax"
        return 0, f"failed to parse int from {text}: {says}"
    if text.startswith("-"):
        return 0, f"negative number ({int(text)}) not allowed: {text}"
    return int(text), ""


def _range(option: str, low: int, high: int, words: dict[str, int]) -> str:
    bounds = option.split("/")
    ends = bounds[0].split("-")
    if ends[0] in ("*", "?"):
        begin, end = low, high
    else:
        begin, problem = _number(ends[0], words)
        if problem:
            return problem
        if len(ends) > 2:
            return f"too many hyphens: {option}"
        end = begin
        if len(ends) == 2:
            end, problem = _number(ends[1], words)
            if problem:
                return problem
    step = 1
    if len(bounds) > 2:
        return f"too many slashes: {option}"
    if len(bounds) == 2:
        step, problem = _number(bounds[1], {})
        if problem:
            return problem
        if len(ends) == 1 and ends[0] not in ("*", "?"):
            end = high
    if begin < low:
        return f"beginning of range ({begin}) below minimum ({low}): {option}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {option}"
    if begin > end:
        return f"beginning of range ({begin}) beyond end of range ({end}): {option}"
    return f"step of range should be a positive number: {option}" if step == 0 else ""
