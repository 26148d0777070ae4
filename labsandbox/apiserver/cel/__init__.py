"""Kubernetes' flavour of CEL, on the library cel-python.

`compile(text)` parses once; `Program.evaluate(vars)` takes and gives plain JSON values. The library
costs half a second and 23 MB, so it is loaded when the first rule is compiled and never before.
# differs: there is no cost budget (rules run on objects of at most 3 MB and expressions cannot
loop for ever), and types are checked when a rule runs, fields declared in a schema when it is
compiled.
"""

from labsandbox.apiserver.cel.program import CelError, Program, compile

__all__ = ["CelError", "Program", "compile"]
