"""How far a kernel's result may lie from its reference, stated once for the command line and the tests.

The rule: every element satisfies |actual - expected| <= r * (1 + |expected| + median |expected|), where r is
four roundings of the output's type for fp16 and room for sums of a million terms for fp32. The constant 1
stands for the inputs, which are of that size; integers are equal. NaN and infinities must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

RELATIVE = {
    "float16": 2.0**-9,  # four half units in the last place: the result, the reference, two steps between
    "float32": 2.0**-14,  # a random walk of 2^20 roundings of 2^-24
}


@dataclass(frozen=True)
class Difference:
    """How a result differs from its reference.

    Attributes:
        max_abs_error: the largest distance; infinite where NaN or infinity stand in different places.
        wrong: how many elements lie further away than the rule allows.
        worst: index of the element that breaks the rule most (or comes closest to it).
        allowed: what the rule allows there.
    """

    max_abs_error: float
    wrong: int
    worst: tuple[int, ...]
    allowed: float


def allowed_error(expected: Array) -> npt.NDArray[np.float64]:
    """Return how far each element may lie away.

    >>> allowed_error(np.array([1.0, 1.0], np.float16)).tolist() == [3 * 2.0**-9] * 2
    True
    >>> allowed_error(np.array([7, 8], np.int32)).tolist()
    [0.0, 0.0]
    """
    magnitude = np.abs(expected.astype(np.float64))
    finite = np.isfinite(magnitude)
    median = float(np.median(magnitude[finite])) if finite.any() else 0.0
    relative = RELATIVE.get(expected.dtype.name, 0.0)
    return relative * (1.0 + np.where(finite, magnitude, 0.0) + median)


def compare(actual: Array, expected: Array) -> Difference:
    """Return how a result differs from its reference, judged by the rule of this module.

    >>> compare(np.array([1, 2, 9]), np.array([1, 2, 3]))
    Difference(max_abs_error=6.0, wrong=1, worst=(2,), allowed=0.0)
    """
    if not expected.size:
        return Difference(0.0, 0, (), 0.0)
    left, right = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(left - right)
    odd = ~np.isfinite(error)
    same = (left[odd] == right[odd]) | (np.isnan(left[odd]) & np.isnan(right[odd]))
    error[odd] = np.where(same, 0.0, np.inf)
    allowed = allowed_error(expected)
    excess = error - allowed
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    place = tuple(int(axis) for axis in worst)
    return Difference(float(error.max()), int((excess > 0).sum()), place, float(allowed[worst]))
