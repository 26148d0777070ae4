"""Parameters reach the labs that have them, and nothing else is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from labrunner import settings
from labrunner.errors import LabError, UnknownParameter
from tests.labrunner.conftest import PASSES, Checkout

pytestmark = pytest.mark.fast


def test_value_reaches_every_lab_that_has_the_name(checkout: Checkout) -> None:
    labs = checkout(a=(PASSES, []), b=(PASSES, []))
    assert settings.assign(labs, labs.labs, {"rows": 3}) == {
        "toy/a": {"rows": 3},
        "toy/b": {"rows": 3},
    }


def test_value_for_one_lab_reaches_only_that_lab(checkout: Checkout) -> None:
    labs = checkout(a=(PASSES, []), b=(PASSES, []))
    assert settings.assign(labs, labs.labs, {"toy/b:rows": 3})["toy/a"] == {}


def test_unknown_name_is_refused_with_the_known_ones(checkout: Checkout) -> None:
    labs = checkout(a=(PASSES, []))
    with pytest.raises(UnknownParameter, match="have: city, rows"):
        settings.assign(labs, labs.labs, {"row": 3})


@pytest.mark.parametrize("value", ["many", True, 2.5])
def test_value_of_another_type_is_refused(checkout: Checkout, value: object) -> None:
    labs = checkout(a=(PASSES, []))
    with pytest.raises(UnknownParameter, match="Expected int for 'rows'"):
        settings.assign(labs, labs.labs, {"rows": value})


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.toml", "rows = 5"), ("p.json", '{"rows": 5}'), ("p.yaml", "rows: 5")],
)
def test_file_of_parameters_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert settings.read_file(tmp_path / name) == {"rows": 5}


def test_missing_file_of_parameters_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"nowhere\.toml"):
        settings.read_file(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "rows: [1"),
        ("p.yaml", "- rows"),
        ("p.json", "{"),
        ("p.json", "[1]"),
        ("p.toml", "rows 5"),
        ("p.yaml", "5"),
    ],
)
def test_file_that_holds_no_parameters_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LabError, match=rf"Expected parameters .*p\.{name[2:]}"):
        settings.read_file(tmp_path / name)


def test_set_without_equals_is_refused() -> None:
    with pytest.raises(UnknownParameter, match="name=value"):
        settings.parse("rows")
