"""Who may import whom, proved on the packages and on a package that breaks it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repo.tree import ROOMS as PACKAGES
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

LINT = str(Path(sys.executable).with_name("lint-imports"))
ROOMS = (
    *("apiserver", "controllers", "kubedirector", "node", "ezmeral", "gateway", "directory"),
    "client",
)
APPS = sorted(file.parent.name for file in (ROOT / "labapps").glob("*/__main__.py"))
LEAVES = ("member", "web", "forks", "queue")
PARTS = [*APPS, *LEAVES]
BROKEN = {
    "labhelpers/bad.py": ("import labsandbox", "joined by HTTPS"),
    "labrunner/bad.py": ("import labsandbox.cli", "starts the sandbox as a program"),
    "labapps/bad.py": ("import labrunner", "Nothing imports the runner"),
    "labclass/bad.py": ("import labrunner.cli", "A class stands on the panel"),
    "labpanel/bad.py": ("import labclass.roster", "A class stands on the panel"),
    "labrunner/files.py": ("import labpanel.copies", "Only the command line of the runner"),
    "labhelpers/deadline.py": ("import labhelpers.cluster", "Inside labhelpers"),
    "labspark/bad.py": ("import labhelpers", "labkube are leaves"),
    "labdata/bad.py": ("import labspark", "do not lean on each other"),
    "labsandbox/gateway/bad.py": ("import labsandbox.node", "clients of the API"),
    "labapps/queue/bad.py": ("import labapps.training", "An application stands on"),
    "labapps/web/bad.py": ("import labapps.member", "An application stands on"),
    "labapps/spark/bad.py": ("import labapps.notebook", "An application stands on"),
    "labapps/member/bad.py": ("import airflow", "Airflow has an environment of its own"),
    "labhelpers/airflow.py": ("import airflow.sdk", "Airflow has an environment of its own"),
    "labsandbox/client/bad.py": ("import labsandbox.apiserver", "The client is a leaf"),
    "labsandbox/node/commands.py": ("import labsandbox.node.container", "Inside the node"),
    "labsandbox/apiserver/store/store.py": (
        "import labsandbox.apiserver.verbs.create", "Inside the API server",
    ),
    "labsandbox/apiserver/kinds.py": ("import labsandbox.apiserver.api", "Inside the API server"),
    "labsandbox/kubedirector/model.py": (
        "import labsandbox.kubedirector.reconcile", "Inside KubeDirector",
    ),
    "labsandbox/controllers/job.py": (
        "import labsandbox.controllers.wiring", "Inside the controllers",
    ),
    "labrunner/notebook.py": ("import labrunner.draft", "Inside labrunner"),
    "labpanel/gate.py": ("import labpanel.facts", "Inside labpanel"),
    "labclass/roster.py": ("import labclass.prepare", "Inside labclass"),
    "labregress/locks.py": ("import labregress.cli", "Inside labregress"),
    "labregress/bad.py": ("import labrunner", "labregress imports nothing of ours"),
}  # fmt: skip


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    return subprocess.run(
        [LINT, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_packages_keep_the_contracts() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def put(root: Path, path: str) -> None:
    """Make an empty module, and a package of each folder above it."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()
    for folder in Path(path).parents:
        if folder != Path():
            (root / folder / "__init__.py").touch()


@pytest.mark.parametrize("path", BROKEN)
def test_forbidden_import_breaks_a_contract(tmp_path: Path, path: str) -> None:
    packages = [room.strip("/") for room in PACKAGES]
    rooms = [f"labsandbox/{room}" for room in ROOMS] + [f"labapps/{room}" for room in PARTS]
    for package in packages + rooms:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for package in ("labsandbox", "labrunner"):
        (tmp_path / package / "cli.py").touch()
    (tmp_path / "labapps" / "files.py").touch()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    line, contract = BROKEN[path]
    imported = line.removeprefix("import ").replace(".", "/")
    for module in (imported + ".py", path):
        if not (tmp_path / module).with_suffix("").is_dir():
            put(tmp_path, module)
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


def test_contracts_name_every_application_and_what_applications_stand_on() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = [layer for contract in contracts for layer in contract.get("layers", ())]
    named = {name for layer in layers for name in layer.split(" | ")}
    assert {f"labapps.{part}" for part in PARTS} <= named
