"""Who may import whom, proved on the packages and on a package that breaks it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

LINT = str(Path(sys.executable).with_name("lint-imports"))
ROOMS = ("apiserver", "controllers", "kubedirector", "node", "ezmeral", "gateway", "client")
BROKEN = {
    "labhelpers/bad.py": ("import labsandbox", "joined by HTTPS"),
    "labrunner/bad.py": ("import labsandbox.cli", "starts the sandbox as a program"),
    "labapps/bad.py": ("import labrunner", "Nothing imports the runner"),
    "labsandbox/gateway/bad.py": ("import labsandbox.node", "clients of the API"),
    "labsandbox/client/bad.py": ("import labsandbox.apiserver", "The client is a leaf"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    return subprocess.run(
        [LINT, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_packages_keep_the_contracts() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", BROKEN)
def test_forbidden_import_breaks_a_contract(tmp_path: Path, path: str) -> None:
    packages = ["labhelpers", "labrunner", "labsandbox", "labapps"]
    for package in packages + [f"labsandbox/{room}" for room in ROOMS]:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "labsandbox" / "cli.py").touch()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    line, contract = BROKEN[path]
    (tmp_path / path).write_text(line + "\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert len(said) == 1, done.stdout
    assert contract in said[0]


def test_contracts_name_every_room_of_the_sandbox() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    named = {module for contract in contracts for module in contract.get("modules", ())}
    assert {f"labsandbox.{room}" for room in ROOMS} - {"labsandbox.client"} <= named
