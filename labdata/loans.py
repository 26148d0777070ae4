"""Loans with the columns of LendingClub's published files, and monthly batches with known faults.

The chance of a charge-off follows from the amount against the income, balances, recent accounts,
delinquencies, and from three nominal columns: term, home ownership and purpose. So a model of the
five numbers has a known gap to the best possible score, and one that also reads the three texts
nearly closes it. A batch is one more month; `KINDS` says what may be wrong with it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from labdata.errors import DataError
from labdata.ranking import area_under_curve
from labdata.table import Column, Table, Truth, uniform

__all__ = ["KINDS", "NUMBERS", "ROWS", "SEED_ROWS", "TABLE", "TEXTS", "batch", "make", "preset"]

ROWS = 20000
SEED_ROWS = 2000
DEFAULTED = "Charged Off"

TABLE = Table(
    "loans",
    (
        Column("loan_id", 0),
        Column("issue_d", None),
        Column("funded_amnt", 0),
        Column("annual_inc", 0),
        Column("avg_cur_bal", 0),
        Column("acc_open_past_24mths", 0),
        Column("acc_now_delinq", 0),
        Column("term", None),
        Column("home_ownership", None),
        Column("purpose", None),
        Column("loan_status", None),
    ),
)
NUMBERS = tuple(column.name for column in TABLE.columns[2:7])
TEXTS = tuple(column.name for column in TABLE.columns[7:10])

KINDS = {
    "good": "the columns that were always passed on: five numbers",
    "texts": "three nominal text columns as well; a few rows own their home in a new way, ANY",
    "category": "a purpose that the contract does not list",
    "number-as-text": "incomes with a thousands separator and a currency",
    "duplicates": "loans that occur twice",
    "nulls": "incomes that are missing",
}

# value: share of the loans, effect on the log-odds of a charge-off
Book = dict[str, tuple[float, float]]
TERM: Book = {"36 months": (0.72, -0.25), "60 months": (0.28, 0.65)}
HOME: Book = {"MORTGAGE": (0.49, -0.30), "RENT": (0.40, 0.30), "OWN": (0.11, 0.0)}
PURPOSE: Book = {
    "debt_consolidation": (0.55, 0.15), "credit_card": (0.22, -0.35),
    "home_improvement": (0.08, -0.1),
    "small_business": (0.05, 1.1), "major_purchase": (0.05, 0.0), "medical": (0.05, 0.3),
}  # fmt: skip
NEW_HOME, NEW_SHARE = "ANY", 0.02
MONTHS = pd.period_range("2022-01", "2023-12", freq="M").strftime("%Y-%m").to_numpy()
FIRST_ID = 1_000_000
FAULTY = 0.05  # of the rows of a bad batch


def make(rows: int = ROWS, seed: int = 7) -> tuple[pd.DataFrame, Truth]:
    """Return two years of loans and the truth about them; the same seed makes the same loans."""
    return _draw_loans(uniform(seed, rows, 12), FIRST_ID, None)


def preset(rows: int = SEED_ROWS, seed: int = 7) -> tuple[pd.DataFrame, Truth]:
    """Return loans as the original study had them: five numbers and the status."""
    frame, truth = make(rows, seed)
    return frame[[*NUMBERS, "loan_status"]], truth


def batch(kind: str, month: str, rows: int = 3000, seed: int = 7) -> tuple[pd.DataFrame, Truth]:
    """Return the loans of one month after the history, with the fault that `kind` names.

    `number-as-text` and `nulls` change what a column holds, so the frame's types differ, too.
    """
    if kind not in KINDS:
        raise DataError(f"Expected one of {', '.join(KINDS)}, found {kind!r}.")
    number = pd.Period(month, freq="M").ordinal  # each month has loans and ids of its own
    lanes = uniform(seed * 100_003 + number, rows, 14)
    frame, truth = _draw_loans(lanes[:12], FIRST_ID * (number - 600), month)
    chosen = lanes[12] < FAULTY
    if kind == "good":
        return frame[["loan_id", "issue_d", *NUMBERS, "loan_status"]], truth
    if kind == "texts":
        frame.loc[lanes[13] < NEW_SHARE, "home_ownership"] = NEW_HOME
    elif kind == "category":
        frame.loc[chosen, "purpose"] = "crypto"
    elif kind == "number-as-text":
        texts = frame["annual_inc"].map(lambda value: f"${value:,}")
        frame["annual_inc"] = frame["annual_inc"].astype(str).where(~chosen, texts)
    elif kind == "duplicates":
        frame = pd.concat([frame, frame[chosen]], ignore_index=True)
    elif kind == "nulls":
        frame["annual_inc"] = frame["annual_inc"].astype(float).where(~chosen)
    return frame, truth


def _draw_loans(
    lanes: NDArray[np.float64], first: int, month: str | None
) -> tuple[pd.DataFrame, Truth]:
    lane = iter(lanes)
    income = np.clip(np.exp(11.1 + 0.52 * ndtri(next(lane))), 12_000, 900_000)
    share = np.clip(0.24 * np.exp(0.55 * ndtri(next(lane))), 0.02, 0.9)
    amount = np.clip(np.rint(income * share / 25) * 25, 1_000, 40_000)
    balance = np.clip(np.exp(9.1 + 0.85 * ndtri(next(lane))), 100, 400_000)
    opened = np.clip(np.floor(np.exp(1.55 + 0.60 * ndtri(next(lane))) - 0.5), 0, 30)
    late = np.where(next(lane) < 0.06, 1 + (next(lane) < 0.25), 0)
    books = [_pick(book, next(lane)) for book in (TERM, HOME, PURPOSE)]
    log_odds = -1.72 + 0.85 * (np.log(amount / income) + 1.43) - 0.25 * (np.log(balance) - 9.1)
    log_odds += 0.13 * (opened - 4.5) + 0.55 * late + sum(effect for _, effect in books)
    chance = expit(log_odds)
    bad = next(lane) < chance
    months = MONTHS[(next(lane) * len(MONTHS)).astype(int)] if month is None else month
    frame = TABLE.tidy(
        {
            "loan_id": first + np.arange(len(income)),
            "issue_d": months,
            "funded_amnt": amount,
            "annual_inc": income,
            "avg_cur_bal": balance,
            "acc_open_past_24mths": opened,
            "acc_now_delinq": late,
            "term": books[0][0],
            "home_ownership": books[1][0],
            "purpose": books[2][0],
            "loan_status": np.where(bad, DEFAULTED, "Fully Paid"),
        }
    )
    return frame, _truth(chance, bad)


def _pick(book: Book, draw: NDArray[np.float64]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return a value of the book for each row, and its effect."""
    shares = np.array([share for share, _ in book.values()])
    number = np.searchsorted(np.cumsum(shares)[:-1] / shares.sum(), draw, "right")
    effects = np.array([effect for _, effect in book.values()])
    return np.array(list(book), dtype=object)[number], effects[number]


def _truth(chance: NDArray[np.float64], bad: NDArray[np.bool_]) -> Truth:
    """Return each loan's chance, and what a model that knew it would score."""
    brier = float(np.mean((chance - bad) ** 2))
    return Truth(chance, {"auc": area_under_curve(bad, chance), "brier": brier})
