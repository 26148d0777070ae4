"""Wine, houses, income: like the public tables, the same for the same seed, of known truth."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from labdata import houses, income, tables, wine
from labdata.errors import DataError
from labrunner.cli import app

pytestmark = pytest.mark.fast

DATASETS = Path(__file__).parents[2] / "datasets"
NAMES = list(tables.TABLES)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return income.make()[0]


@pytest.mark.parametrize("name", NAMES)
def test_committed_sample_is_what_the_seed_makes(name: str, tmp_path: Path) -> None:
    made = tables.write_sample(name, tmp_path)
    for file in (made, made.with_name("truth.json")):
        assert file.read_bytes() == (DATASETS / name / file.name).read_bytes()
    assert made.stat().st_size < 5_000_000


@pytest.mark.parametrize("name", NAMES)
def test_page_about_the_data_holds_checksum_and_best_score(name: str) -> None:
    page = (DATASETS / "README.md").read_text("utf-8")
    file = DATASETS / name / f"{name}.csv"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    row = next((line for line in page.splitlines() if f"{name}.csv" in line and "`" in line), "")
    assert digest in row
    assert f"{file.stat().st_size:,}" in row
    for score, value in tables.best_possible(name, DATASETS).items():
        assert re.search(rf"\| {score} {value:.3f}", page) or f"{score} {value:.3f}" in page


@pytest.mark.parametrize("name", NAMES)
def test_file_reads_back_as_it_was_made(name: str, tmp_path: Path) -> None:
    frame, _ = tables.MAKERS[name](300, 5, False)
    path = tmp_path / "file.csv"
    tables.TABLES[name].write(frame, path)
    pd.testing.assert_frame_equal(tables.TABLES[name].read(path), frame, check_dtype=False)


@pytest.mark.parametrize("name", NAMES)
def test_other_seed_makes_other_rows(name: str) -> None:
    one, two = (tables.MAKERS[name](200, seed, False)[0] for seed in (1, 2))
    assert not one.equals(two)


def test_ranges_are_the_published_ones() -> None:
    grapes = wine.make()[0]
    assert grapes.shape == (1599, 12)
    assert set(grapes["quality"]) <= set(range(3, 9))
    assert grapes["alcohol"].between(8.4, 14.9).all()
    assert (grapes["total sulfur dioxide"] > grapes["free sulfur dioxide"]).all()
    blocks = houses.make(4000)[0]
    assert blocks["MedHouseVal"].between(0, 5.00001).all()
    assert (blocks["MedHouseVal"] == 5.00001).any(), "the census capped its prices"
    assert 0.2 < (income.make()[0]["income"] == ">50K").mean() < 0.26


@pytest.mark.parametrize("name", ["wine", "houses"])
def test_expected_value_is_the_mean_of_what_is_drawn(name: str) -> None:
    """The truth is right: binned by the expected value, targets average to it."""
    frame, truth = tables.MAKERS[name](40_000, 3, False)
    target = frame.iloc[:, -1].to_numpy(dtype=float)
    for part in np.array_split(np.argsort(truth.signal), 10):
        assert abs(target[part].mean() - truth.signal[part].mean()) < 0.03


def test_chances_of_income_are_calibrated() -> None:
    frame, truth = income.make(40_000, 3)
    earns = (frame["income"] == ">50K").to_numpy()
    for part in np.array_split(np.argsort(truth.signal), 10):
        assert abs(earns[part].mean() - truth.signal[part].mean()) < 0.03


def test_race_and_sex_have_no_effect_unless_bias_is_switched_on(people: pd.DataFrame) -> None:
    def share(frame: pd.DataFrame) -> pd.Series[float]:
        return (frame["income"] == ">50K").groupby(frame["sex"]).mean()

    fair, unfair = share(people), share(income.make(bias=True)[0])
    assert abs(fair["Male"] - fair["Female"]) < 0.01
    assert unfair["Male"] - unfair["Female"] > 0.06
    assert unfair["Male"] == fair["Male"], "the switch touches nobody else"


def test_best_score_cannot_be_beaten_and_can_be_approached() -> None:
    from sklearn.ensemble import RandomForestRegressor

    frame, truth = houses.make(5_000, 11)
    half = 3_000
    values, target = frame.iloc[:, :-1].to_numpy(), frame.iloc[:, -1].to_numpy()
    model = RandomForestRegressor(15, min_samples_leaf=3, random_state=0)
    model.fit(values[:half], target[:half])
    assert truth.best["r2"] - 0.08 < model.score(values[half:], target[half:]) < truth.best["r2"]


@pytest.fixture
def real(tmp_path: Path) -> Path:
    path = tmp_path / "real.csv"
    wine.TABLE.write(wine.make(20)[0], path)
    return path


def test_real_file_takes_the_place_of_the_made_up_one(real: Path, tmp_path: Path) -> None:
    taken = tables.take_real("wine", real, tmp_path / "data")
    assert len(tables.read_sample("wine", tmp_path / "data")) == 20
    assert json.loads(taken.with_name("truth.json").read_text())["real"] == "real.csv"
    assert tables.best_possible("wine", tmp_path / "data") == {}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (";", ",", "expected columns separated by semicolons, found commas"),
        ("alcohol", "spirit", "expected the column 'alcohol', found only"),
        ("\n", "\nrotten;", "expected 12 columns in each line|expected a number in column"),
    ],
)
def test_file_that_does_not_fit_is_one_sentence(
    real: Path, tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    real.write_text(real.read_text().replace(old, new))
    with pytest.raises(DataError, match=sentence) as raised:
        tables.take_real("wine", real, tmp_path / "data")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "data").exists(), "nothing of a bad file is used"


@pytest.mark.parametrize(
    ("value", "found"), [("much", "'much'"), ("", "nothing"), ("inf", "'inf'")]
)
def test_text_in_a_column_of_numbers_is_named_with_its_line(
    real: Path, tmp_path: Path, value: str, found: str
) -> None:
    lines = real.read_text().splitlines()
    lines[4] = ";".join([value, *lines[4].split(";")[1:]])
    real.write_text("\n".join(lines))
    with pytest.raises(
        DataError, match=f"line 5: expected a number in column 'fixed acidity', found {found}"
    ):
        tables.take_real("wine", real, tmp_path / "data")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a;b\n"])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected"):
        wine.TABLE.read(path)


def test_public_income_file_without_header_is_read(people: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "adult.data"
    people.head(50).to_csv(path, index=False, header=False)
    pd.testing.assert_frame_equal(income.TABLE.read(path), people.head(50), check_dtype=False)


def test_bias_belongs_to_income_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--bias with income only"):
        tables.write_sample("wine", tmp_path, bias=True)


def labs(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def test_command_writes_a_table_and_says_what_is_possible(tmp_path: Path) -> None:
    done = labs("income", "--rows", "500", "--bias", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "500 rows:" in done.output
    assert re.search(r"auc 0\.\d{3}", done.output)
    assert json.loads((tmp_path / "income" / "truth.json").read_text())["bias"] is True


def test_command_refuses_a_file_that_does_not_fit(real: Path, tmp_path: Path) -> None:
    done = labs("houses", "--real", str(real), "--out", str(tmp_path / "data"))
    assert done.exit_code == 1
    assert "labs data houses:" in done.output
    assert "found semicolons" in done.output
    assert "Traceback" not in done.output
