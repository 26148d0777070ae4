"""The command: statuses, files, and what it says when something is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from labregress import environments, resolve, runner
from labregress.cli import app
from labregress.locks import parse

pytestmark = pytest.mark.fast

CASES = Path(runner.__file__).parent / "cases"


def call(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Let a cell have the steps that the test says; by default all is well."""
    said: dict[str, list[dict[str, Any]]] = {}

    def drive(cell: Any, *_: Any) -> list[dict[str, Any]]:
        answers = cell.version.answers
        good = [{"protocol": one, "status": answers[one], "equal": True} for one in cell.protocols]
        return said.get(cell.id, good)

    monkeypatch.setattr(environments, "build", lambda *_, **__: Path("python"))
    monkeypatch.setattr(runner, "drive", drive)
    return said


def test_new_failure_ends_with_1_and_an_accepted_one_with_0(
    outcomes: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    assert call("run", "--out", tmp_path)[0] == 0
    assert call("accept", "--out", tmp_path)[0] == 0
    error = "ModuleNotFoundError: No module named 'pkg_resources'"
    outcomes["2.0.1-sklearn"] = [{"step": "import", "ok": False, "error": error}]
    status, said = call("run", "--out", tmp_path, "--again")
    assert status == 1
    assert said.count("new failure: 2.0.1 sklearn") == 3
    assert "pin setuptools<66" in said
    assert call("accept", "--out", tmp_path)[0] == 0
    status, said = call("run", "--out", tmp_path, "--again")
    assert (status, said.count("known failure")) == (0, 3)
    outcomes.clear()
    status, said = call("run", "--out", tmp_path, "--again")
    assert (status, said.count("mended")) == (0, 3)


def test_index_runs_one_version(outcomes: object, tmp_path: Path) -> None:
    words = ["--out", str(tmp_path), "--versions", "1.30.1", "--versions", "2.0.1", "--index", "1"]
    assert call("run", *words)[0] == 0
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert {row["version"] for row in rows} == {"2.0.1"}
    status, said = call("run", *words[:-1], "2")
    assert (status, "Expected an index below 2" in said) == (2, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["run", "--versions", "9"], "Expected a version, found '9'"),
        (["run", "--protocols", "carrier pigeon"], "Expected protocols among split-1x"),
        (["accept"], "Expected a report.json"),
    ],
)
def test_mistake_ends_with_2_and_a_sentence(words: list[str], text: str, tmp_path: Path) -> None:
    status, said = call(*words, "--out", tmp_path)
    assert status == 2
    assert text in said


def test_merge_writes_a_lock_and_a_containerfile_or_names_the_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "compiled", lambda text: parse("mlflow==3.17.2\n"))
    cases = [CASES / "sklearn", CASES / "xgboost"]
    status, said = call("merge", *cases, "--mlflow", "3.17.2", "--out", tmp_path / "merge")
    assert (status, "No conflict among 2" in said) == (0, True)
    assert "mlflow==3.17.2" in (tmp_path / "merge" / "merged.in").read_text()
    assert (tmp_path / "merge" / "Containerfile").is_file()
    assert (tmp_path / "merge" / "cases" / "sklearn" / "train.py").is_file()
    (tmp_path / "legacy").mkdir()
    (tmp_path / "legacy" / "requirements.txt").write_text("mlflow==1.30.1\npandas<2\n")
    status, said = call("merge", *cases, tmp_path / "legacy", "--mlflow", "3.17.2")
    assert status == 1
    assert "conflict: mlflow: legacy wants ==1.30.1; --mlflow wants ==3.17.2" in said


def test_job_is_indexed_and_has_a_version_for_each_index() -> None:
    status, said = call("job", "--claim", "project-repo")
    job = yaml.safe_load(said)
    assert status == 0
    assert (job["spec"]["completions"], job["spec"]["completionMode"]) == (3, "Indexed")
    *shell, line = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert shell == ["sh", "-c"]
    values = {"JOB_COMPLETION_INDEX": "2", "PROJECT_REPO": "/a b", "TMPDIR": "/t"}
    printed = subprocess.run(
        ["sh", "-c", line.replace("exec python", "printf '%s\n'")], env=values, text=True,
        capture_output=True,
    )  # fmt: skip
    words = printed.stdout.splitlines()
    assert words[:5] == ["-m", "labregress", "run", "--index", "2"]
    assert words.count("--versions") == 3
    assert words[-4:] == ["--scratch", "/t/regress", "--out", "/a b/regress/2"]
