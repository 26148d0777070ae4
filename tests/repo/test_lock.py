"""The lock, environment.yml and pyproject.toml say the same."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
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


def test_lock_holds_no_address() -> None:
    assert not re.search(r"https?://|file:|@ git|-i |--index|--find-links", LOCK)


def test_lock_meets_what_pyproject_asks_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
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
