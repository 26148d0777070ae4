"""What a lab imports is small, and every name of it is there and has a sentence."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

import labhelpers
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast
MOST_LINES = 1300


@pytest.mark.parametrize("name", labhelpers.__all__)
def test_exported_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(labhelpers, name)
    assert inspect.getdoc(found), f"{name} has no sentence"
    assert name not in vars(labhelpers) or inspect.ismodule(found), "it is looked up when used"


def test_exported_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse((ROOT / "labhelpers" / "__init__.py").read_text())
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    } - {"TYPE_CHECKING", "Any"}
    assert sorted(labhelpers.__all__, key=str.casefold) == sorted(seen, key=str.casefold)
    assert len(labhelpers.__all__) <= 19


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(labhelpers, "nothing")  # noqa: B009


def test_importing_loads_no_client_no_spark_and_no_plots() -> None:
    code = (
        "import sys; from labhelpers import begin, check, settings, wait; "
        "print([name for name in ('kubernetes', 'pyspark', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_room_can_be_read_in_one_sitting() -> None:
    files = list((ROOT / "labhelpers").rglob("*.py"))
    assert files
    assert sum(len(file.read_text().splitlines()) for file in files) <= MOST_LINES
