"""Decode objects of built-in kinds the way Go does.

What comes out is what a real server would write back: unknown fields gone, empty members left out
or kept as Go's encoder does, quantities and times in their normal spelling, members in Go order.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from labsandbox import quantity
from labsandbox.apiserver.schema import moment
from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.definitions import definition
from labsandbox.apiserver.schema.node import Node

MAX_MESSAGES = 100
PROPS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
RANGES = {"int32": 2**31, "int64": 2**63, "uint8": 2**8, "int": 2**63, "uint16": 2**16}


class DecodeError(ValueError):
    """The object does not fit its Go type; the message is the server's.

    `converted` is what the same mistake is called where a server fills the type from a map it has
    read already (strategic merge patch, server-side apply) and not from the text.
    """

    def __init__(self, message: str, converted: str = "") -> None:
        super().__init__(message)
        self.converted = converted or message


class Decoding:
    """One run: the first type error and every unknown field, in the order of the text."""

    __slots__ = ("converted", "error", "messages", "muted")

    def __init__(self) -> None:
        self.error = ""
        self.converted = ""
        self.messages: list[str] = []
        self.muted = False

    def unknown(self, path: str) -> None:
        message = f'unknown field "{path}"'
        if not self.muted and len(self.messages) < MAX_MESSAGES and message not in self.messages:
            self.messages.append(message)

    def mismatch(self, value: Any, go: str, struct: str, names: str, kind: str = "") -> None:
        if self.error:
            return
        self.converted = _conversion(value, go, kind)
        what = _json_type(value, go)
        where = f"Go struct field {struct}.{names}" if names else "Go value"
        self.error = f"json: cannot unmarshal {what} into {where} of type {go}"

    def fail(self, text: str, converted: str = "") -> None:
        if not self.error:
            self.error, self.converted = text, converted


def _conversion(value: Any, go: str, kind: str) -> str:
    """What Go's converter of maps says of a value that does not fit; "": what the reader says."""
    source = _go_kind(value)
    if kind == types.MAP:
        return f"cannot restore map from {source}"
    if kind in (types.LIST, types.BYTES):
        return f"cannot restore slice from {source}"
    if kind == types.STRUCT:
        return f"cannot restore struct from: {source}"
    if kind == types.STRING and source == "int64":
        return f"cannot convert int64 to {go}"
    if kind == types.INT and source == "float64":
        return f"cannot convert float64 to {go}"
    kinds = {types.STRING: "string", types.BOOL: "bool", types.INT: go, types.FLOAT: "float64"}
    return f"unrecognized type: {kinds[kind]}" if kind in kinds else ""


def _go_kind(value: Any) -> str:
    kinds = {bool: "bool", int: "int64", float: "float64", str: "string", list: "slice"}
    return kinds.get(type(value), "map")


def _json_type(value: Any, go: str = "") -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        numeric = go.rsplit(".", 1)[-1] in (*RANGES, "float64")
        return f"number {number_text(value)}" if numeric else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def number_text(value: float) -> str:
    """A number as its JSON literal most likely was."""
    return str(value) if isinstance(value, int) else repr(value)


def decode(value: Any, node: Node) -> tuple[Any, list[str]]:
    """Decode `value` as a struct of this type; the messages name fields nobody knows."""
    run = Decoding()
    found = _struct(value, node, run, "", "")
    if run.error:
        raise DecodeError(run.error, run.converted)
    return found, run.messages


def _struct(value: dict[str, Any], node: Node, run: Decoding, path: str, names: str) -> Any:
    fields = node.fields
    got: dict[str, Any] = {}
    struct = node.go.rsplit(".", 1)[-1]
    for key, item in value.items():
        field = fields.get(key)
        if field is None:
            run.unknown(f"{path}.{key}" if path else key)
        elif item is not None:
            inner = field.node
            kind = inner.kind
            if kind == types.STRING and type(item) is str:
                got[key] = item
            else:
                below = f"{path}.{key}" if path else key
                named = f"{names}.{key}" if names else key
                found = _any(item, inner, run, below, named, struct)
                if found is not None:
                    got[key] = found
    out: dict[str, Any] = {}
    for name, field in fields.items():
        if name in got:
            found = got[name]
            if found or field.pointer or field.always or name in _KEPT_EMPTY.get(struct, ()):
                out[name] = found
        elif field.always:
            out[name] = None if field.pointer else zero(field.node)
    return out


_KEPT_EMPTY = {"LabelSelectorRequirement": ("values",)}
"""Empty lists that validation shows as they were sent; defaulting drops those it accepts."""


def zero(node: Node) -> Any:
    """What Go writes for a member nobody set."""
    if node.kind == types.STRUCT:
        return _struct({}, node, Decoding(), "", "")
    return ZEROS.get(node.kind)


