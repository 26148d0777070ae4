"""One Spark for all tests that need one, its tables in a folder that is thrown away."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what Spark's Java said last when a test with Spark fails, and whether it lives."""
    report = yield
    gateway = sys.modules.get("labspark.gateway")
    if report.failed and gateway is not None and "spark" in getattr(item, "fixturenames", ()):
        report.sections.append(("Spark's Java", _last_words(gateway)))
    return report


def _last_words(gateway: ModuleType) -> str:
    java, log = gateway._running.get("process"), gateway.log_path()
    state = "not started" if java is None else f"exit code {java.poll()} (None: it lives)"
    try:
        return f"{state}\n{log.read_text('utf-8', 'replace')[-4000:]}" if log else state
    except OSError as error:
        return f"{state}\n{error}"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    from labspark import gateway
    from labspark.session import session

    patch = pytest.MonkeyPatch()
    patch.setenv("PROJECT_REPO", str(tmp_path_factory.mktemp("repository")))
    started = session("tests", conf={"spark.driver.memory": "900m"})
    patch.undo()
    yield started
    started.stop()
    gateway.shut_down()
