"""Load a model's function: `file:function` of a build's folder.

`python -m labapps.workbench.function file:function` loads it once and says what is wrong. A
function with an attribute `example` is called with it once before it serves: what it compiles or
caches at its first call is there then.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labapps.workbench import track

__all__ = ["FunctionError", "load", "warm"]


class FunctionError(Exception):
    """A build has no such function, or it fails with its own example."""


def load(folder: Path, target: str) -> Callable[[Any], Any]:
    """Import the file and return its function; what the import raises is the caller's."""
    file, _, name = target.rpartition(":")
    path = folder / file
    if not path.is_file():
        raise FunctionError(f"Expected the file {file} in the project; there is none.")
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(Path(file).stem, path)
    if spec is None or spec.loader is None:
        raise FunctionError(f"Expected a Python file, such as predict.py; found {file}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        known = [n for n, v in vars(module).items() if callable(v) and v.__module__ == spec.name]
        names = ", ".join(known) or "none"
        raise FunctionError(f"Expected a function {name} in {file}; its functions: {names}.")
    return found  # type: ignore[no-any-return]


def warm(function: Callable[[Any], Any]) -> None:
    """Call a function with its own example; its metrics are nobody's."""
    if not hasattr(function, "example"):
        return
    try:
        with track.call():
            function(function.example)
    except Exception as error:
        raise FunctionError(
            f"The function failed with its own example: {type(error).__name__}: {error}"
        ) from error


if __name__ == "__main__":
    try:
        warm(load(Path(os.getcwd()), sys.argv[1]))
    except FunctionError as problem:
        sys.exit(str(problem))
    print(f"{sys.argv[1]} loads.")
