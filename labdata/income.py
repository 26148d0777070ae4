"""Who earns more than 50,000 a year: the columns and code books of the census extract of 1994.

People are made up. The chance of a high income follows from education, age, hours, work, marriage
and gains; race and sex have **no** effect of their own, unless `bias` is switched on: then the
chance of a woman, all else equal, is lowered by a known amount. So a lab can measure an unfairness
whose size is known. Sex and race are drawn independently of everything else.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from labdata.ranking import area_under_curve
from labdata.table import Column, Table, Truth, uniform

__all__ = ["BIAS", "ROWS", "TABLE", "make"]

ROWS = 32561
BIAS = 0.9  # what the switch takes off a woman's log-odds

TABLE = Table(
    "income",
    (
        Column("age", 0),
        Column("workclass", None),
        Column("fnlwgt", 0),
        Column("education", None),
        Column("education_num", 0),
        Column("marital_status", None),
        Column("occupation", None),
        Column("relationship", None),
        Column("race", None),
        Column("sex", None),
        Column("capital_gain", 0),
        Column("capital_loss", 0),
        Column("hours_per_week", 0),
        Column("native_country", None),
        Column("income", None),
    ),
)

# value: share of the people, effect on the log-odds
Book = dict[str, tuple[float, float]]
WORKCLASS: Book = {
    "Private": (0.735, 0.0), "Self-emp-not-inc": (0.08, -0.35), "Self-emp-inc": (0.035, 0.35),
    "Federal-gov": (0.03, 0.45), "Local-gov": (0.065, -0.05), "State-gov": (0.04, -0.1),
    "Without-pay": (0.0005, -2.0), "Never-worked": (0.0002, -4.0), "?": (0.0143, -0.5),
}  # fmt: skip
EDUCATION = (
    "Preschool", "1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th", "HS-grad",
    "Some-college", "Assoc-voc", "Assoc-acdm", "Bachelors", "Masters", "Prof-school", "Doctorate",
)  # fmt: skip
EDUCATION_SHARE = (
    0.0016, 0.005, 0.01, 0.02, 0.016, 0.029, 0.036, 0.013, 0.3225, 0.224, 0.042, 0.033, 0.1644,
    0.053, 0.018, 0.0125,
)  # fmt: skip
OCCUPATION: Book = {
    "Exec-managerial": (0.13, 0.85), "Prof-specialty": (0.13, 0.55), "Craft-repair": (0.13, 0.05),
    "Adm-clerical": (0.12, 0.0), "Sales": (0.11, 0.25), "Other-service": (0.10, -0.85),
    "Machine-op-inspct": (0.06, -0.3), "Transport-moving": (0.05, -0.1),
    "Handlers-cleaners": (0.04, -0.7), "Farming-fishing": (0.03, -0.9), "Tech-support": (0.03, 0.6),
    "Protective-serv": (0.02, 0.6), "Priv-house-serv": (0.005, -2.0), "Armed-Forces": (0.001, 0.0),
    "?": (0.044, -0.5),
}  # fmt: skip
RACE: Book = {
    "White": (0.854, 0.0), "Black": (0.096, 0.0), "Asian-Pac-Islander": (0.032, 0.0),
    "Amer-Indian-Eskimo": (0.0096, 0.0), "Other": (0.0084, 0.0),
}  # fmt: skip
COUNTRY: Book = {
    "United-States": (0.896, 0.0), "Mexico": (0.0197, -0.3), "Philippines": (0.0061, 0.1),
    "Germany": (0.0042, 0.1), "Canada": (0.0037, 0.1), "India": (0.0031, 0.1),
    "England": (0.0028, 0.1), "Cuba": (0.0029, 0.0), "China": (0.0023, 0.0), "?": (0.0592, 0.0),
}  # fmt: skip
SINGLE = ("Never-married", "Divorced", "Widowed", "Separated", "Married-spouse-absent")
SINGLE_SHARE = (0.61, 0.255, 0.057, 0.06, 0.018)


def make(rows: int = ROWS, seed: int = 7, bias: bool = False) -> tuple[pd.DataFrame, Truth]:
    """Return people and the truth about them; `bias` lowers women's chances and nothing else."""
    lane = iter(uniform(seed, rows, 20))
    age = np.clip(np.rint(np.exp(3.585 + 0.36 * ndtri(next(lane)))), 17, 90)
    years = _draw(next(lane), EDUCATION_SHARE)
    sex = np.where(next(lane) < 0.669, "Male", "Female")
    married = next(lane) < expit(-3.1 + 0.080 * age - 0.00068 * (age - 45).clip(0) ** 2)
    single = np.array(SINGLE, dtype=object)[_draw(next(lane), SINGLE_SHARE)]
    hours = np.clip(np.rint(40.4 + 12.3 * ndtri(next(lane))), 1, 99)
    hours = np.where(next(lane) < 0.467, 40, hours)
    gain = np.where(next(lane) < 0.083, np.rint(np.exp(8.6 + 1.0 * ndtri(next(lane)))), 0)
    loss = np.where(next(lane) < 0.047, np.rint(1870 + 370 * ndtri(next(lane))), 0)
    gain, loss = np.clip(gain, 0, 99999), np.clip(loss, 0, 4356) * (gain == 0)
    books = [(WORKCLASS, next(lane)), (OCCUPATION, next(lane)), (COUNTRY, next(lane))]
    picked = [_pick(book, draw) for book, draw in books]
    log_odds = -4.05 + 0.42 * (years - 9) + 2.7 * married
    log_odds += 1.2 * sum(effect for _, effect in picked)
    log_odds += 1.5 * np.tanh((age - 32) / 12) - 0.0016 * (age - 52).clip(0) ** 2
    log_odds += 0.045 * (hours - 40).clip(-25, 20) + 3.2 * (gain > 5000) + 0.45 * (loss > 1500)
    chance = expit(log_odds - BIAS * bias * (sex == "Female"))
    earns = next(lane) < chance
    spouse = np.where(sex == "Male", "Husband", "Wife").astype(object)
    alone = np.array(["Not-in-family", "Own-child", "Unmarried", "Other-relative"], dtype=object)
    together = np.where(next(lane) < 0.93, spouse, "Other-relative")
    frame = TABLE.tidy(
        {
            "age": age,
            "workclass": picked[0][0],
            "fnlwgt": np.clip(np.exp(12.03 + 0.52 * ndtri(next(lane))), 12285, 1484705),
            "education": np.array(EDUCATION, dtype=object)[years],
            "education_num": years + 1,
            "marital_status": np.where(married, "Married-civ-spouse", single),
            "occupation": picked[1][0],
            "relationship": np.where(married, together, alone[_alone(age, next(lane))]),
            "race": _pick(RACE, next(lane))[0],
            "sex": sex,
            "capital_gain": gain,
            "capital_loss": loss,
            "hours_per_week": hours,
            "native_country": picked[2][0],
            "income": np.where(earns, ">50K", "<=50K"),
        }
    )
    return frame, _truth(chance, earns)


