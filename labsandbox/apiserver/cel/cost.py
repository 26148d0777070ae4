"""What an expression may cost: steps of its evaluation, and the size of what these make.

cel-go counts much alike. # differs: a step here costs a thousand times as much as there, so the
budget is 20,000 for an expression of an admission policy, which is evaluated in the event loop, and
200,000 for all rules of an object. Nothing is estimated beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celpy.evaluation import Evaluator

from labsandbox.apiserver.cel.error import EXCEEDED

MAX_COST = 20_000
MAX_COST_OF_OBJECT = 200_000
MAX_SIZE = 1024 * 1024
"""Characters or items of one value."""


class CostExceeded(Exception):
    """The expression costs too much; no ValueError, which the library takes for a result."""

    def __init__(self) -> None:
        super().__init__(EXCEEDED)


class Meter:
    """What evaluations have cost, and what they may cost together."""

    def __init__(self, limit: int = MAX_COST) -> None:
        self.left = limit

    def charge(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise CostExceeded


class Metered(Evaluator):
    """An evaluator that counts, also inside macros."""

    def __init__(self, ast: Any, activation: Any, meter: Meter | None = None) -> None:
        super().__init__(ast, activation)
        self.meter = meter or Meter()

    def sub_evaluator(self, ast: Any) -> Metered:
        return Metered(ast, self.activation, self.meter)

    def visit_children(self, tree: Any) -> Any:
        self.meter.charge(1)
        return super().visit_children(tree)

    def addition(self, tree: Any) -> Any:
        found = super().addition(tree)
        self.meter.charge(_size(found) // 10)
        return found

    def function_eval(self, name_token: Any, exprlist: Iterable[Any] | None = None) -> Any:
        self._check(str(name_token), list(exprlist) if isinstance(exprlist, list) else [])
        return self._charged(super().function_eval(name_token, exprlist))

    def method_eval(
        self, object: Any, method_ident: Any, exprlist: Iterable[Any] | None = None
    ) -> Any:
        given = list(exprlist) if isinstance(exprlist, list) else []
        self._check(str(method_ident), [object, *given])
        return self._charged(super().method_eval(object, method_ident, exprlist))

    def _check(self, name: str, values: list[Any]) -> None:
        """Charge for what a function reads, and refuse what would get too long."""
        self.meter.charge(sum(map(_size, values)) // 10)
        if name == "replace" and len(values) >= 3 and all(isinstance(v, str) for v in values[:3]):
            text, old, new = map(str, values[:3])
            if len(text) + text.count(old) * len(new) > MAX_SIZE:
                raise CostExceeded
        if name == "join" and values and isinstance(values[0], list):
            separator = _size(values[1]) if len(values) > 1 else 0
            if sum(_size(one) + separator for one in values[0]) > MAX_SIZE:
                raise CostExceeded

    def _charged(self, found: Any) -> Any:
        self.meter.charge(_size(found) // 10)
        return found


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | dict) else 1
