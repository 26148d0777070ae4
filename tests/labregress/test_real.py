"""The real matrix: three versions, two cases, three protocols; and one pin taken out. At night."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from labhelpers.deadline import wait
from labregress import orphans
from labregress.matrix import HERE
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(3600)]


def labregress(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labregress", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3500)


def rows(out: Path) -> list[dict[str, Any]]:
    return list(json.loads((out / "report.json").read_text())["rows"])


def test_matrix_is_green_and_one_pin_less_turns_its_cells_red(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = labregress("run", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows(out)) == 18
    for version, statuses in {
        "1.30.1": {"split-1x": 200, "dataframe_split": 400, "portable": 200},
        "2.0.1": {"split-1x": 415, "dataframe_split": 200, "portable": 200},
        "3.17.2": {"split-1x": 415, "dataframe_split": 200, "portable": 200},
    }.items():
        own = [row for row in rows(out) if row["version"] == version]
        assert {row["protocol"]: row["http"] for row in own} == statuses
    assert orphans.marked(out) == []
    assert not (out / "environments").exists()
    assert labregress("accept", "--out", out).returncode == 0
    head, name, tail = (HERE / "versions.toml").read_text().partition('mlflow = "1.30.1"')
    matrix = tmp_path / "versions.toml"
    matrix.write_text(head + name + tail.replace('"setuptools<66"', "", 1))
    done = labregress("run", "--out", out, "--matrix", matrix)
    assert done.returncode == 1
    assert done.stdout.count("kept from an earlier run") == 4
    red = {(row["version"], row["case"], row["step"]) for row in rows(out) if row["error"]}
    assert red == {("1.30.1", "sklearn", "import"), ("1.30.1", "xgboost", "import")}
    assert "pkg_resources" in done.stdout


@pytest.mark.parametrize("step", ["install", "serve"])
def test_run_killed_with_9_leaves_no_process_port_or_environment_after_the_next(
    tmp_path: Path, step: str
) -> None:
    out, one = tmp_path / "run", ["--versions", "3.17.2", "--cases", "sklearn"]
    words = [sys.executable, "-m", "labregress", "run", "--out", str(out), *one]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as killed:
        started, ports = wait(
            f"the step {step}",
            lambda: (left := orphans.marked(out), listening(left)),
            until=lambda seen: seen[1] if step == "serve" else seen[0],
            deadline=900,
            every=0.2,
        )
        assert killed.poll() is None
        end = time.time()
        killed.kill()
    assert (out / "environments").exists()
    done = labregress("run", "--out", out, *one)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(one.is_running() for one in started)
    assert orphans.marked(out) == []
    old = [one for one in psutil.process_iter(["create_time"]) if one.info["create_time"] < end]
    assert listening(old).isdisjoint(ports)
    assert not (out / "environments").exists()
    assert list((out / "scratch").iterdir()) == []


def listening(processes: Iterable[psutil.Process]) -> set[int]:
    """Return the ports on which processes listen."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    found.add(one.laddr.port)
    return found


def test_merge_of_the_cases_gives_a_lock_with_hashes(tmp_path: Path) -> None:
    cases = [HERE / "cases" / name for name in ("sklearn", "xgboost")]
    done = labregress("merge", *cases, "--mlflow", "3.17.2", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mlflow==3.17.2" in (tmp_path / "merged.lock").read_text()
    assert "--hash=sha256:" in (tmp_path / "merged.lock").read_text()
