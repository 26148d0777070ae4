"""The versions of a definition as Go's `%#v` prints them."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation.goprint import Raw, quote

Json = dict[str, Any]
POINTER = "0xc000000000"
GO = "apiextensions."


def _pointer(kind: str, value: Any) -> str:
    return f"(*{kind})({'nil' if value is None else POINTER})"


def versions_text(versions: list[Json], shared: Json) -> Raw:
    """`[]apiextensions.CustomResourceDefinitionVersion{…}`, without what is shared."""
    rows = ", ".join(_version(row, shared) for row in versions)
    return Raw(f"[]{GO}CustomResourceDefinitionVersion{{{rows}}}")


def _version(row: Json, shared: Json) -> str:
    def own(name: str) -> Any:
        return None if name in shared else row.get(name)

    columns = _list("CustomResourceColumnDefinition", own("additionalPrinterColumns"), _column)
    fields = _list("SelectableField", own("selectableFields"), _selectable)
    return (
        f"{GO}CustomResourceDefinitionVersion{{Name:{quote(row.get('name', ''))}, "
        f"Served:{_bool(row.get('served'))}, Storage:{_bool(row.get('storage'))}, "
        f"Deprecated:{_bool(row.get('deprecated'))}, "
        f"DeprecationWarning:{_pointer('string', row.get('deprecationWarning'))}, "
        f"Schema:{_pointer(GO + 'CustomResourceValidation', own('schema'))}, "
        f"Subresources:{_pointer(GO + 'CustomResourceSubresources', own('subresources'))}, "
        f"AdditionalPrinterColumns:{columns}, SelectableFields:{fields}}}"
    )


def _bool(value: Any) -> str:
    return "true" if value else "false"


def _list(kind: str, rows: list[Json] | None, show: Any) -> str:
    if not rows:
        return f"[]{GO}{kind}(nil)"
    return f"[]{GO}{kind}{{{', '.join(show(row) for row in rows)}}}"


def _column(row: Json) -> str:
    return (
        f"{GO}CustomResourceColumnDefinition{{Name:{quote(row.get('name', ''))}, "
        f"Type:{quote(row.get('type', ''))}, Format:{quote(row.get('format', ''))}, "
        f"Description:{quote(row.get('description', ''))}, Priority:{row.get('priority', 0)}, "
        f"JSONPath:{quote(row.get('jsonPath', ''))}}}"
    )


def _selectable(row: Json) -> str:
    return f"{GO}SelectableField{{JSONPath:{quote(row.get('jsonPath', ''))}}}"


def rule_text(rule: Json) -> Raw:
    """`apiextensions.ValidationRule{…}`."""
    return Raw(
        f"{GO}ValidationRule{{Rule:{quote(rule.get('rule', ''))}, "
        f"Message:{quote(rule.get('message', ''))}, "
        f"MessageExpression:{quote(rule.get('messageExpression', ''))}, "
        f"Reason:{_pointer(GO + 'FieldValueErrorReason', rule.get('reason'))}, "
        f"FieldPath:{quote(rule.get('fieldPath', ''))}, "
        f"OptionalOldSelf:{_pointer('bool', rule.get('optionalOldSelf'))}}}"
    )
