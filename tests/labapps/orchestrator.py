"""Airflow's environment, for the tests that need it."""

from __future__ import annotations

import pytest

from labrunner import environments
from tests.repo.tree import ROOT

__all__ = ["PYTHON", "needs_airflow"]

FOUND = environments.find(ROOT, "airflow")
PYTHON = FOUND.folder / "bin" / "python"
needs_airflow = pytest.mark.skipif(
    not FOUND.is_installed,
    reason="The environment airflow is not installed; `labs setup airflow` installs it.",
)
