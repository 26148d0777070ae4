"""Loans: a known gap between five numbers and all columns, and batches with exactly one fault."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labdata import loans
from labdata.errors import DataError

pytestmark = pytest.mark.fast
MONTH = "2024-03"


def auc(frame: pd.DataFrame, columns: list[str]) -> float:
    """Return what a linear model of these columns scores on rows that it has not seen."""
    values = pd.get_dummies(frame[columns])
    bad = frame["loan_status"] == "Charged Off"
    half = len(frame) // 2
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(values[:half], bad[:half])
    return float(roc_auc_score(bad[half:], model.predict_proba(values[half:])[:, 1]))


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_texts_close_the_gap_to_the_best_possible_score(seed: int) -> None:
    frame, truth = loans.make(20_000, seed)
    numbers = auc(frame, list(loans.NUMBERS))
    everything = auc(frame, [*loans.NUMBERS, *loans.TEXTS])
    assert 0.64 < numbers < everything - 0.04
    assert abs(everything - truth.best["auc"]) < 0.02
    assert 0.72 < truth.best["auc"] < 0.76


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_chances_are_calibrated(seed: int) -> None:
    frame, truth = loans.make(40_000, seed)
    bad = (frame["loan_status"] == "Charged Off").to_numpy()
    for part in np.array_split(np.argsort(truth.signal), 10):
        assert abs(bad[part].mean() - truth.signal[part].mean()) < 0.03


def test_preset_has_the_columns_of_the_original_study() -> None:
    frame, _ = loans.preset()
    assert list(frame) == [*loans.NUMBERS, "loan_status"]
    assert len(frame) == 2000
    assert 0.15 < (frame["loan_status"] == "Charged Off").mean() < 0.25


@pytest.mark.parametrize("kind", loans.KINDS)
@pytest.mark.parametrize("seed", [7, 8])
def test_same_seed_makes_the_same_batch_and_another_one_does_not(kind: str, seed: int) -> None:
    one, two = (loans.batch(kind, MONTH, 400, seed)[0] for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(loans.batch(kind, MONTH, 400, seed + 10)[0])


def test_no_month_repeats_a_loan_of_another() -> None:
    months = [loans.batch("good", f"2024-{month:02}", 3000)[0] for month in range(1, 13)]
    numbers = pd.concat([loans.make(3000)[0], *months])["loan_id"]
    assert numbers.is_unique
    assert [set(month["issue_d"]) for month in months[:2]] == [{"2024-01"}, {"2024-02"}]


@pytest.mark.parametrize("seed", [7, 8])
def test_each_batch_has_its_fault_and_no_other(seed: int) -> None:
    made = {kind: loans.batch(kind, MONTH, 2000, seed)[0] for kind in loans.KINDS}
    history = loans.make(5000)[0]
    assert not set(loans.TEXTS) & set(made["good"])
    assert [n for n in loans.TABLE.names if n not in loans.TEXTS] == list(made["good"])
    faults = {
        "texts": lambda f: ~f["home_ownership"].isin(history["home_ownership"]),
        "category": lambda f: ~f["purpose"].isin(history["purpose"]),
        "number-as-text": lambda f: (
            pd.to_numeric(f["annual_inc"], errors="coerce").isna() & f["annual_inc"].notna()
        ),
        "duplicates": lambda f: f["loan_id"].duplicated(),
        "nulls": lambda f: f["annual_inc"].isna(),
    }
    for kind, frame in made.items():
        if kind == "good":
            continue
        found = {name for name, fault in faults.items() if fault(frame).any()}
        assert found == {kind}
        assert 0.005 < faults[kind](frame).mean() < 0.1


def test_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"good, texts, .*, found 'spoiled'"):
        loans.batch("spoiled", MONTH)
