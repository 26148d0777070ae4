"""A workbench beside a small real cluster, shared by the files that test it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.labapps.workbench import Workbench, beside_a_cluster

# Programs that tests start:
collect_ignore = ["operator_bench.py", "operator_run.py", "registry.py"]


@pytest.fixture(scope="package")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with beside_a_cluster(tmp_path_factory.mktemp("bench")) as made:
        yield made
