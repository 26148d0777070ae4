"""Prints values as Go prints them in messages: `%#v`, `%q`, `%v`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


@dataclass(frozen=True)
class Raw:
    """A value whose Go text is already known."""

    text: str


def quote(text: str) -> str:
    """`%q`: quoted and escaped as strconv.Quote does it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char in ESCAPES:
        return ESCAPES[char]
    if char == " " or char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def value_text(value: Any) -> str:
    """The bad value inside a field error."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Raw):
        return value.text
    if value is None:
        return '"null"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    return go_syntax(value)


def number(value: float) -> str:
    """A float as `%v` prints it."""
    if isinstance(value, int):
        return str(value)
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        sign = exponent[0] if exponent[0] in "+-" else "+"
        return f"{mantissa}e{sign}{exponent.lstrip('+-').zfill(2)}"
    return text


def go_syntax(value: Any) -> str:
    """Free-form JSON as `%#v` prints it."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        inner = ", ".join(f"{quote(key)}:{go_syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    return f"[]interface {{}}{{{', '.join(go_syntax(item) for item in value)}}}"


def strings(values: list[str] | tuple[str, ...] | None) -> Raw:
    """`[]string{"a", "b"}`."""
    if values is None:
        return Raw("[]string(nil)")
    return Raw(f"[]string{{{', '.join(quote(item) for item in values)}}}")


def string_map(values: dict[str, str] | None) -> Raw:
    """`map[string]string{"a":"b"}`."""
    return Raw(string_map_text(values))


def string_map_text(values: dict[str, str] | None) -> str:
    if values is None:
        return "map[string]string(nil)"
    inner = ", ".join(f"{quote(key)}:{quote(values[key])}" for key in sorted(values))
    return f"map[string]string{{{inner}}}"


def plain(value: Any) -> str:
    """`%v`: maps as `map[a:1 b:2]`, lists as `[1 2]`, strings bare."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{plain(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(plain(item) for item in value)}]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, float) else str(value)


def label_selector(selector: dict[str, Any] | None) -> Raw:
    """A metav1.LabelSelector as `%#v` prints it."""
    if selector is None:
        return Raw('"null"')
    labels = string_map_text(selector.get("matchLabels"))
    expressions = selector.get("matchExpressions")
    if expressions is None:
        shown = "[]v1.LabelSelectorRequirement(nil)"
    else:
        rows = ", ".join(_requirement(row) for row in expressions)
        shown = f"[]v1.LabelSelectorRequirement{{{rows}}}"
    return Raw(f"v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:{shown}}}")


def _requirement(row: dict[str, Any]) -> str:
    return (
        f"v1.LabelSelectorRequirement{{Key:{quote(row.get('key', ''))}, "
        f"Operator:{quote(row.get('operator', ''))}, Values:{strings(row.get('values')).text}}}"
    )