def _draw(uniform_numbers: NDArray[np.float64], shares: tuple[float, ...]) -> NDArray[np.int64]:
    edges = np.cumsum(shares) / np.sum(shares)
    return np.searchsorted(edges[:-1], uniform_numbers, "right")


def _pick(book: Book, draw: NDArray[np.float64]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return a value of the book for each row, and its effect."""
    number = _draw(draw, tuple(share for share, _ in book.values()))
    effects = np.array([effect for _, effect in book.values()])
    return np.array(list(book), dtype=object)[number], effects[number]


def _alone(age: NDArray[np.float64], draw: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how somebody without a spouse lives: young people often with their parents."""
    child = np.where(age < 25, 0.55, 0.13)
    return np.select([draw < child, draw < child + 0.25, draw < child + 0.30], [1, 2, 3], default=0)


def _truth(chance: NDArray[np.float64], earns: NDArray[np.bool_]) -> Truth:
    """Return each person's chance, and what a model that knew it would score."""
    right = np.where(chance >= 0.5, earns, ~earns).mean()
    clipped = np.where(earns, chance, 1 - chance).clip(1e-15)
    return Truth(
        chance,
        {
            "auc": area_under_curve(earns, chance),
            "accuracy": float(right),
            "log_loss": float(-np.log(clipped).mean()),
        },
    )
