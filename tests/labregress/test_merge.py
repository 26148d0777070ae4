"""Merging environments: every conflict is named with its owners, and only conflicts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from labregress.errors import BadMatrix
from labregress.merge import Need, conflicts, containerfile, merged, read

pytestmark = pytest.mark.fast

CONDA = """
name: mlflow-env
channels: [conda-forge]
dependencies:
- python=3.11
- scikit-learn=1.5.2
- pip:
  - mlflow
  - numpy<2
"""


def case(folder: Path, name: str, **files: str) -> Path:
    place = folder / name
    place.mkdir()
    for file, text in files.items():
        (place / file.replace("_yaml", ".yaml").replace("_txt", ".txt")).write_text(text)
    return place


def test_conflict_names_the_package_and_both_owners(tmp_path: Path) -> None:
    new = case(tmp_path, "new", requirements_txt="scikit-learn==1.9.1\nnumpy>=2\n")
    old = case(tmp_path, "old", conda_yaml=CONDA)
    found = [str(one) for one in conflicts([*read(new), *read(old)])]
    assert found == [
        "numpy: new wants >=2; old wants <2",
        "scikit-learn: new wants ==1.9.1; old wants ==1.5.2",
    ]


@pytest.mark.parametrize(
    ("one", "other", "is_conflict"),
    [
        ("==1.9.1", "==1.5.2", True),
        ("==1.9.1", ">=1.5", False),
        ("==1.9.1", "<1.9", True),
        (">=2", "<2", True),
        (">=2", "<2.0.1", False),
        ("<1.26", ">1.25", False),
        ("!=2.0", "==2.0", True),
        ("~=1.4", "==1.9.1", False),
        ("~=1.4.0", "==1.9.1", True),
        ("==1.*", "==1.9.1", False),
        (">=1,<2", ">=2,<3", True),
    ],
)
def test_two_wishes_conflict_or_not(one: str, other: str, is_conflict: bool) -> None:
    needs = [Need("a", "pandas", one), Need("b", "pandas", other)]
    assert bool(conflicts(needs)) is is_conflict
    assert bool(conflicts(needs[::-1])) is is_conflict


def test_third_owner_who_agrees_is_not_blamed() -> None:
    needs = [Need("a", "x", "==1"), Need("b", "x", "==2"), Need("c", "x", ">=1")]
    (found,) = conflicts(needs)
    assert [need.owner for need in found.needs] == ["a", "b"]


def test_three_that_conflict_only_together_are_all_named() -> None:
    needs = [Need("a", "x", "!=1.0"), Need("b", "x", ">=1.0"), Need("c", "x", "<=1.0")]
    (found,) = conflicts(needs)
    assert [need.owner for need in found.needs] == ["a", "b", "c"]


def test_mlflow_without_a_version_is_pinned_or_refused() -> None:
    needs = [Need("a", "mlflow", ""), Need("b", "pandas", "<3")]
    with pytest.raises(BadMatrix, match=r"none in a: .*--mlflow 3\.17\.2"):
        merged(needs)
    assert merged(needs, "3.17.2") == "mlflow==3.17.2  # a\npandas<3  # b\n"


def test_case_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadMatrix, match="Expected one of"):
        read(tmp_path)


def test_line_that_is_no_requirement_is_named(tmp_path: Path) -> None:
    bad = case(tmp_path, "bad", requirements_txt="pandas <<3\n")
    with pytest.raises(BadMatrix, match="pandas <<3"):
        read(bad)


def test_hashes_options_and_comments_are_no_requirements(tmp_path: Path) -> None:
    text = "--prefer-binary\n# one\npandas==2.3.3 \\\n    --hash=sha256:00\nnumpy  # why\n"
    whole = case(tmp_path, "whole", requirements_txt=text)
    assert [(need.name, need.spec) for need in read(whole)] == [
        ("pandas", "==2.3.3"),
        ("numpy", ""),
    ]


def test_containerfile_installs_with_hashes_and_is_nobody_s_root() -> None:
    text = containerfile()
    assert "--require-hashes" in text
    assert "USER 10001" in text
    assert text.index("ARG BASE=python:3.11-slim") < text.index("FROM ${BASE}")
