"""Functions that are written with operators, and have their gradients and batches from them."""

from __future__ import annotations

import math
from typing import Any

from framework.ops.elementwise import exp, log, maximum, minimum, mul, select, sqrt, stop_gradient
from framework.ops.functions import sigmoid
from framework.ops.joining import expand_dims
from framework.ops.reduction import reduce_max, reduce_mean, reduce_sum

Axes = int | tuple[int, ...] | None


def where(condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition holds and y elsewhere."""
    return select(condition, x, y)


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """Return x held between low and high; None is no bound."""
    bounded = x if low is None else maximum(x, low)
    return bounded if high is None else minimum(bounded, high)


def silu(x: Any) -> Any:
    """Return x times its sigmoid."""
    return mul(x, sigmoid(x))


def log2(x: Any) -> Any:
    """Return the logarithm to base 2."""
    return log(x) * (1 / math.log(2))


def log10(x: Any) -> Any:
    """Return the logarithm to base 10."""
    return log(x) * (1 / math.log(10))


def exp2(x: Any) -> Any:
    """Return 2 to the power of x."""
    return exp(mul(x, math.log(2)))


def hypot(x: Any, y: Any) -> Any:
    """Return the length of the vector (x, y)."""
    return sqrt(mul(x, x) + mul(y, y))


def logsumexp(x: Any, axes: Axes = None, keepdims: bool = False) -> Any:
    """Return the logarithm of the sum of the exponentials, of numbers however large."""
    largest = stop_gradient(reduce_max(x, axes, True))
    total = log(reduce_sum(exp(x - largest), axes, True)) + largest
    return total if keepdims else reduce_sum(total, axes)


def variance(x: Any, axes: Axes = None, keepdims: bool = False) -> Any:
    """Return the mean of the squared distances from the mean."""
    distance = x - reduce_mean(x, axes, True)
    return reduce_mean(distance * distance, axes, keepdims)


def std(x: Any, axes: Axes = None, keepdims: bool = False) -> Any:
    """Return the standard deviation: the root of the variance."""
    return sqrt(variance(x, axes, keepdims))


def norm(x: Any, axes: Axes = None, keepdims: bool = False) -> Any:
    """Return the root of the sum of the squares."""
    return sqrt(reduce_sum(mul(x, x), axes, keepdims))


def outer(x: Any, y: Any) -> Any:
    """Return the products of each element of a vector with each of another: z[m, n] = x[m] y[n]."""
    return mul(expand_dims(x, 1), expand_dims(y, 0))
