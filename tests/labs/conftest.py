"""What every test of labs gets: the environment it found, whatever a lab's cells set."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def environment_of_the_test() -> Iterator[None]:
    """Undo what cells that ran in this process did to the environment: MLflow's address, say."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
