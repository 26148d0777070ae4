"""A learner's folders in the project repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labhelpers.repository import workspace

pytestmark = pytest.mark.fast


def test_workspace_is_one_for_each_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECT_REPO", str(tmp_path / "repository"))
    monkeypatch.setenv("EZMERAL_USER", "Ann O'Nymous/../x")
    place = workspace("lakehouse")
    assert place == (tmp_path / "repository" / "lakehouse" / "Ann-O-Nymous-x").resolve()
    assert os.access(place, os.W_OK)
