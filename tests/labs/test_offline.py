"""The workshops ask nobody outside: they are replayed without a network.

What `labs setup` installs is there before; the platform, Airflow, Spark, the workbench, PostgreSQL
and the labs themselves then see loopback only, and the kernel counts what would have gone further.
The labs are practised: each blank is seen to fail its checkpoint before its solution passes. The
labs of MLflow that install other versions on demand, 05 and 07, need a network once; those on the
platform, 09 to 11, belong to no server. They are left out.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.alone import QUIET, inside, needs_namespaces, raise_loopback, report
from tests.repo.tree import ROOT

PROGRAM = str(Path(sys.executable).with_name("labs"))
PARTS = {
    "mlops": ("--workshop", "mlops"),
    "logistics": ("--workshop", "logistics"),
    "mlflow": ("--only", "core/01,mlflow/01,mlflow/02,mlflow/03,mlflow/04,mlflow/06,mlflow/08"),
}


@pytest.mark.labs
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@needs_namespaces
@pytest.mark.parametrize("workshop", PARTS)
def test_workshop_asks_nobody_outside(workshop: str, tmp_path: Path) -> None:
    if workshop == "mlops":
        subprocess.run([PROGRAM, "setup", "airflow", "postgres"], cwd=ROOT, check=True)
    assert inside("tests.labs.test_offline", workshop, str(tmp_path / "out")) == QUIET


if __name__ == "__main__":
    raise_loopback()
    words = [PROGRAM, "replay", *PARTS[sys.argv[1]], "--practice", "--out", sys.argv[2]]
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL)
    report()
    sys.exit(done.returncode)
