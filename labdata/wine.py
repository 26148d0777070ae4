"""Red wines: eleven measurements and a grade, with the columns and ranges of the public set.

Every wine is made up. The grade is a rounded, clipped sum of known effects and of noise, so the
best possible score of any model can be computed. The effects are not all straight lines: a linear
model finds about half of what can be found, a forest more.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from labdata.table import Column, Table, Truth, uniform

__all__ = ["ROWS", "TABLE", "make"]

ROWS = 1599
GRADES = np.arange(3, 9)
NOISE = 0.48  # standard deviation of the grade before rounding

TABLE = Table(
    "wine",
    (
        Column("fixed acidity", 1),
        Column("volatile acidity", 3),
        Column("citric acid", 2),
        Column("residual sugar", 1),
        Column("chlorides", 3),
        Column("free sulfur dioxide", 0),
        Column("total sulfur dioxide", 0),
        Column("density", 5),
        Column("pH", 2),
        Column("sulphates", 2),
        Column("alcohol", 1),
        Column("quality", 0),
    ),
    separator=";",
)

# mean and spread of the logarithm (or of the value, where `False`), and the published range
SHAPES: tuple[tuple[float, float, bool, float, float], ...] = (
    (2.10, 0.20, True, 4.6, 15.9),
    (-0.69, 0.34, True, 0.12, 1.58),
    (0.27, 0.19, False, 0.0, 1.0),
    (0.85, 0.36, True, 0.9, 15.5),
    (-2.51, 0.33, True, 0.012, 0.611),
    (2.56, 0.67, True, 1, 72),
    (3.60, 0.70, True, 6, 289),
    (0.99675, 0.0019, False, 0.99007, 1.00369),
    (3.31, 0.154, False, 2.74, 4.01),
    (-0.44, 0.21, True, 0.33, 2.0),
    (2.34, 0.10, True, 8.4, 14.9),
)
# what goes together in wine: pairs of columns and the correlation of their normal scores
TOGETHER = {
    (0, 2): 0.62, (0, 8): -0.66, (0, 7): 0.60, (1, 2): -0.52, (2, 8): -0.50, (5, 6): 0.70,
    (7, 10): -0.48, (3, 7): 0.33, (4, 9): 0.30, (1, 9): -0.24, (8, 10): 0.18, (2, 9): 0.28,
}  # fmt: skip


def make(rows: int = ROWS, seed: int = 7) -> tuple[pd.DataFrame, Truth]:
    """Return wines and the truth about them; the same seed makes the same wines."""
    lanes = uniform(seed, rows, len(SHAPES) + 1)
    scores = _factor() @ ndtri(lanes[:-1])
    values = [_shape(score, *shape) for score, shape in zip(scores, SHAPES, strict=True)]
    values[6] = np.maximum(values[6], values[5] + 3)  # the total holds the free part
    measured = TABLE.tidy(dict(zip(TABLE.names, [*values, np.zeros(rows)], strict=True)))
    level = _level(measured)
    grade = np.clip(np.rint(level + NOISE * ndtri(lanes[-1])), GRADES[0], GRADES[-1])
    frame = TABLE.tidy({**measured, "quality": grade})
    return frame, _truth(level, frame["quality"].to_numpy(dtype=float))


def _factor() -> NDArray[np.float64]:
    """Return a factor of the nearest valid correlation matrix: rounded figures alone make none."""
    matrix = np.eye(len(SHAPES))
    for (a, b), value in TOGETHER.items():
        matrix[a, b] = matrix[b, a] = value
    values, vectors = np.linalg.eigh(matrix)
    factor = vectors * np.sqrt(values.clip(0.02))
    return np.asarray(factor / np.linalg.norm(factor, axis=1, keepdims=True))


def _shape(
    score: NDArray[np.float64], middle: float, spread: float, log: bool, low: float, high: float
) -> NDArray[np.float64]:
    value = middle + spread * score
    return np.clip(np.exp(value) if log else value, low, high)


def _level(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the grade before noise and rounding."""
    alcohol = frame["alcohol"].to_numpy()
    sulphates = np.log(frame["sulphates"].to_numpy()) + 0.44
    volatile = frame["volatile acidity"].to_numpy()
    total = np.minimum(frame["total sulfur dioxide"].to_numpy(), 160)
    level = 5.52 + 0.42 * np.tanh((alcohol - 10.7) / 0.4) + 0.10 * (alcohol - 10.4)
    level -= 0.65 * (volatile > 0.62)
    level += 1.1 * np.tanh(3.0 * sulphates) * (alcohol > 10.2)
    level -= 0.0065 * (total - 46) * (alcohol < 10.2)
    level -= 0.9 * (frame["chlorides"].to_numpy() - 0.087).clip(0)
    level += 0.45 * np.sin(2 * np.pi * frame["citric acid"].to_numpy())
    return np.asarray(level, dtype=np.float64)


def _truth(level: NDArray[np.float64], grade: NDArray[np.float64]) -> Truth:
    """Return each wine's expected grade, and what a model that knew it would score."""
    edges = (GRADES[:-1] + 0.5)[:, None]
    below = np.vstack([np.zeros_like(level), ndtr((edges - level) / NOISE), np.ones_like(level)])
    expected = GRADES.astype(float) @ np.diff(below, axis=0)
    left = np.mean((grade - expected) ** 2)
    return Truth(expected, {"r2": float(1 - left / np.var(grade)), "rmse": float(np.sqrt(left))})
