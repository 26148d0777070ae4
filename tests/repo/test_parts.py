"""What `make setup WORKSHOPS=core` leaves out, no lab of core and mlflow needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from labapps.requirements import closure, normal, pins
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

PROGRAM = """
import importlib, pkgutil, sys
left_out = set(sys.argv[1].split())

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in left_out:
            raise ModuleNotFoundError(f"{name} is left out")

sys.meta_path.insert(0, Refuse())
import labhelpers
for name in labhelpers.__all__:
    getattr(labhelpers, name)
for package in sys.argv[2:]:
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, package + "."):
        importlib.import_module(module.name)
"""


def test_helpers_of_the_labs_import_nothing_that_core_leaves_out() -> None:
    lock = list(pins((ROOT / "requirements.lock").read_text("utf-8")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    core = {pin.name for pin in closure(lock, project["dependencies"])}
    left_out = {
        module
        for module, owners in packages_distributions().items()
        if not {normal(owner) for owner in owners} & core and module.isidentifier()
    } - {"labhelpers", "labspark", "labkube", "labshow", "labdata"}
    assert {"duckdb", "stumpy"} <= left_out
    words = [sys.executable, "-c", PROGRAM, " ".join(left_out), "labhelpers", "labspark", "labkube"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
