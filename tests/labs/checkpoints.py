"""A lab's checkpoints without its kernel: what each of them says where nothing was made.

A lab's imports, parameters and functions are run as they stand in its source. The names its other
cells would have made come from the test. Two kinds of checkpoints are told apart:

- one that looks at the platform must fail on an empty one although every name still holds what
  a good run left there: a checkpoint that believes a variable of the cell above is found;
- one that judges what the learner has just measured (a refusal, an answer, a latency) must fail
  when the step was not run: each name then stands for nothing, and the condition itself must say
  no rather than break.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from labhelpers.check import CheckFailed

__all__ = ["Checkpoint", "Nothing", "checkpoints", "foundations", "looks", "measures"]

_KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AnnAssign)


class Nothing:
    """What a name stands for when its cell was not run: empty, equal to nothing, never true."""

    def _no(self, *_: object) -> bool:
        return False

    def _nothing(self, *_: object, **__: object) -> Nothing:
        return self

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _no
    __call__ = __getitem__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _nothing
    __add__ = __radd__ = __truediv__ = __rtruediv__ = __and__ = __rand__ = __abs__ = _nothing
    __hash__ = object.__hash__

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __format__(self, _: str) -> str:
        return "nothing"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array([np.nan])


@dataclass(frozen=True)
class Checkpoint:
    """One `check(…)` call of a lab."""

    lab: str
    call: ast.Call

    @property
    def name(self) -> str:
        """Return what it says of itself."""
        return str(ast.literal_eval(self.call.args[0]))

    @property
    def names(self) -> set[str]:
        """Return the names it reads."""
        return {node.id for node in ast.walk(self.call) if isinstance(node, ast.Name)}

    def run(self, names: dict[str, Any]) -> None:
        """Do what its cell does."""
        eval(compile(ast.Expression(self.call), f"<{self.lab}>", "eval"), names)

    def condition(self, names: dict[str, Any]) -> object:
        """Return what its condition says."""
        made = eval(compile(ast.Expression(self.call.args[1]), f"<{self.lab}>", "eval"), names)
        return made() if callable(made) and not isinstance(made, Nothing) else made

    def hints(self, names: dict[str, Any]) -> list[str]:
        """Return its hints, the first one first."""
        written = [word.value for word in self.call.keywords if word.arg == "hint"]
        assert written, f"{self.name!r} has no hint"
        hint = eval(compile(ast.Expression(written[0]), f"<{self.lab}>", "eval"), names)
        return [hint] if isinstance(hint, str) else list(hint)


def checkpoints(lab: str, source: str) -> list[Checkpoint]:
    """Return a lab's checkpoints, top to bottom."""
    return [
        Checkpoint(lab, node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "check"
    ]


def foundations(source: str) -> dict[str, Any]:
    """Run a lab's imports, parameters and functions; return the names they make."""
    names: dict[str, Any] = {}
    kept: list[ast.stmt] = [node for node in ast.parse(source).body if isinstance(node, _KEPT)]
    exec(compile(ast.Module(kept, []), "<lab>", "exec"), names)
    return names


def looks(checkpoint: Checkpoint, names: dict[str, Any]) -> None:
    """Assert that a checkpoint fails on an empty platform, with one hint after the other."""
    hints = checkpoint.hints(names)
    assert all(hints), f"{checkpoint.name!r} has an empty hint"
    assert len(set(hints)) == len(hints), f"{checkpoint.name!r} says the same twice"
    for turn in range(3):
        try:
            checkpoint.run(names)
        except CheckFailed as failed:
            error = failed
        else:
            raise AssertionError(f"{checkpoint.name!r} passes where nothing is")
        broken = error.__cause__
        assert not isinstance(broken, NameError), f"{checkpoint.name!r} was not looked at: {broken}"
        wanted = hints[min(turn, len(hints) - 1)]
        assert error.record["hint"] == wanted
        assert str(error).endswith(wanted.strip()), str(error)


def measures(checkpoint: Checkpoint, names: dict[str, Any], made: set[str]) -> None:
    """Assert that a checkpoint fails when its step was not run: the condition itself says no."""
    names.update({name: Nothing() for name in made})  # in place: a lab's functions read them too
    said = checkpoint.condition(names)
    assert not said, f"{checkpoint.name!r} passes when its step was not run"
    looks(checkpoint, names)
