"""The area under the ROC curve, from ranks: what a leaf needs of a metrics library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = ["area_under_curve"]


def area_under_curve(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Return the chance that a positive row scores higher than a negative one; ties count half.

    >>> area_under_curve(np.array([False, True, True]), np.array([0.1, 0.4, 0.1]))
    0.75
    """
    many = int(positive.sum())
    others = positive.size - many
    ranks = rankdata(score)
    return float((ranks[positive].sum() - many * (many + 1) / 2) / (many * others))
