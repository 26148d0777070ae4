"""The kinds that stand apart are those that nothing here uses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labsandbox.apiserver.printers import rare as rows
from labsandbox.apiserver.registry import rare
from labsandbox.apiserver.registry.catalog import builtin
from labsandbox.apiserver.validation import rare as rules
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

USERS = ("notebooks/_src", "catalog", "deploy", "labapps", "labhelpers", "labkube", "labclass")
CLIENTS = ("client", "controllers", "ezmeral", "gateway", "kubedirector", "node")
FILES = {".py", ".yaml", ".toml", ".md", ".json"}


def users() -> Iterator[Path]:
    """Yield the files of what asks the API server: labs, applications, parts of the platform."""
    folders = [ROOT / name for name in USERS]
    folders += [ROOT / "labsandbox" / name for name in CLIENTS]
    for folder in folders:
        found = [path for path in folder.rglob("*") if path.suffix in FILES]
        assert found, f"{folder} has no files"
        yield from found


def recorded() -> Iterator[str]:
    """Yield the paths that were asked of a real server."""
    for file in (ROOT / "tests/golden/recordings").rglob("*.json"):
        yield from _paths(json.loads(file.read_text()))


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("path", "url") and isinstance(one, str):
                yield one
            else:
                yield from _paths(one)
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one)


def used(plurals: set[str], kinds: set[str]) -> set[str]:
    """Return those of the names that a file or a recorded path has."""
    words = re.compile(rf"\b(?:{'|'.join(sorted(plurals | kinds))})\b")
    found = {word for file in users() for word in words.findall(file.read_text(errors="ignore"))}
    return found | {word for path in recorded() for word in words.findall(path)}


def rare_rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((Path(rare.__file__).parent / "rare.json").read_text())
    return found


def test_rare_kinds_are_used_by_nothing_here() -> None:
    found = rare_rows()
    assert len(found) == 9
    assert used({row["plural"] for row in found}, {row["kind"] for row in found}) == set()


def test_kind_that_is_used_is_seen() -> None:
    assert used({"pods"}, {"NetworkPolicy"}) == {"pods", "NetworkPolicy"}
    assert "configmaps" in " ".join(recorded())


def test_rare_kinds_are_served_and_named_in_one_place() -> None:
    plurals = {row["plural"] for row in rare_rows()}
    assert plurals <= {row.plural for row in builtin()}
    for traits in (rare.RETURNS_OBJECT, rare.GENERATION, rare.CONDITIONAL):
        assert traits <= plurals
    assert {name.partition(".")[0] for name in rows.ROWS} <= plurals
    assert {kind for _, kind in rules.RULES} <= {row["kind"] for row in rare_rows()}
