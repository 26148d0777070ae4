"""An image that holds few packages holds all that its programs import."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from labapps import requirements
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

ROOMS = {"labapps", "labdata", "labspark", "labkube"}  # what a lean image copies


def lean() -> list[str]:
    """Return the applications whose images hold packages of the lock by name."""
    found = []
    for file in sorted((ROOT / "catalog").glob("*/image.toml")):
        about = tomllib.loads(file.read_text("utf-8"))
        if "wheels" in about and about["command"][0] == "{python}":
            found.append(file.parent.name)
    return found


def file_of(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def foreign(package: str) -> dict[str, str]:
    """Return what the modules of a package import from elsewhere, and one module that does."""
    folder = ROOT.joinpath(*package.split("."))
    files = (file.relative_to(ROOT).with_suffix("") for file in folder.rglob("*.py"))
    todo = [(".".join(file.parts), "") for file in files]
    seen: set[str] = set()
    found: dict[str, str] = {}
    while todo:
        module, by = todo.pop()
        top = module.partition(".")[0]
        if module in seen or top in sys.stdlib_module_names:
            continue
        seen.add(module)
        if top not in ROOMS:
            found.setdefault(top, by)
        elif (file := file_of(module)) is not None:
            todo += [(name, module) for name in imports(file)]
    return found


@pytest.mark.parametrize("app", lean())
def test_image_holds_what_its_programs_import(app: str) -> None:
    about = tomllib.loads((ROOT / "catalog" / app / "image.toml").read_text("utf-8"))
    pins = list(requirements.pins((ROOT / "requirements.lock").read_text("utf-8")))
    held = {pin.name for pin in requirements.closure(pins, about["wheels"])}
    known = importlib.metadata.packages_distributions()
    for module, by in foreign(about["command"][-1]).items():
        names = {requirements.normal(name) for name in known.get(module, [module])}
        assert names & held, f"{by} imports {module}: add {' or '.join(names)} to {app}/image.toml"


def test_lean_images_are_found_and_their_imports_too() -> None:
    assert {"deployment-engine", "git-server", "mlflow"} <= set(lean())
    assert foreign("labapps.deployment")["aiohttp"] == "labapps.deployment.tracking"
