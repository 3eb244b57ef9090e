"""Rectangular pieces of arrays, also every step-th row: slices, splits and strided slices along one axis.

Along any axis of larger arrays, m is what stands before the axis, n the axis, d what stands behind it. A
split is one slice per piece; along several axes, one slice follows the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from kernels.lang import FP16, FP32, INT32, Operand, kernel, output, size_of
from kernels.pieces.parts import Assembly, assemble
from kernels.pieces.row import Part, row_of
from kernels.rules import item_bytes, require, require_dtype
from kernels.tiling.rows import RowsShape, RowTiling

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SliceShape(RowsShape):
    """Of x[m, n, d], k places of the axis n from `start` on, `step` apart."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("start",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 37, "n": 9, "k": 3, "start": 2}, {"m": 50, "n": 64, "k": 16, "start": 16, "dtype": FP32},
        {"m": 20, "n": 700, "k": 611, "start": 5}, {"m": 1, "n": 9000, "k": 8001, "start": 3},
        {"m": 12, "n": 30, "d": 5, "k": 7, "step": 4, "start": 1},
        {"m": 3, "n": 9, "d": 400, "k": 3, "step": 3},
    )  # fmt: skip
    SMALL: ClassVar[Mapping[str, int]] = {"m": 33, "n": 70, "k": 40, "d": 3, "step": 1}
    LARGE: ClassVar[Mapping[str, int]] = {"m": 700, "n": 300, "k": 77, "d": 3, "step": 2}
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"m": 24, "n": 512, "k": 1, "d": 1024},)
    m: int
    n: int
    k: int
    start: int = 0
    step: int = 1
    d: int = 1
    dtype: int = FP16

    @property
    def rows(self) -> int:
        """Rows of the result; with a step, each place of the axis is one."""
        return self.m * (self.k if self.step > 1 else 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes of a row."""
        return ((1 if self.step > 1 else self.k) * self.d * item_bytes(self.dtype),)

    def check(self, kernel: str) -> None:
        """Refuse places behind the axis, and other types than those of two and four bytes."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)
        last = self.start + (self.k - 1) * self.step
        numbers = f"start={self.start}, k={self.k}, step={self.step}, n={self.n}"
        require(kernel, self.start >= 0 and last < self.n, "start + (k - 1) * step is below n", numbers)


def _operands(shape: SliceShape) -> tuple[Operand, ...]:
    x = Operand("x", (shape.m, shape.n, shape.d), shape.dtype)
    return x, output("y", (shape.m, shape.k, shape.d), shape.dtype)


def _reference(shape: SliceShape, x: Array) -> tuple[Array]:
    end = shape.start + (shape.k - 1) * shape.step + 1
    return (x[:, shape.start : end : shape.step].copy(),)


@kernel(SliceShape, RowTiling, _operands, _reference)
def slice_axis(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, k, d] = x[m, start : start + k * step : step, d]."""
    inner = shape.d * size_of(core, shape.dtype)
    jump, src = shape.n * inner, x + shape.start * inner
    rows, group, p = shape.m, shape.m, Part(src, jump, shape.k * inner)
    if shape.step > 1:
        rows, group, p = shape.m * shape.k, shape.k, Part(src, shape.step * inner, inner)
    row = row_of(core, group, jump, p, Part(0, 0, 0), Part(0, 0, 0), Part(0, 0, 0))
    assemble(core, row, Assembly(y, rows, shape.dtype, tiling.tile, tiling.slots), 0.0)
