"""A lab's checkpoints without its kernel: what each of them says where nothing was made.

A lab's imports, parameters and functions are run as they stand in its source. The names its other
cells would have made come from the test, and hold what a good run left there. A checkpoint looks at
the platform, so it must fail on an empty one all the same: one that believes a variable of the
cell above is found.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from labhelpers.checkpoint import CheckFailed

__all__ = ["HINTS", "Checkpoint", "checkpoints", "foundations", "looks"]

HINTS = 3  # where to look; what is usually wrong, with the command to see it; what to type

_KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AnnAssign)


@dataclass(frozen=True)
class Checkpoint:
    """One `check(…)` call of a lab."""

    lab: str
    call: ast.Call

    @property
    def name(self) -> str:
        """Return what it says of itself."""
        return str(ast.literal_eval(self.call.args[0]))

    def run(self, names: dict[str, Any]) -> None:
        """Do what its cell does."""
        eval(compile(ast.Expression(self.call), f"<{self.lab}>", "eval"), names)

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
    """Assert that a checkpoint fails on an empty platform, each time with its next hint."""
    hints = checkpoint.hints(names)
    assert all(hints), f"{checkpoint.name!r} has an empty hint"
    assert len(set(hints)) == len(hints), f"{checkpoint.name!r} says the same twice"
    assert len(hints) == HINTS, f"{checkpoint.name!r} has {len(hints)} hints, not {HINTS}"
    for wanted in (*hints, hints[-1]):
        try:
            checkpoint.run(names)
        except CheckFailed as failed:
            error = failed
        else:
            raise AssertionError(f"{checkpoint.name!r} passes where nothing is")
        broken = error.__cause__
        assert not isinstance(broken, NameError | TypeError | AttributeError), (
            f"{checkpoint.name!r} was not looked at: {broken}"
        )
        assert error.record["hint"] == wanted
        assert str(error).endswith(wanted.strip()), str(error)
