"""The patterns of the whole fleet on a Spark cluster: the cell of lab logistics-03 as it is, on the
catalogue's application `spark`, which lab core-03 orders. At night: it is two labs."""

from __future__ import annotations

from pathlib import Path

import pytest

from labrunner import sandbox
from labrunner.curriculum import load
from tests.labs.after import AFTER
from tests.labs.kernel import desk
from tests.labs.platform import Platform
from tests.labs.test_hardship import run_lab, surroundings
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(1800)]

CURRICULUM = load(ROOT)
LONG = 900.0


def test_patterns_of_the_fleet_are_found_on_a_spark_cluster(tmp_path: Path) -> None:
    with sandbox.running(tmp_path / "state") as found:
        environment = surroundings(tmp_path / "home", found)
        platform = Platform(tmp_path / "state", found)
        run_lab("core/01", environment)
        with desk(CURRICULUM, CURRICULUM.get("core/03"), environment) as learner:
            for begins in ("rows: int", "import json", "if spark_cluster:"):
                said = learner.do(learner.begins(begins), LONG).text
                if begins == "rows: int":
                    learner.do('spark_cluster = "spark-mine"')
        master = said.strip().rpartition(" ")[2]
        assert master.startswith("spark://"), said
        assert platform.kdclusters()["spark-mine"]["status"]["state"] == "configured"
        with desk(CURRICULUM, CURRICULUM.get("logistics/03"), environment) as learner:
            for cell in learner.cells:
                learner.do(cell, LONG)
                if cell.text.startswith("own_files:"):
                    learner.do(f"spark_master = {master!r}")
            where = "print(spark.sparkContext.master, spark.sparkContext._jsc.sc()"
            said = learner.do(f"{where}.getExecutorMemoryStatus().size())").text
        assert said.split() == [master, "2"], "the driver, and an executor in the worker's pod"
        AFTER["logistics/03"](platform)
