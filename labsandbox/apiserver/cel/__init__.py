"""Kubernetes' flavour of CEL, on the library cel-python.

`compile(text)` parses once; `Program.evaluate(vars)` takes and gives plain JSON values. The library
costs half a second and 23 MB, so it is loaded when the first rule is compiled and never before.
# differs: types are checked when a rule runs, fields declared in a schema when it is compiled; the
cost of an expression is counted while it runs, not estimated before (see `cost`).
"""

from labsandbox.apiserver.cel.error import CelError
from labsandbox.apiserver.cel.program import Program, compile

__all__ = ["CelError", "Program", "compile"]
