"""The difference of two claim specs, letter for letter as Go's cmp.Diff prints it.

go-cmp shows up to two unchanged fields around a change and counts the others; keys of neighbouring
one-line fields are aligned. Only the shapes a claim has are known here: text, pointers to text,
lists of text, amounts, selectors and references.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

from labsandbox.apiserver.validation.goprint import quote
from labsandbox.quantity import NANO, parse

Json = dict[str, Any]
CONTEXT = 2
WIDEST = 80


@dataclass(frozen=True)
class Line:
    """One record: its sign, its key, and its value on one line or on several."""

    sign: str
    key: str
    value: str | list[Line]
    head: str = ""


def claim_diff(before: Json, after: Json) -> str:
    """What changed in a core.PersistentVolumeClaimSpec."""
    rows = [(name, kind, before.get(key), after.get(key)) for key, name, kind in FIELDS]
    lines = _struct(rows)
    return f"  core.PersistentVolumeClaimSpec{{\n{_write(lines, 1)}  }}\n"


def _struct(rows: list[tuple[str, Kind, Any, Any]]) -> list[Line]:
    changed = [old != new for _, _, old, new in rows]
    found: list[Line] = []
    for begin, end in _groups(changed):
        if changed[begin]:
            for name, kind, old, new in rows[begin:end]:
                found += kind.differ(name, old, new)
            continue
        same = [Line(" ", name, kind.same(old)) for name, kind, old, _ in rows[begin:end]]
        found += _coalesce(same, begin == 0, end == len(rows), "field")
    return found


def _groups(changed: list[bool]) -> list[tuple[int, int]]:
    edges = [0, *(i for i in range(1, len(changed)) if changed[i] != changed[i - 1]), len(changed)]
    return list(pairwise(edges))


def _coalesce(same: list[Line], is_first: bool, is_last: bool, what: str) -> list[Line]:
    """Unchanged records: the nearest ones, and a count of the others."""
    low = 0 if is_first else min(CONTEXT, len(same))
    high = 0 if is_last else min(CONTEXT, len(same) - low)
    hidden = len(same) - low - high
    if hidden == 1:
        high, hidden = high + 1, 0
    rest = [Line(" ", "", f"... // {hidden} identical {what}s")] if hidden else []
    return [*same[:low], *rest, *same[len(same) - high :]]


def _write(lines: list[Line], depth: int, sign: str = "") -> str:
    tab = "\t" * depth
    widths = _widths(lines)
    out = []
    for line, width in zip(lines, widths, strict=True):
        mark = sign or line.sign
        key = f"{line.key}: " if line.key else ""
        if isinstance(line.value, str):
            comma = "" if line.value.startswith("... //") else ","
            out.append(f"{mark} {tab}{key.ljust(width)}{line.value}{comma}\n")
        else:
            inner = _write(line.value, depth + 1, sign or line.sign.strip())
            out.append(f"{mark} {tab}{key}{line.head}{{\n{inner}{mark} {tab}}},\n")
    return "".join(out)


def _widths(lines: list[Line]) -> list[int]:
    """How far the values of neighbouring one-line records are indented."""
    found = [0] * len(lines)
    begin = 0
    while begin < len(lines):
        end = begin
        while end < len(lines) and lines[end].key and isinstance(lines[end].value, str):
            end += 1
        widest = max((len(line.key) + 2 for line in lines[begin:end]), default=0)
        found[begin:end] = [widest] * (end - begin)
        begin = max(end, begin + 1)
    return found


@dataclass(frozen=True)
class Kind:
    """How values of a type are shown: unchanged, removed or added, and changed."""

    same: Callable[[Any], str]
    whole: Callable[[Any], str | list[Line]]
    head: str = ""

    def differ(self, name: str, old: Any, new: Any) -> list[Line]:
        if self.head == MODES and old and new and (len(old) > 1 or len(new) > 1):
            return [Line(" ", name, _list(old, new), MODES)]
        if self.head == RESOURCES:
            return [Line(" ", name, _resources(old or {}, new or {}), RESOURCES)]
        return [
            Line(sign, name, self.whole(value), self.head)
            for sign, value in (("-", old), ("+", new))
        ]


def _list(old: list[str], new: list[str]) -> list[Line]:
    found: list[Line] = []
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for at, (step, first, last, begin, end) in enumerate(steps):
        if step == "equal":
            same = [Line(" ", "", quote(value)) for value in old[first:last]]
            found += _coalesce(same, at == 0, at == len(steps) - 1, "element")
            continue
        found += [Line("-", "", quote(value)) for value in old[first:last]]
        found += [Line("+", "", quote(value)) for value in new[begin:end]]
    return found


def _resources(old: Json, new: Json) -> list[Line]:
    rows = [(name, AMOUNTS_KIND, old.get(key), new.get(key)) for key, name in _AMOUNTS]
    return _struct(rows)


def _text(value: str | None) -> str:
    return quote(value or "")


def _pointer(value: str | None) -> str:
    return "nil" if value is None else f"&{quote(value)}"


def _modes(value: list[str] | None) -> str:
    return "nil" if not value else f"{{{', '.join(quote(item) for item in value)}}}"


def _typed_modes(value: list[str] | None) -> str:
    return "nil" if not value else MODES + _modes(value)


def _amount(text: str) -> str:
    return f's: {quote(text)}, Format: "{_format(text)}"'


def _format(text: str) -> str:
    notation = parse(text).notation
    return {"binary": "BinarySI", "exponent": "DecimalExponent"}.get(notation, "DecimalSI")


def _amounts(value: Json | None) -> str:
    if not value:
        return "nil"
    rows = (f"s{quote(name)}: {{i: {{...}}, {_amount(value[name])}}}" for name in sorted(value))
    return f"{{{', '.join(rows)}}}"


def _long_amounts(value: Json | None) -> str | list[Line]:
    if not value:
        return "nil"
    rows = []
    for name in sorted(value):
        amount = parse(value[name])
        inner = f"value: {amount.nano // NANO}"
        if amount.nano % NANO:
            inner = f"value: {amount.milli}, scale: -3"
        shown = f"{{i: resource.int64Amount{{{inner}}}, {_amount(value[name])}}}"
        rows.append(Line(" ", f"s{quote(name)}", shown))
    flat = ", ".join(f"{row.key}: {row.value}" for row in rows)
    return rows if len(flat) > WIDEST else f"{AMOUNTS}{{{flat}}}"


def _all_amounts(value: Json | None) -> str:
    shown = (
        f"{name}: {_amounts((value or {})[key])}"
        for key, name in _AMOUNTS
        if (value or {}).get(key)
    )
    return f"{{{', '.join(shown)}}}"


def _selector(value: Json | None) -> str:
    if value is None:
        return "nil"
    labels = value.get("matchLabels") or {}
    pairs = "".join(f"{key}: {labels[key]}," for key in sorted(labels))
    rows = "".join(
        f"LabelSelectorRequirement{{Key:{row.get('key', '')},Operator:{row.get('operator', '')},"
        f"Values:[{' '.join(row.get('values') or [])}],}},"
        for row in value.get("matchExpressions") or ()
    )
    text = (
        f"&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{rows}}},}}"
    )
    return f"s{quote(text)}"


def _reference(kind: str) -> Callable[[Any], str]:
    def show(value: Json | None) -> str:
        if value is None:
            return "nil"
        parts = []
        if value.get("apiGroup") is not None:
            parts.append(f"APIGroup: {_pointer(value['apiGroup'])}")
        parts += [
            f"{name}: {quote(value[key])}"
            for key, name in (("kind", "Kind"), ("name", "Name"))
            if value.get(key)
        ]
        if value.get("namespace") is not None:
            parts.append(f"Namespace: {_pointer(value['namespace'])}")
        return f"&{kind}{{{', '.join(parts)}}}"

    return show


MODES = "[]core.PersistentVolumeAccessMode"
RESOURCES = "core.VolumeResourceRequirements"
AMOUNTS = "core.ResourceList"
_AMOUNTS = (("limits", "Limits"), ("requests", "Requests"))
AMOUNTS_KIND = Kind(_amounts, _long_amounts, AMOUNTS)
POINTER = Kind(_pointer, _pointer)
FIELDS: tuple[tuple[str, str, Kind], ...] = (
    ("accessModes", "AccessModes", Kind(_modes, _typed_modes, MODES)),
    ("selector", "Selector", Kind(_selector, _selector)),
    ("resources", "Resources", Kind(_all_amounts, _all_amounts, RESOURCES)),
    ("volumeName", "VolumeName", Kind(_text, _text)),
    ("storageClassName", "StorageClassName", POINTER),
    ("volumeMode", "VolumeMode", POINTER),
    (
        "dataSource",
        "DataSource",
        Kind(_reference(""), _reference("core.TypedLocalObjectReference")),
    ),
    (
        "dataSourceRef",
        "DataSourceRef",
        Kind(_reference(""), _reference("core.TypedObjectReference")),
    ),
    ("volumeAttributesClassName", "VolumeAttributesClassName", POINTER),
)
