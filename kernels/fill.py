"""Arrays of one number, numbers that follow each other, and copies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.isa import INT8, UINT8
from kernels.lang import (
    FAST_BYTES,
    FP16,
    FP32,
    INT32,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    data_move,
    fill,
    filled,
    flat_dup,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
)
from kernels.pieces.counting import add_number, count_up
from kernels.rules import require, require_dtype
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
BLOCK = 32
EXACT = 1 << 24
"""Integers below are exact as float32."""


@dataclass(frozen=True)
class FillShape(FlatShape):
    """n elements that are the whole number `value`."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("value",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37, "value": 1}, {"n": 30_000}, {"n": 5, "value": -3, "dtype": INT32},
        {"n": 300, "dtype": FP32},
    )  # fmt: skip
    value: int = 0

    def check(self, kernel: str) -> None:
        """Refuse numbers that a vector instruction cannot hold, and other types than those here."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)
        require(kernel, abs(self.value) <= EXACT, f"value is at most {EXACT}", f"value={self.value}")


def _fill_operands(shape: FillShape) -> tuple[Operand, ...]:
    return (output("y", (shape.n,), shape.dtype),)


def _fill_reference(shape: FillShape) -> tuple[Array]:
    with np.errstate(over="ignore"):
        return (np.full(shape.n, shape.value).astype(_numpy(shape.dtype)),)


def _numpy(dtype: int) -> Any:
    """Return the NumPy type of an element type code."""
    return Operand("", (), dtype).device_dtype.numpy


@kernel(FillShape, FlatTiling, _fill_operands, _fill_reference)
def fill_value(core: Any, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = value; with 0, what clears memory before others add to it."""
    size = size_of(core, shape.dtype)
    unit = FAST_BYTES // size
    tile = max(1, tiling.tile // unit) * unit
    start, end = share_start(core, shape.n, unit), share_end(core, shape.n, unit)
    full = alloc(core, UB, tile * size)
    q = queue(core, V, MTE3, 1)
    fill(core, q)
    flat_dup(core, full, shape.value * 1.0, min(tile, end - start), shape.dtype)
    filled(core, q)
    use(core, q)
    for i in range(start, end, tile):
        data_move(core, y + i * size, full, 1, (min(tile, end - i) * size + BLOCK - 1) // BLOCK)
    free(core, q)
    close(core, q)


@dataclass(frozen=True)
class CopyShape(FlatShape):
    """n elements of any type of one, two or four bytes."""

    LIVE: ClassVar[int] = 1

    def check(self, kernel: str) -> None:
        """Refuse types of other sizes."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32, INT8, UINT8)


def _copy_operands(shape: CopyShape) -> tuple[Operand, ...]:
    return Operand("x", (shape.n,), shape.dtype), output("y", (shape.n,), shape.dtype)


def _copy_reference(shape: CopyShape, x: Array) -> tuple[Array]:
    return (x.copy(),)


@kernel(CopyShape, FlatTiling, _copy_operands, _copy_reference)
def copy(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n]: the assignment of one array to another."""
    size, slots = size_of(core, shape.dtype), tiling.slots
    unit = FAST_BYTES // size
    tile = max(1, tiling.tile // unit) * unit
    ub, q = alloc(core, UB, slots * tile * size, slots), queue(core, MTE2, MTE3, slots)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, tile):
        blocks = (min(tile, end - i) * size + BLOCK - 1) // BLOCK
        slot = ub + fill(core, q) * tile * size
        data_move(core, slot, x + i * size, 1, blocks)
        filled(core, q)
        use(core, q)
        data_move(core, y + i * size, slot, 1, blocks)
        free(core, q)
    close(core, q)


@dataclass(frozen=True)
class RangeShape(FlatShape):
    """n numbers from `start` on, `step` apart; all are below 2 ** 31."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("start",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37, "start": 5}, {"n": 30_000, "step": 3, "dtype": FP32}, {"n": 9, "start": 1 << 30},
    )  # fmt: skip
    start: int = 0
    step: int = 1
    dtype: int = INT32

    def check(self, kernel: str) -> None:
        """Refuse other types than int32 and fp32, and numbers beyond 32 bits."""
        require_dtype(kernel, self.dtype, INT32, FP32)
        numbers = f"start={self.start}, step={self.step}, n={self.n}"
        last = abs(self.start) + self.n * self.step
        require(kernel, last < 1 << 31, "all numbers are below 2 ** 31", numbers)
        require(kernel, self.step < 1 << 9, "step is below 512: a tile is exact as float32", numbers)


def _range_operands(shape: RangeShape) -> tuple[Operand, ...]:
    return (output("y", (shape.n,), shape.dtype),)


def _range_reference(shape: RangeShape) -> tuple[Array]:
    return ((shape.start + shape.step * np.arange(shape.n)).astype(_numpy(shape.dtype)),)


@kernel(RangeShape, FlatTiling, _range_operands, _range_reference)
def arange(core: Any, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = start, start + step, start + 2 * step ..."""
    unit, slots = FAST_BYTES // 4, tiling.slots
    tile = max(1, tiling.tile // unit) * unit
    base, made = alloc(core, UB, tile * 4), alloc(core, UB, slots * tile * 4, slots)
    scratch = alloc(core, UB, BLOCK)
    first, end = share_start(core, shape.n, unit), share_end(core, shape.n, unit)
    count_up(core, base, min(tile, end - first), shape.step, shape.dtype, scratch)
    q = queue(core, V, MTE3, slots)
    for i in range(first, end, tile):
        n = min(tile, end - i)
        slot = made + fill(core, q) * tile * 4
        add_number(core, slot, base, n, shape.start + i * shape.step, shape.dtype, scratch)
        filled(core, q)
        use(core, q)
        data_move(core, y + i * 4, slot, 1, (n * 4 + BLOCK - 1) // BLOCK)
        free(core, q)
    close(core, q)
