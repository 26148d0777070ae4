"""x-kubernetes-validations: CEL rules inside the schema of a custom kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.cel import CelError, Program
from labsandbox.apiserver.cel import compile as compile_cel
from labsandbox.apiserver.crd.structural import additional
from labsandbox.apiserver.crd.values import NOTHING, correlate
from labsandbox.apiserver.validation.errors import (
    DUPLICATE,
    FORBIDDEN,
    INVALID,
    REQUIRED,
    FieldError,
    invalid,
)

if TYPE_CHECKING:
    from labsandbox.apiserver.cel.cost import Meter

Json = dict[str, Any]
REASONS = {
    "FieldValueRequired": REQUIRED,
    "FieldValueForbidden": FORBIDDEN,
    "FieldValueDuplicate": DUPLICATE,
    "FieldValueInvalid": INVALID,
}


def with_metadata(schema: Json) -> Json:
    """The root of an object as rules see it: of metadata only the names."""
    text = {"type": "string"}
    properties = {
        **(schema.get("properties") or {}),
        "apiVersion": text,
        "kind": text,
        "metadata": {"type": "object", "properties": {"name": text, "generateName": text}},
    }
    return {**schema, "type": "object", "properties": properties}


class Rule:
    """One rule, compiled."""

    def __init__(self, row: Json) -> None:
        self.text: str = row.get("rule", "")
        self.message: str = (row.get("message") or "").strip()
        self.reason: str = row.get("reason") or "FieldValueInvalid"
        self.path: str = row.get("fieldPath") or ""
        self.optional_old: bool = bool(row.get("optionalOldSelf"))
        self.error = ""
        self.program: Program | None = None
        self.says: Program | None = None
        try:
            self.program = compile_cel(self.text)
            if row.get("messageExpression"):
                self.says = compile_cel(row["messageExpression"])
        except CelError as error:
            self.error = str(error)
        self.uses_old = self.program is not None and self.program.mentions("oldSelf")

    @property
    def default_message(self) -> str:
        return self.message or f"failed rule: {' '.join(self.text.split())}"

    def _shown(self) -> str:
        return f"message: {self.message!r}, rule: {self.text}" if self.message else self.text


class Rules:
    """All rules of a schema, in the order they are run."""

    def __init__(self, schema: Json) -> None:
        self.schema = with_metadata(schema)
        self._compiled: dict[int, list[Rule]] = {}

    def _of(self, schema: Json) -> list[Rule]:
        rows = schema.get("x-kubernetes-validations")
        if not rows:
            return []
        found = self._compiled.get(id(rows))
        if found is None:
            found = self._compiled[id(rows)] = [Rule(row) for row in rows]
        return found

    def check(self, new: Json, old: Json | None) -> list[FieldError]:
        """The rules that `new` breaks; `old` is the stored object of an update."""
        before = NOTHING if old is None else old
        from labsandbox.apiserver.cel.cost import MAX_COST_OF_OBJECT, Meter

        return self._walk(new, before, self.schema, "", Meter(MAX_COST_OF_OBJECT))

    def _walk(
        self, value: Any, old: Any, schema: Json, path: str, meter: Meter
    ) -> list[FieldError]:
        found: list[FieldError] = []
        if value is not None:
            for rule in self._of(schema):
                found += _run(rule, value, old, schema, path, meter)
        if isinstance(value, dict):
            properties, more = schema.get("properties") or {}, additional(schema)
            before = old if isinstance(old, dict) else {}
            for key, item in value.items():
                below = properties.get(key)
                where = f"{path}.{key}" if path else key
                if below is None and isinstance(more, dict):
                    below, where = more, f"{path}[{key}]"
                if below is not None and _has_rules(below):
                    found += self._walk(item, before.get(key, NOTHING), below, where, meter)
        elif isinstance(value, list) and isinstance(schema.get("items"), dict):
            items = schema["items"]
            if _has_rules(items):
                before_items = correlate(value, old, schema)
                for index, item in enumerate(value):
                    where = f"{path}[{index}]"
                    found += self._walk(item, before_items[index], items, where, meter)
        return found


def _run(
    rule: Rule, value: Any, old: Any, schema: Json, path: str, meter: Meter
) -> list[FieldError]:
    from labsandbox.apiserver.cel.values import to_cel

    field, kind = path or "<nil>", schema.get("type", "")
    if rule.program is None:
        return [invalid(field, kind, f"rule compile error: compilation failed: {rule.error}")]
    if rule.uses_old and old is NOTHING and not rule.optional_old:
        return []
    if old is not NOTHING and not rule.uses_old and old == value:
        return []
    variables = {"self": to_cel(value, schema)}
    if rule.uses_old:
        variables["oldSelf"] = _old(old, schema) if rule.optional_old else to_cel(old, schema)
    try:
        is_met = rule.program.evaluate_values(variables, meter)
    except CelError as error:
        said = str(error)
        if said.startswith("no such overload"):
            detail = (
                f"'{said}': call arguments did not match a supported operator, function or macro "
                f"signature for rule: {rule._shown()}"
            )
        else:
            detail = f"{said} evaluating rule: {rule._shown()}"
        return [invalid(field, kind, detail)]
    if is_met is True:
        return []
    where = f"{path}{rule.path}" if path else rule.path.removeprefix(".")
    type_of_error = REASONS.get(rule.reason, INVALID)
    return [FieldError(type_of_error, where or "<nil>", kind, _message(rule, variables, meter))]


def _old(old: Any, schema: Json) -> Any:
    """oldSelf as an optional value: `hasValue()`, `value()`, `orValue(x)`."""
    from labsandbox.apiserver.cel.optional import Optional
    from labsandbox.apiserver.cel.values import to_cel

    return Optional(None, False) if old is NOTHING else Optional(to_cel(old, schema), True)


def _message(rule: Rule, variables: Json, meter: Meter) -> str:
    if rule.says is not None:
        try:
            found = rule.says.evaluate_values(variables, meter)
        except CelError:
            return rule.default_message
        if isinstance(found, str) and found.strip() and "\n" not in found:
            return found.strip()
    return rule.default_message


def _has_rules(schema: Json) -> bool:
    if schema.get("x-kubernetes-validations"):
        return True
    inner = [*(schema.get("properties") or {}).values(), schema.get("items"), additional(schema)]
    return any(_has_rules(found) for found in inner if isinstance(found, dict))


def compile_rules(schema: Json) -> Rules | None:
    """The rules of a schema; None when it has none, so that CEL is not loaded."""
    return Rules(schema) if _has_rules(schema) else None
