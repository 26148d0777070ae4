"""No module imports itself by way of others, not even inside a function or for types alone."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests.repo.tree import ROOMS

pytestmark = pytest.mark.fast


def circle(packages: list[str]) -> list[str]:
    """Return the modules of a circle of imports, or nothing when there is none."""
    graph = grimp.build_graph(*packages, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_packages_have_no_circle_of_imports() -> None:
    assert circle([room.strip("/") for room in ROOMS]) == []


@pytest.mark.parametrize(
    "line",
    ["import round.second", "def f():\n    from round import second\n",
     "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import round.second\n"],
    ids=["top", "function", "types"],
)  # fmt: skip
def test_circle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    package = tmp_path / "round"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text(line)
    (package / "second.py").write_text("import round.first\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert set(circle(["round"])) == {"round.first", "round.second"}
