"""Tensors that are made from nothing: filled with one value, or with numbers in a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework import dtypes
from framework.dtypes import DType
from framework.ir.builder import Builder, Sym
from framework.ir.nodes import Attrs
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.op import Array, NoGradient, Op, sample
from framework.ops.shapes import require
from framework.tensor import Tensor


def _full_infer(shape: tuple[int, ...], value: float = 0.0, dtype: str = "float32") -> TensorType:
    require(min(shape, default=0) >= 0, f"full: shape {shape} has a negative length")
    return TensorType(shape, dtypes.dtype(dtype))


def _full_normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    shape = attrs["shape"]
    return {
        "shape": (shape,) if isinstance(shape, int) else shape,
        "value": attrs["value"],
        "dtype": dtypes.dtype(attrs["dtype"]).name,
    }


def _full(shape: tuple[int, ...], value: float, dtype: str) -> Array:
    return np.full(shape, value, dtypes.dtype(dtype).numpy)


full = Op(
    "full",
    "->*",
    _full_infer,
    _full,
    NoGradient("it has no input"),
    lowering=lowering.full,
    normalize=_full_normalize,
    samples=(sample(shape=(2, 3), value=1.5), sample(shape=(), value=7, dtype="int64")),
)


def filled(builder: Builder, type_: TensorType, value: float) -> Sym:
    """Return a tensor of one value in a Func; unlike a constant it takes no room in the text."""
    attrs: Attrs = {"shape": type_.shape, "value": value, "dtype": type_.dtype.name}
    return builder.emit("full", [], attrs)[0]


def zeros(shape: int | tuple[int, ...], dtype: DType | str = "float32") -> Any:
    """Return a tensor of zeros."""
    return full(shape, 0, dtype)


def ones(shape: int | tuple[int, ...], dtype: DType | str = "float32") -> Any:
    """Return a tensor of ones."""
    return full(shape, 1, dtype)


def arange(start: int, stop: int | None = None, step: int = 1, dtype: DType | str = "int32") -> Tensor:
    """Return start, start + step, ... up to stop; from 0 when one number is given.

    >>> arange(3)
    Tensor([0, 1, 2], int32)
    """
    first, last = (0, start) if stop is None else (start, stop)
    return Tensor(np.arange(first, last, step), dtype)


def linspace(start: float, stop: float, num: int, dtype: DType | str = "float32") -> Tensor:
    """Return `num` numbers in equal steps from start to stop, both included.

    >>> linspace(0, 1, 3)
    Tensor([0. , 0.5, 1. ], float32)
    """
    return Tensor(np.linspace(start, stop, num), dtype)


def eye(size: int, dtype: DType | str = "float32") -> Tensor:
    """Return the square matrix with ones on the diagonal and zeros elsewhere."""
    return Tensor(np.eye(size), dtype)
