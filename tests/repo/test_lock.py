"""The lock, environment.yml and pyproject.toml say the same."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from labrunner import install
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
SOURCES = sorted((ROOT / "environments").glob("*.in"))
NAMED = sorted((ROOT / "environments").glob("*.lock"))
ENVIRONMENT = (ROOT / "environment.yml").read_text("utf-8")


def entries(lock: str) -> Iterator[tuple[str, str]]:
    """Yield each requirement of a lock with the lines that belong to it."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.M)
    for block in blocks:
        if block.strip() and not block.startswith("#"):
            yield block.splitlines()[0].rstrip(" \\"), block


def unpinned(lock: str) -> list[str]:
    """Return the requirements without an exact version or without a hash."""
    return [
        line
        for line, block in entries(lock)
        if not re.match(r"^[\w.-]+(?:\[[\w,-]+\])?==\S+", line) or "--hash=sha256:" not in block
    ]


def unlike(environment: str) -> list[str]:
    """Return how an environment.yml differs from the lock and from the oldest Python."""
    said = yaml.safe_load(environment)
    plain = [one for one in said["dependencies"] if isinstance(one, str)]
    pip = [one["pip"] for one in said["dependencies"] if isinstance(one, dict)]
    found = []
    if pip != [["--require-hashes", "-r requirements.lock"]]:
        found.append("pip installs something else than requirements.lock with its hashes")
    if sorted(plain) != ["pip", "python=3.11"]:
        found.append(f"conda brings {plain}; Python and pip are all it brings")
    if "PIP_NO_DEPS=1" not in environment:
        found.append("it does not say that pip takes no dependencies of its own")
    return found


def missing(lock: str, wanted: list[str]) -> list[str]:
    """Return the wanted requirements that the lock does not meet on this machine."""
    locked: dict[str, list[str]] = {}
    for line, _ in entries(lock):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            version = next(iter(requirement.specifier)).version
            locked.setdefault(canonicalize_name(requirement.name), []).append(version)
    found = []
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate(dict(default_environment())):
            continue
        versions = locked.get(canonicalize_name(requirement.name), [])
        if not any(requirement.specifier.contains(version, True) for version in versions):
            found.append(text)
    return found


def test_every_requirement_is_pinned_with_a_hash() -> None:
    assert unpinned(LOCK) == []
    assert unpinned("requests>=2\n") == ["requests>=2"]
    assert unpinned("requests==2.0\n    # via nothing\n") == ["requests==2.0"]


def addresses(lock: str) -> list[str]:
    """Return the lines that say where a package comes from."""
    return re.findall(r"^.*(?:https?://|file:|@ git|-i |--index|--find-links).*$", lock, re.M)


def test_lock_holds_no_address() -> None:
    assert addresses(LOCK) == []
    assert addresses("--index-url=x\na==1 \\\n    --find-links /opt\n") != []


def wanted_by(source: Path) -> list[str]:
    """Return the requirements of an environment's source."""
    lines = (line.partition(" #")[0].strip() for line in source.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_every_named_environment_has_a_source_and_a_lock() -> None:
    assert [path.stem for path in SOURCES] == [path.stem for path in NAMED]
    assert {"airflow", "tracking"} <= {path.stem for path in NAMED}


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_lock_of_a_named_environment_is_pinned_complete_and_without_address(path: Path) -> None:
    lock = path.read_text("utf-8")
    assert unpinned(lock) == []
    assert addresses(lock) == []
    wanted = wanted_by(path.with_suffix(".in"))
    assert wanted
    assert missing(lock, wanted) == []


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_source_of_a_named_environment_says_what_it_downloads(path: Path) -> None:
    assert re.fullmatch(r"\d+ [MG]B", install.download_of(ROOT, path.stem))


def test_tracking_server_has_the_release_of_the_labs_clients() -> None:
    tracking = (ROOT / "environments" / "tracking.lock").read_text("utf-8")
    (server,) = [line for line, _ in entries(tracking) if line.startswith("mlflow==")]
    assert server in [line for line, _ in entries(LOCK)]


def unusable(lock: str) -> list[str]:
    """Return what an index resolves MLflow to without exact pins, and nobody can use.

    Without a pin MLflow is found in a release of 2022 that lets every other package be new; with
    one alone, graphene is found in its second release, which the present graphql-core breaks.
    """
    versions: dict[str, list[Version]] = {"mlflow": [], "graphene": []}
    for line, _ in entries(lock):
        requirement = Requirement(line)
        if requirement.name in versions:
            versions[requirement.name].append(Version(next(iter(requirement.specifier)).version))
    found = []
    if versions["mlflow"] != [Version("3.17.2")]:
        found.append(f"mlflow {versions['mlflow']}")
    if [one.major for one in versions["graphene"]] != [3]:
        found.append(f"graphene {versions['graphene']}")
    return found


@pytest.mark.parametrize("name", ["requirements.lock", "environments/tracking.lock"])
def test_lock_has_the_mlflow_of_the_labs_and_a_graphene_that_can_be_imported(name: str) -> None:
    lock = (ROOT / name).read_text("utf-8")
    assert unusable(lock) == []
    assert len(unusable(re.sub(r"^mlflow==\S+", "mlflow==1.27.0", lock, flags=re.M))) == 1
    assert len(unusable(re.sub(r"^graphene==\S+", "graphene==2.1.9", lock, flags=re.M))) == 1


def test_lock_meets_what_pyproject_asks_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    assert missing(LOCK, wanted) == []
    assert missing(LOCK, ["pyspark==4.0.3", "left-pad"]) == ["pyspark==4.0.3", "left-pad"]


def test_conda_environment_installs_exactly_the_lock() -> None:
    assert unlike(ENVIRONMENT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("-r requirements.lock", "pandas"), ("python=3.11", "python"), ("PIP_NO_DEPS=1 ", "")],
)
def test_conda_environment_that_differs_is_found(old: str, new: str) -> None:
    assert unlike(ENVIRONMENT.replace(old, new))


def test_every_python_gets_the_same_numpy_and_pandas() -> None:
    """A newer numpy beside this pandas warns where labs make tables: only the tested pair is in."""
    names = [line.partition("==")[0] for line, _ in entries(LOCK)]
    assert (names.count("numpy"), names.count("pandas")) == (1, 1)
