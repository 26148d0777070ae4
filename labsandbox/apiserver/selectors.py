"""Label and field selectors: parsing with the server's own error texts, and matching."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labsandbox.apiserver.status import bad_request

Json = dict[str, Any]
_TOKEN = re.compile(r"\s*(==|!=|=|>|<|\(|\)|,|!|[^\s=!<>(),]+|$)")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SPECIAL = {"=", "==", "!=", ">", "<", "(", ")", ",", "!", ""}
_OPERATORS = "found '{}', expected: in, notin, =, ==, !=, gt, lt"


@dataclass(frozen=True)
class Requirement:
    """One comma-separated part: a key, an operator, and the values it compares with."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in" | "=" | "==":
                return value is not None and value in self.values
            case "notin" | "!=":
                return value is None or value not in self.values
        if value is None:
            return False
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == "gt" else left < right


Selector = tuple[Requirement, ...]


def matches(selector: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    return all(requirement.matches(labels) for requirement in selector)


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.end() == at:
                break
            if found.group(1):
                self.tokens.append(found.group(1))
            at = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def parse(self) -> Selector:
        found: list[Requirement] = []
        while True:
            token = self.peek()
            if token == "" and not found:
                break
            if token == "!" or token not in _SPECIAL:
                try:
                    found.append(self.requirement())
                except ValueError as error:
                    raise ValueError(f"unable to parse requirement: {error}") from None
                token = self.take()
                if token == "":
                    break
                if token != ",":
                    raise ValueError(f"found '{token}', expected: ',' or 'end of string'")
                after = self.peek()
                if after != "!" and after in _SPECIAL:
                    raise ValueError(f"found '{after}', expected: identifier after ','")
                continue
            raise ValueError(f"found '{token}', expected: !, identifier, or 'end of string'")
        return tuple(sorted(found, key=lambda requirement: requirement.key))

    def requirement(self) -> Requirement:
        operator = ""
        if self.peek() == "!":
            self.take()
            operator = "!"
        key = self.take()
        if key in _SPECIAL:
            raise ValueError(f"found '{key}', expected: identifier")
        _check_key(key)
        if operator:
            return Requirement(key, operator)
        if self.peek() in ("", ","):
            return Requirement(key, "exists")
        operator = self.take()
        if operator in ("in", "notin"):
            return Requirement(key, operator, self.values())
        if operator in ("=", "==", "!=", ">", "<"):
            if self.peek() in ("", ","):
                value = ""
            else:
                value = self.take()
                if value in _SPECIAL:
                    raise ValueError(f"found '{value}', expected: identifier")
            _check_value(key, value)
            if operator in "<>":
                if not re.fullmatch(r"[+-]?\d+", value):
                    raise ValueError(
                        f'values[0][{key}]: Invalid value: "{value}": '
                        "for 'Gt', 'Lt' operators, the value must be an integer"
                    )
                operator = "gt" if operator == ">" else "lt"
            return Requirement(key, operator, frozenset([value]))
        raise ValueError(_OPERATORS.format(operator))

    def values(self) -> frozenset[str]:
        token = self.take()
        if token != "(":
            raise ValueError(f"found '{token}' expected: '('")
        found: set[str] = set()
        while True:
            token = self.take()
            if token == ")":
                found.add("")
                break
            if token == ",":
                found.add("")
                continue
            if token in _SPECIAL:
                raise ValueError(f"found '{token}', expected: ',', ')' or identifier")
            found.add(token)
            token = self.take()
            if token == ")":
                break
            if token != ",":
                raise ValueError(f"found '{token}', expected: ',' or ')'")
            if self.peek() == ")":
                self.take()
                found.add("")
                break
        return frozenset(found)


_QUALIFIED = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value', "
    " or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if slash and not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f'key: Invalid value: "{key}": prefix part a lowercase RFC 1123 subdomain must consist '
            "of lower case alphanumeric characters, '-' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'example.com', regex used for validation is "
            r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    if not _NAME.fullmatch(name) or len(name) > 63:
        raise ValueError(f'key: Invalid value: "{key}": {_QUALIFIED}')


def _check_value(key: str, value: str) -> None:
    if value and not _NAME.fullmatch(value):
        raise ValueError(f'values[0][{key}]: Invalid value: "{value}": {_VALUE}')
    if len(value) > 63:
        raise ValueError(
            f'values[0][{key}]: Invalid value: "{value}": must be no more than 63 characters'
        )


def parse_labels(text: str) -> Selector:
    """Parse a label selector, or raise the server's 400."""
    try:
        return _Parser(text).parse()
    except ValueError as error:
        raise bad_request(str(error)) from None


FieldTest = tuple[str, bool, str]
"""field, True for equal and False for not equal, value."""


def parse_fields(text: str) -> list[FieldTest]:
    """Parse a field selector into tests that must all hold, or raise the server's 400."""
    found: list[FieldTest] = []
    for part in _split(text):
        if not part.strip():
            continue
        match = re.match(r"((?:\\.|[^\\=!])*?)(!=|==|=)(.*)", part, re.DOTALL)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = match.groups()
        found.append((field.strip(), operator != "!=", _unescape(value)))
    return found


def _split(text: str) -> list[str]:
    parts, current, at = [], "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            current += text[at : at + 2]
            at += 2
            continue
        if char == ",":
            parts.append(current)
            current = ""
        else:
            current += char
        at += 1
    return [*parts, current]


def _unescape(value: str) -> str:
    return re.sub(r"\\([\\,=])", r"\1", value)


_EVENT = {
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
}
FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "events": tuple(sorted(_EVENT)),
    "events.events.k8s.io": tuple(sorted(_EVENT)),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
}


def field_reader(
    resource: str, selectable: Iterable[str] | None, field: str
) -> Callable[[Json], str]:
    """Return how to read `field` of an object of `resource`, or raise the server's 400.

    `selectable`: the fields a custom resource declares; None for built-in kinds.
    """
    own = FIELDS.get(resource, ())
    known = ("metadata.name", "metadata.namespace", *own, *(selectable or ()))
    if field not in known:
        if own or selectable is not None:
            raise bad_request(f"field label not supported: {field}")
        names = ", ".join(f'"{name}"' for name in known)
        raise bad_request(f'"{field}" is not a known field selector: only {names}')
    if field == "source" and resource.startswith("events"):
        return lambda obj: _text(_walk(obj, ("source", "component")))
    if field == "status.successful":
        return lambda obj: _text(_walk(obj, ("status", "succeeded")) or 0)
    if field == "status.replicas":
        return lambda obj: _text(_walk(obj, ("status", "replicas")) or 0)
    if field in ("spec.unschedulable", "spec.hostNetwork"):
        path = tuple(field.split("."))
        return lambda obj: _text(_walk(obj, path) or False)
    path = tuple(field.split("."))
    return lambda obj: _text(_walk(obj, path))


def _walk(obj: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
