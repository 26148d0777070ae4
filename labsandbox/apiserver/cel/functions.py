"""The functions Kubernetes adds to CEL: strings, patterns, lists, quantities, URLs, addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from celpy import celtypes

from labsandbox import quantity as quantities
from labsandbox.apiserver.cel import optional
from labsandbox.apiserver.crd.formats import FORMATS
from labsandbox.apiserver.validation import names

Bool, Int, Double, String = (
    celtypes.BoolType,
    celtypes.IntType,
    celtypes.DoubleType,
    celtypes.StringType,
)
List = celtypes.ListType


class Quantity(quantities.Quantity):
    """A quantity inside an expression."""


class Url:
    """A parsed URL."""

    def __init__(self, text: str) -> None:
        self.parts = urlsplit(text)
        if not (self.parts.scheme and self.parts.netloc) and not text.startswith("/"):
            raise ValueError(f"URL parse error during conversion from string: parse {text!r}")


def _quantity(text: Any) -> Quantity:
    found = quantities.parse(str(text))
    return Quantity(found.nano, found.notation)


def _is(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check(text: Any) -> Any:
        try:
            parse(text)
        except ValueError:
            return Bool(False)
        return Bool(True)

    return check


def _compare(left: Any, right: Any) -> Any:
    return Int((left.nano > right.nano) - (left.nano < right.nano))


def _add(left: Any, right: Any) -> Quantity:
    other = right.nano if isinstance(right, Quantity) else int(right) * quantities.NANO
    return Quantity(left.nano + other, left.notation)


def _sub(left: Any, right: Any) -> Quantity:
    other = right.nano if isinstance(right, Quantity) else int(right) * quantities.NANO
    return Quantity(left.nano - other, left.notation)


def _integer(value: Quantity) -> Any:
    if not value.is_integer:
        raise ValueError("cannot convert value to integer")
    return Int(value.nano // quantities.NANO)


def _find(text: Any, pattern: Any) -> Any:
    from labsandbox.apiserver.crd.values import regex

    found = regex(str(pattern)).search(str(text))
    return String(found[0] if found else "")


def _find_all(text: Any, pattern: Any, limit: Any = -1) -> Any:
    from labsandbox.apiserver.crd.values import regex

    found = [String(match[0]) for match in regex(str(pattern)).finditer(str(text))]
    return List(found if int(limit) < 0 else found[: int(limit)])


def _matches(text: Any, pattern: Any) -> Any:
    from labsandbox.apiserver.crd.values import regex

    return Bool(regex(str(pattern)).search(str(text)) is not None)


def _index_of(value: Any, item: Any, start: Any = 0) -> Any:
    if isinstance(value, list):
        return Int(value.index(item) if item in value else -1)
    return Int(str(value).find(str(item), int(start)))


def _last_index_of(value: Any, item: Any) -> Any:
    if isinstance(value, list):
        places = [index for index, found in enumerate(value) if found == item]
        return Int(places[-1] if places else -1)
    return Int(str(value).rfind(str(item)))


def _char_at(text: Any, index: Any) -> Any:
    if not 0 <= int(index) <= len(text):
        raise ValueError(f"index out of range: {index}")
    return String(str(text)[int(index) : int(index) + 1])


def _replace(text: Any, old: Any, new: Any, limit: Any = -1) -> Any:
    return String(str(text).replace(str(old), str(new), int(limit)))


def _split(text: Any, separator: Any, limit: Any = -1) -> Any:
    if int(limit) == 0:
        return List([])
    parts = list(str(text)) if not separator else str(text).split(str(separator), int(limit) - 1)
    if int(limit) < 0 and separator:
        parts = str(text).split(str(separator))
    return List([String(part) for part in parts])


def _substring(text: Any, start: Any, end: Any = None) -> Any:
    stop = len(text) if end is None else int(end)
    if not 0 <= int(start) <= stop <= len(text):
        raise ValueError(f"index out of range: {start}")
    return String(str(text)[int(start) : stop])


def _join(values: Any, separator: Any = "") -> Any:
    return String(str(separator).join(str(item) for item in values))


def _is_sorted(values: Any) -> Any:
    return Bool(all(one <= other for one, other in pairwise(values)))


def _sum(values: Any) -> Any:
    total = Int(0) if not values else values[0]
    for value in values[1:]:
        total = total + value
    return total


def _smallest(values: Any) -> Any:
    if not values:
        raise ValueError("min called on empty list")
    return min(values)


def _largest(values: Any) -> Any:
    if not values:
        raise ValueError("max called on empty list")
    return max(values)


def _query(url: Url) -> Any:
    found = parse_qs(url.parts.query, keep_blank_values=True)
    rows = {String(key): List([String(item) for item in items]) for key, items in found.items()}
    return celtypes.MapType(rows)


def _ip(text: Any) -> Any:
    found = names.parse_ip(str(text))
    if found is None:
        raise ValueError(f"IP Address {str(text)!r} parse error during conversion from string")
    return found


def _cidr(text: Any) -> Any:
    return ipaddress.ip_interface(str(text)) if "/" in str(text) else _ip("")


def _contains_ip(network: Any, address: Any) -> Any:
    return Bool((_ip(address) if isinstance(address, str) else address) in network.network)


def _contains_cidr(network: Any, other: Any) -> Any:
    inner = _cidr(other) if isinstance(other, str) else other
    return Bool(inner.network.subnet_of(network.network))


def _named_format(name: Any) -> Any:
    return String(name)


def _text(value: Any) -> Any:
    """`string(x)` also for quantities, addresses and networks."""
    if isinstance(value, Quantity | ipaddress.IPv4Address | ipaddress.IPv6Address):
        return String(str(value))
    if isinstance(value, bool | celtypes.BoolType):
        return String("true" if value else "false")
    return String(value)


FUNCTIONS: dict[str, Any] = {
    "hasValue": optional.has_value,
    "value": optional.value,
    "orValue": optional.or_value,
    "quantity": _quantity,
    "isQuantity": _is(_quantity),
    "isGreaterThan": lambda left, right: Bool(left.nano > right.nano),
    "isLessThan": lambda left, right: Bool(left.nano < right.nano),
    "compareTo": _compare,
    "asInteger": _integer,
    "isInteger": lambda value: Bool(value.is_integer),
    "asApproximateFloat": lambda value: Double(value.nano / quantities.NANO),
    "sign": lambda value: Int((value.nano > 0) - (value.nano < 0)),
    "add": _add,
    "sub": _sub,
    "find": _find,
    "findAll": _find_all,
    "matches": _matches,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "charAt": _char_at,
    "lowerAscii": lambda text: String(str(text).lower()),
    "upperAscii": lambda text: String(str(text).upper()),
    "replace": _replace,
    "split": _split,
    "substring": _substring,
    "trim": lambda text: String(str(text).strip()),
    "join": _join,
    "isSorted": _is_sorted,
    "sum": _sum,
    "min": _smallest,
    "max": _largest,
    "url": lambda text: Url(str(text)),
    "isURL": _is(lambda text: Url(str(text))),
    "getScheme": lambda url: String(url.parts.scheme),
    "getHost": lambda url: String(url.parts.netloc.rpartition("@")[2]),
    "getHostname": lambda url: String(url.parts.hostname or ""),
    "getPort": lambda url: String(url.parts.port or ""),
    "getEscapedPath": lambda url: String(url.parts.path),
    "getQuery": _query,
    "ip": lambda value: value.ip if hasattr(value, "ip") else _ip(value),
    "isIP": _is(_ip),
    "family": lambda address: Int(address.version),
    "isLoopback": lambda address: Bool(address.is_loopback),
    "isUnspecified": lambda address: Bool(address.is_unspecified),
    "isGlobalUnicast": lambda address: Bool(
        not (address.is_multicast or address.is_loopback or address.is_unspecified)
    ),
    "isLinkLocalMulticast": lambda address: Bool(str(address).startswith(("224.0.0.", "ff02"))),
    "isLinkLocalUnicast": lambda address: Bool(address.is_link_local),
    "cidr": _cidr,
    "isCIDR": _is(_cidr),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "prefixLength": lambda network: Int(network.network.prefixlen),
    "masked": lambda network: ipaddress.ip_interface(str(network.network)),
    "isFormat": lambda name: Bool(str(name) in FORMATS),
    "named": _named_format,
    "string": _text,
}
