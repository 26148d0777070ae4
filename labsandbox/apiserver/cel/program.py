"""Compiled expressions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from labsandbox.apiserver.cel.error import EXCEEDED, CelError, pointed

Json = dict[str, Any]
MAX_LENGTH = 10_000
"""# differs: cel-go reads 100,000 characters, in a hundredth of the time."""
MAX_DEPTH = 100
_STRINGS = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


class Program:
    """A compiled expression."""

    def __init__(self, text: str, tree: Any, runner: Any) -> None:
        self.text = text
        self.tree = tree
        self._runner = runner

    def mentions(self, name: str) -> bool:
        """Does the expression use this variable?"""
        from labsandbox.apiserver.cel.checks import identifiers

        return any(str(token) == name for token in identifiers(self.tree))

    def evaluate(self, variables: Json) -> Any:
        """The value for these variables; JSON in, JSON out. CelError when it has none."""
        from labsandbox.apiserver.cel.values import to_cel

        return self.evaluate_values({name: to_cel(value) for name, value in variables.items()})

    def evaluate_values(self, variables: Json, meter: Any = None) -> Any:
        """Like `evaluate`, for variables that are CEL values already (see `values.to_cel`).

        `meter` counts the cost of several evaluations together (see `cost.Meter`).
        """

        from celpy.evaluation import CELEvalError

        from labsandbox.apiserver.cel.cost import CostExceeded, Metered
        from labsandbox.apiserver.cel.values import from_cel

        try:
            found = Metered(self._runner.ast, self._runner.new_activation(), meter).evaluate(
                variables
            )
        except (CostExceeded, RecursionError) as error:
            raise CelError(EXCEEDED) from error
        except CELEvalError as error:
            raise CelError(_runtime_message(error)) from error
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise CelError(str(error)) from error
        if isinstance(found, CELEvalError):
            raise CelError(_runtime_message(found))
        return from_cel(found)


def _runtime_message(error: Exception) -> str:
    text = str(error.args[0]) if error.args else str(error)
    if text.startswith("no such member in mapping: "):
        return "no such key: " + text.partition(": ")[2].strip("'\"")
    if text.startswith("found no matching overload"):
        return "no such overload"
    if "divide by zero" in text:
        return "division by zero"
    if text.startswith("undeclared reference to "):
        name = text.split("'")[1]
        return f"no such attribute(s): {name}"
    if len(error.args) > 1 and error.args[1] is IndexError:
        # differs: the number is known only when the expression spells it.
        spelled = re.search(r"tree='.*\[(-?\d+)\]'\)$", repr(error))
        return f"index out of bounds: {spelled[1]}" if spelled else "index out of bounds"
    return text


@lru_cache(maxsize=1)
def _environment() -> Any:
    import celpy

    return celpy.Environment()


@lru_cache(maxsize=512)
def compile(text: str) -> Program:
    """Parse an expression."""
    from celpy.celparser import CELParseError

    from labsandbox.apiserver.cel.functions import FUNCTIONS

    _check_size(text)
    environment = _environment()
    try:
        tree = environment.compile(text)
    except CELParseError as error:
        raise CelError(_parse_message(text, error)) from error
    except RecursionError as error:
        raise CelError("expression recursion limit exceeded: 250") from error
    return Program(text, tree, environment.program(tree, functions=FUNCTIONS))


def _check_size(text: str) -> None:
    """Refuse an expression that takes long to read: a long one, or one that is nested deep."""
    if len(text) > MAX_LENGTH:
        says = f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_LENGTH}"
        raise CelError(f"ERROR: <input>:1:1: {says}")
    depth = deepest = 0
    for char in _STRINGS.sub("", text):
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    if deepest > MAX_DEPTH:
        raise CelError(f"ERROR: <input>:1:1: expression recursion limit exceeded: {MAX_DEPTH}")


def _parse_message(text: str, error: Any) -> str:
    line = getattr(error, "line", None) or 1
    column = getattr(error, "column", None) or 1
    lines = text.splitlines() or [""]
    shown = lines[min(line, len(lines)) - 1]
    at = shown[column - 1 : column] if column <= len(shown) else "<EOF>"
    return pointed(text, line, column, f"Syntax error: unexpected '{at}'")
