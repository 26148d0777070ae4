"""The workshop with the most programs asks nobody outside: it is replayed without a network.

What `labs setup` installs is there before; the platform, Airflow, Spark, the workbench, PostgreSQL
and the labs themselves then see loopback only, and the kernel counts what would have gone further.
The labs are practised: each blank is seen to fail its checkpoint before its solution passes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.alone import QUIET, inside, needs_namespaces, raise_loopback, report
from tests.repo.tree import ROOT

PROGRAM = str(Path(sys.executable).with_name("labs"))


@pytest.mark.labs
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@needs_namespaces
def test_workshop_with_airflow_asks_nobody_outside(tmp_path: Path) -> None:
    subprocess.run([PROGRAM, "setup", "airflow", "postgres"], cwd=ROOT, check=True)
    assert inside("tests.labs.test_offline", str(tmp_path / "out")) == QUIET


if __name__ == "__main__":
    raise_loopback()
    words = [PROGRAM, "replay", "--workshop", "mlops", "--practice", "--out", sys.argv[1]]
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL)
    report()
    sys.exit(done.returncode)
