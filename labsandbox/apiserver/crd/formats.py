"""String formats a custom resource may ask for; others are ignored, as the real server does."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

from labsandbox.apiserver.schema import moment

HEX = r"[0-9a-fA-F]"
UUID = re.compile(rf"{HEX}{{8}}-?{HEX}{{4}}-?{HEX}{{4}}-?{HEX}{{4}}-?{HEX}{{12}}")
HOSTNAME = re.compile(
    r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.?"
)
EMAIL = re.compile(r"[^@\s<>]+@[A-Za-z0-9.\-\[\]:]+")
DURATION_WORD = re.compile(
    r"(?:\d+(?:\.\d+)?\s*(?:ns|nanos?|us|µs|micros?|ms|millis?|s|secs?|seconds?|m|mins?|minutes?|h|"
    r"hrs?|hours?|d|days?|w|wks?|weeks?)\s*)+"
)


def _ip(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


def _cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _date_time(text: str) -> bool:
    try:
        moment.read_time(text.upper().replace(" ", "T"))
    except moment.TimeError:
        return _date(text)
    return True


def _byte(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _duration(text: str) -> bool:
    try:
        moment.read_duration(text)
    except moment.TimeError:
        return DURATION_WORD.fullmatch(text) is not None
    return True


def _uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _uuid(version: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        if UUID.fullmatch(text) is None:
            return False
        return not version or text.replace("-", "")[12] == version

    return check


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(rf"{HEX}{{24}}"),
    "uri": _uri,
    "email": lambda text: EMAIL.fullmatch(text) is not None,
    "hostname": lambda text: len(text) <= 255 and HOSTNAME.fullmatch(text) is not None,
    "ipv4": _ip(4),
    "ipv6": _ip(6),
    "cidr": _cidr,
    "mac": _matches(
        rf"{HEX}{{2}}(?:[:-]{HEX}{{2}}){{5}}|{HEX}{{2}}(?:[:-]{HEX}{{2}}){{7}}|(?:{HEX}{{4}}\.){{2,3}}{HEX}{{4}}"
    ),
    "uuid": _uuid(""),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
    "isbn": _matches(r"[0-9Xx -]{10,17}"),
    "isbn10": _matches(r"[0-9Xx -]{10,13}"),
    "isbn13": _matches(r"[0-9 -]{13,17}"),
    "creditcard": _matches(r"[0-9 -]{13,19}"),
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matches(rf"#?(?:{HEX}{{3}}|{HEX}{{6}})"),
    "rgbcolor": _matches(r"rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)"),
    "byte": _byte,
    "password": lambda _: True,
    "date": _date,
    "duration": _duration,
    "datetime": _date_time,
    "date-time": _date_time,
}
