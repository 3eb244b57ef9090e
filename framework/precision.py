"""Mixed precision: which dtype a layer's operands and results have."""

from __future__ import annotations

from typing import Any

from framework import ops
from framework.dtypes import DType, float32


def operand(x: Any, compute_dtype: DType | None) -> Any:
    """Return x in the dtype that a layer computes in; None leaves it."""
    return x if compute_dtype is None or x.dtype == compute_dtype else ops.cast(x, compute_dtype)


def result_dtype(x: DType, compute_dtype: DType | None) -> DType:
    """Return the dtype of a product: float32 in mixed precision, else that of the operands."""
    return x if compute_dtype is None else float32


def without_bias(y: Any, bias: None, axis: int) -> Any:
    """Return y: the layer has no bias."""
    return y
