"""One Spark for all tests of this folder, its tables in a folder that is thrown away."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from labhelpers import gateway
from labhelpers.spark import session


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    patch = pytest.MonkeyPatch()
    patch.setenv("PROJECT_REPO", str(tmp_path_factory.mktemp("repository")))
    started = session("tests", conf={"spark.driver.memory": "900m"})
    patch.undo()
    yield started
    started.stop()
    gateway.shut_down()


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "table")


@pytest.fixture(autouse=True)
def sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let pyspark drop its sockets here: it leaves closing them to the garbage collector."""
    yield
    if request.node.get_closest_marker("labs"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
