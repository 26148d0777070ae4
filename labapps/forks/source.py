"""Compile a learner's script so that container paths mean the same on a laptop.

Published scripts open `/bd-fs-mnt/project_repo/…`. In a container this is a mount. On a laptop
the constants that begin with it are rewritten to `$PROJECT_REPO` at compile time; nothing of the
running interpreter is patched.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from types import CodeType

__all__ = ["compile_source", "functions", "importable", "imports"]


class _Paths(ast.NodeTransformer):
    def __init__(self, mappings: Mapping[str, str]) -> None:
        self.mappings = mappings

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str):
            for prefix, real in self.mappings.items():
                if node.value == prefix or node.value.startswith(prefix + "/"):
                    new = ast.Constant(real + node.value[len(prefix) :])
                    return ast.copy_location(new, node)
        return node


def compile_source(text: str | bytes, name: str, mappings: Mapping[str, str]) -> CodeType:
    """Compile a script; raise SyntaxError with its line when it has a mistake."""
    tree = ast.parse(text, name)
    if mappings:
        tree = _Paths(mappings).visit(tree)
    return compile(tree, name, "exec", dont_inherit=True)


def functions(text: str | bytes, name: str = "<script>") -> set[str]:
    """Return the names of the functions a script defines at its top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {n.name for n in ast.parse(text, name).body if isinstance(n, kinds)}


def imports(text: str | bytes, name: str = "<script>") -> list[str]:
    """Return the modules a script imports, in order.

    >>> imports("import json, os.path\\nfrom pathlib import Path\\nfrom . import beside")
    ['json', 'os.path', 'pathlib']
    """
    found: dict[str, None] = {}
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.Import):
            found.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found[node.module] = None
    return list(found)


def importable(module: str) -> bool:
    """Tell whether a module is installed here (not merely beside a script)."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False
