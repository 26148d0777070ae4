"""The matrix and its locks: what is run, and what a pin that is taken out changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from labregress import locks
from labregress.errors import BadMatrix
from labregress.matrix import HERE, LOCKS, PROTOCOLS, load

pytestmark = pytest.mark.fast

VERSIONS = (HERE / "versions.toml").read_text("utf-8")


def without_pin(folder: Path, version: str, pin: str) -> Path:
    head, _, tail = VERSIONS.partition(f'mlflow = "{version}"')
    file = folder / "versions.toml"
    file.write_text(f'{head}mlflow = "{version}"{tail.replace(pin, "", 1)}')
    return file


def test_default_is_three_versions_and_all_is_seven() -> None:
    table = load()
    assert [cell.id for cell in table.cells()] == [
        f"{version}-{case}"
        for version in ("1.30.1", "2.0.1", "3.17.2")
        for case in ("sklearn", "xgboost")
    ]
    assert len(table.cells(everything=True)) == 14


def test_every_lock_has_hashes_and_its_release() -> None:
    for version in load().versions:
        lock = locks.read(LOCKS, version.mlflow)
        assert lock.version("mlflow") == version.mlflow
        assert all("--hash=sha256:" in entry for entry in lock.entries.values())
        assert {"pandas", "scikit-learn", "xgboost-cpu"} <= set(lock.entries)


def test_pin_that_is_taken_out_changes_the_cells_of_its_version_only(tmp_path: Path) -> None:
    file = without_pin(tmp_path, "2.0.1", '"setuptools<66"')
    whole = {cell.id: cell.fingerprint for cell in load().cells()}
    less = {cell.id: cell.fingerprint for cell in load(file).cells()}
    assert {name for name in whole if whole[name] != less[name]} == {
        "2.0.1-sklearn",
        "2.0.1-xgboost",
    }
    (lock,) = {cell.lock.version("setuptools") for cell in load(file).cells(["2.0.1"])}
    assert int(lock.split(".")[0]) >= 82, "today's has no pkg_resources"


def test_pin_that_no_lock_knows_is_refused(tmp_path: Path) -> None:
    file = without_pin(tmp_path, "2.0.1", "<66")
    with pytest.raises(BadMatrix, match="labregress lock"):
        load(file).cells()


@pytest.mark.parametrize("what", ["versions", "cases"])
def test_unknown_name_is_refused_with_those_there_are(what: str) -> None:
    with pytest.raises(BadMatrix, match=r"found 'x'. There are: "):
        load().cells(**{what: ["x"]})  # type: ignore[arg-type]


def test_version_without_a_lock_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadMatrix, match="labregress lock"):
        load().cells(folder=tmp_path)


def test_table_without_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "versions.toml").write_text('[[version]]\nmlflow = "2.0.1"\n')
    with pytest.raises(BadMatrix, match="answers"):
        load(tmp_path / "versions.toml")


def test_each_version_says_how_it_answers_each_protocol() -> None:
    for version in load().versions:
        assert set(version.answers) == set(PROTOCOLS)


def test_difference_of_locks_gives_the_other_lock_back(tmp_path: Path) -> None:
    whole = "a==1 \\\n    --hash=sha256:0\nb==1 \\\n    --hash=sha256:1\n"
    other = "a==2 \\\n    --hash=sha256:2\nc==1 \\\n    --hash=sha256:3\n"
    (tmp_path / "1.lock").write_text(whole)
    text = locks.difference(locks.parse(whole), locks.parse(other))
    (tmp_path / "1.without-a.lock").write_text(text)
    assert locks.read(tmp_path, "1", ["a"]).text == other
