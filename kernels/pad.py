"""Padding of one axis with a constant; several axes are padded one after the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import FP16, FP32, INT32, Operand, kernel, output, size_of
from kernels.pieces.parts import Assembly, assemble
from kernels.pieces.row import CONSTANT, Part, row_of
from kernels.rules import item_bytes, require, require_dtype
from kernels.tiling.rows import RowsShape, RowTiling

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PadShape(RowsShape):
    """x[m, n, d]; `before` and `after` places of the axis n hold the number `value`."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("before", "after", "value")
    APART: ClassVar[tuple[str, ...]] = ("before", "value")  # numbers before and behind are written alike
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 37, "n": 9, "before": 2, "after": 1},
        {"m": 50, "n": 48, "before": 16, "value": 7, "dtype": FP32},
        {"m": 20, "n": 700, "before": 1, "after": 1, "value": -1}, {"m": 1, "n": 9000, "after": 7},
        {"m": 12, "n": 30, "d": 5, "after": 40, "dtype": INT32}, {"m": 40, "n": 120, "before": 1, "after": 2},
    )  # fmt: skip
    SMALL: ClassVar[Mapping[str, int]] = {"m": 33, "n": 70, "d": 1}
    LARGE: ClassVar[Mapping[str, int]] = {"m": 700, "n": 300, "d": 1}
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"m": 24, "n": 1, "after": 511, "d": 1024},)
    m: int
    n: int
    before: int = 0
    after: int = 0
    value: int = 0
    d: int = 1
    dtype: int = FP16

    @property
    def rows(self) -> int:
        """Rows of the result."""
        return self.m

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes before, of and behind a row of x."""
        parts = (self.before, self.n, self.after)
        return tuple(part * self.d * item_bytes(self.dtype) for part in parts if part > 0)

    def check(self, kernel: str) -> None:
        """Refuse negative padding, and other types than those of two and four bytes."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)
        numbers = f"before={self.before}, after={self.after}"
        require(kernel, min(self.before, self.after) >= 0, "before and after are 0 or more", numbers)


def _operands(shape: PadShape) -> tuple[Operand, ...]:
    padded = (shape.m, shape.before + shape.n + shape.after, shape.d)
    return Operand("x", (shape.m, shape.n, shape.d), shape.dtype), output("y", padded, shape.dtype)


def _reference(shape: PadShape, x: Array) -> tuple[Array]:
    places = ((0, 0), (shape.before, shape.after), (0, 0))
    return (np.pad(x, places, constant_values=shape.value).astype(x.dtype),)


@kernel(PadShape, RowTiling, _operands, _reference)
def pad(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, before + n + after, d] = x[m, n, d] with constants around it along n."""
    inner, m = shape.d * size_of(core, shape.dtype), shape.m
    before, width, after = shape.before * inner, shape.n * inner, shape.after * inner
    data, behind = Part(x, width, width), Part(0, CONSTANT if after > 0 else 0, after)
    row = row_of(core, m, 0, data, behind, Part(0, 0, 0), Part(0, 0, 0))
    if before > 0:
        row = row_of(core, m, 0, Part(0, CONSTANT, before), data, behind, Part(0, 0, 0))
    assemble(core, row, Assembly(y, m, shape.dtype, tiling.tile, tiling.slots), shape.value * 1.0)
