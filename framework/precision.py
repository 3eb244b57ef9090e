"""Mixed precision: which dtype a layer's operands and results have."""

from __future__ import annotations

from typing import Any

from framework import ops
from framework.dtypes import DType, accumulator, dtype


def operand(x: Any, compute_dtype: DType | None) -> Any:
    """Return x in the dtype that a layer computes in; None leaves it."""
    return x if compute_dtype is None or x.dtype == compute_dtype else ops.cast(x, compute_dtype)


def result_dtype(x: DType, wanted: DType | None) -> DType:
    """Return the dtype of a layer's result: that of its operands unless another one is wanted."""
    return x if wanted is None else wanted


def summed_wide(x: Any) -> Any:
    """Return x in the dtype that its sums are kept in: losses and statistics of half precision in float32."""
    return operand(x, dtype(accumulator(x.dtype)))


def without_bias(y: Any, bias: None, axis: int) -> Any:
    """Return y: the layer has no bias."""
    return y