ZEROS: dict[str, Any] = {
    types.STRING: "",
    types.INT: 0,
    types.FLOAT: 0,
    types.BOOL: False,
    types.QUANTITY: "0",
    types.INT_OR_STRING: 0,
    types.DURATION: "0s",
}


def _any(value: Any, node: Node, run: Decoding, path: str, names: str, struct: str) -> Any:
    """Decode a value that is not null; None when it does not fit (the run has the reason)."""
    kind = node.kind
    if kind == types.STRUCT:
        if isinstance(value, dict):
            return _struct(value, node, run, path, names)
    elif kind == types.LIST:
        if isinstance(value, list):
            return _list(value, node, run, path, names, struct)
    elif kind == types.MAP:
        if isinstance(value, dict):
            return _map(value, node, run, path, names, struct)
    elif kind == types.ANY:
        return _free(value, node, run, path, names)
    else:
        return _scalar(value, node, run, names, struct)
    run.mismatch(value, node.go, struct, names, kind)
    return None


def _list(
    value: list[Any], node: Node, run: Decoding, path: str, names: str, struct: str
) -> list[Any]:
    element = node.element or types.ANYTHING
    out = []
    for index, item in enumerate(value):
        found = None
        if item is not None:
            found = _any(item, element, run, f"{path}[{index}]", names, struct)
        out.append(zero(element) if found is None else found)
    return out


def _map(
    value: dict[str, Any], node: Node, run: Decoding, path: str, names: str, struct: str
) -> dict[str, Any]:
    element = node.element or types.ANYTHING
    out = {}
    for key in sorted(value) if len(value) > 1 else value:
        item = value[key]
        found = None
        if item is not None:
            found = _any(item, element, run, f"{path}.{key}", names, struct)
        out[key] = zero(element) if found is None else found
    return out


def _free(value: Any, node: Node, run: Decoding, path: str, names: str) -> Any:
    """Free-form JSON; the unions of JSONSchemaProps with bool or list are read as that type."""
    if node.definition.endswith(("JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray")):
        muted, run.muted = run.muted, True
        try:
            if isinstance(value, dict):
                return _struct(value, definition(PROPS), run, path, "")
            if isinstance(value, list):
                props = definition(PROPS)
                return [_struct(v, props, run, path, "") for v in value if isinstance(v, dict)]
        finally:
            run.muted = muted
    return value


def _scalar(value: Any, node: Node, run: Decoding, names: str, struct: str) -> Any:
    kind = node.kind
    if kind == types.STRING:
        if isinstance(value, str):
            return value
    elif kind == types.BOOL:
        if isinstance(value, bool):
            return value
    elif kind == types.INT:
        if isinstance(value, int) and not isinstance(value, bool):
            limit = RANGES.get(node.go.rsplit(".", 1)[-1], 2**63)
            if -limit <= value < limit:
                return value
    elif kind == types.FLOAT:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    elif kind == types.INT_OR_STRING:
        return _int_or_string(value, run)
    elif kind == types.QUANTITY:
        return _quantity(value, run)
    elif kind == types.BYTES:
        if isinstance(value, str):
            return _bytes(value, run)
    else:
        return _time(value, kind, run)
    run.mismatch(value, node.go, struct, names, kind)
    return None


def _int_or_string(value: Any, run: Decoding) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31:
        return value
    run.mismatch(value, "int32", "", "")
    return None


def _quantity(value: Any, run: Decoding) -> Any:
    text = value if isinstance(value, str) else number_text(value) if _is_number(value) else "{"
    try:
        return quantity.read(text.strip())
    except quantity.QuantityError as error:
        run.fail(str(error))
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


ALPHABET = re.compile(r"[A-Za-z0-9+/]*", re.ASCII)


def _bytes(value: str, run: Decoding) -> Any:
    text = value.replace("\n", "").replace("\r", "") if "\n" in value or "\r" in value else value
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        text = f"illegal base64 data at input byte {_bad_base64(value)}"
        run.fail(text, f"error decoding from json: {text}")
        return None
    return text


def _bad_base64(text: str) -> int:
    """Where Go's decoder stops."""
    clean = ALPHABET.match(text)
    end = clean.end() if clean is not None else 0
    if end < len(text) and text[end] == "=" and end % 4 >= 2:
        pads = len(text) - len(text.rstrip("="))
        want = 4 - end % 4
        return len(text) if pads < want else end + want
    return end if end < len(text) else end - end % 4


def _time(value: Any, kind: str, run: Decoding) -> Any:
    if not isinstance(value, str):
        run.mismatch(value, "string", "", "")
        return None
    try:
        if kind == types.MICRO_TIME:
            return moment.normal_micro_time(value)
        if kind == types.DURATION:
            moment.read_duration(value)
            return value
        return moment.normal_time(value)
    except moment.TimeError as error:
        run.fail(str(error))
        return None
