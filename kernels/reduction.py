"""Reductions of matrices along either axis, and the gradient of a bias.

Half precision is widened to fp32 on arrival and rounded once at the end. Along rows, pieces of 64 columns are
folded onto each other with repeats over the rows; what remains of each row is added by the vector unit's
reduction, or transposed and folded for a maximum. Along columns, rows are folded onto one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_convert,
    flat_dup,
    flat_scale,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vcadd,
    vector_dup,
)
from kernels.lang.flat import ADD, MAX, MAX_REPEAT
from kernels.lang.fold import LOWEST, fold
from kernels.lang.rows import load_rows, pitch_bytes
from kernels.lang.transpose import transpose_32bit
from kernels.rules import item_bytes, require, require_dtype, round_up

Array = npt.NDArray[Any]
BLOCK, LINE, LANES, EDGE = 32, 256, 64, 16
TILE_BYTES, MAX_TILE_ROWS = 32 * 1024, 128


@dataclass(frozen=True)
class ReduceShape(Shape):
    """x[m, n]; axis 1 reduces over n to y[m], axis 0 over m to y[n]."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("axis",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"m": m, "n": n, "axis": axis, "dtype": dtype}
        for m, n in ((17, 1234), (200, 70), (500, 3))
        for axis in (0, 1)
        for dtype in (FP16, FP32)
    )
    m: int
    n: int
    axis: int = 1
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse other axes and types."""
        require(kernel, self.axis in (0, 1), "axis is 0 or 1", f"axis={self.axis}")
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class ReduceTiling(Tiling):
    """Rows and columns of a tile (rounded to multiples of 16 and 64) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows", "columns")
    rows: int
    columns: int
    slots: int = 2

    @classmethod
    def default(cls, shape: ReduceShape, platform: Platform) -> Self:
        """Return a tile of about 32 KB in fp32: whole rows along axis 1, some columns along axis 0."""
        wide = TILE_BYTES // 4
        if shape.axis == 1:
            columns = min(round_up(shape.n, LANES), wide // EDGE)
            share = round_up(-(-shape.m // cls._most(shape, platform)), EDGE)
            return cls(min(MAX_TILE_ROWS, share, max(EDGE, wide // columns // EDGE * EDGE)), columns)
        columns = round_up(-(-shape.n // cls._most(shape, platform)), LANES)
        columns = min(columns, wide // EDGE)
        return cls(min(round_up(shape.m, EDGE), wide // columns // EDGE * EDGE), columns)

    @classmethod
    def space(cls, shape: ReduceShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of fewer rows and one of fewer columns."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > EDGE:
            yield cls(first.rows // 2, first.columns)
        if first.columns > LANES:
            yield cls(first.rows, first.columns // 2)

    @staticmethod
    def _most(shape: ReduceShape, platform: Platform) -> int:
        return int(platform.ai_cores)

    def blocks(self, shape: ReduceShape, platform: Platform) -> int:
        """Return one core per 8 or 16 results along rows, per 64 along columns, as many as there are."""
        unit = BLOCK // item_bytes(shape.dtype) if shape.axis == 1 else LANES
        length = shape.m if shape.axis == 1 else shape.n
        return min(int(platform.ai_cores), -(-length // unit))


@emits
def fold_columns(core: Any, op: int, kept: int, src: int, rows: int, columns: int, pitch: int) -> None:
    """Fold every 64 columns of src[rows, columns], rows `pitch` bytes apart, onto kept[rows, 64]."""
    for column in range(0, columns, LANES):
        mask = min(LANES, columns - column)
        if pitch // BLOCK <= MAX_REPEAT:
            fold(core, op, kept, src + column * 4, rows, mask, 8, pitch // BLOCK)
        else:
            for row in range(rows):
                fold(core, op, kept + row * LINE, src + row * pitch + column * 4, 1, mask, 8, 8)


@emits
def finish_rows(core: Any, op: int, dst: int, kept: int, rows: int, scratch: int) -> None:
    """Set dst[rows] = kept[rows, 64] reduced over its columns; whole groups of 16 rows are written."""
    groups = (rows + EDGE - 1) // EDGE
    if op == ADD:
        for done in range(0, rows, MAX_REPEAT):
            vcadd(core, dst + done * 4, kept + done * LINE, min(MAX_REPEAT, rows - done), FP32, LANES)
        return
    fold(core, op, kept, kept + 128, rows, 32, 8, 8)
    fold(core, op, kept, kept + 64, rows, 16, 8, 8)
    columns = scratch + groups * 2048
    transpose_32bit(core, columns, kept, 8, EDGE * 8, groups, scratch)
    for half in (512, 256):
        for part in range(0, half, LINE):
            fold(core, op, columns + part, columns + half + part, groups, LANES, 32, 32)
    for half in (128, 64):
        fold(core, op, columns, columns + half, groups, half // 4, 32, 32)
    for group in range(groups):
        data_move(core, dst + group * 64, columns + group * 1024, 1, 2)


@emits
def widened(core: Any, src: int, wide: int, dtype: int, nbytes: int) -> int:
    """Return where the tile lies in fp32: where it came, or converted at `wide`."""
    if dtype == FP32:
        return src
    flat_convert(core, wide, FP32, src, FP16, nbytes // 2)
    return wide


@emits
def store_row(
    core: Any, dst: int, values: int, n: int, factor: float, dtype: int, ub: int, q_out: int
) -> None:
    """Move values[n] (fp32 in UB), multiplied by `factor`, to GM as `dtype` through the buffer `ub`."""
    fill(core, q_out)
    if dtype == FP16:
        flat_scale(core, values, values, n, factor, 0.0, FP32)
        flat_convert(core, ub, FP16, values, FP32, n)
    else:
        data_move(core, ub, values, 1, (n * 4 + 31) // 32)
        flat_scale(core, ub, ub, n, factor, 0.0, FP32)
    filled(core, q_out)
    use(core, q_out)
    data_move(core, dst, ub, 1, (n * size_of(core, dtype) + 31) // 32)
    free(core, q_out)


@emits
def reduce_rows(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Set y[m] = x[m, n] reduced over n, for this block's share of the rows."""
    size, n, dtype = size_of(core, shape.dtype), shape.n, shape.dtype
    rows, columns = max(1, tiling.rows // EDGE) * EDGE, max(1, tiling.columns // LANES) * LANES
    pitch = pitch_bytes(core, min(columns, n) * size)
    ub_x = alloc(core, UB, tiling.slots * rows * pitch, tiling.slots)
    wide = alloc(core, UB, rows * pitch * 2 if dtype == FP16 else 0)
    kept, values, ub_y = alloc(core, UB, rows * LINE), alloc(core, UB, rows * 4), alloc(core, UB, rows * 4)
    scratch = alloc(core, UB, rows // EDGE * 3072 if op == MAX else 0)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    unit = BLOCK // size
    end = share_end(core, shape.m, unit)
    for row in range(share_start(core, shape.m, unit), end, rows):
        count = min(rows, end - row)
        flat_dup(core, kept, 0.0 if op == ADD else LOWEST, rows * LANES, FP32)
        for column in range(0, n, columns):
            width = min(columns, n - column)
            taken = ub_x + fill(core, q_in) * rows * pitch
            load_rows(core, taken, pitch, x + (row * n + column) * size, n * size, count, width * size)
            filled(core, q_in)
            use(core, q_in)
            tile = widened(core, taken, wide, dtype, count * pitch)
            fold_columns(core, op, kept, tile, count, width, pitch * 4 // size)
            free(core, q_in)
        finish_rows(core, op, values, kept, count, scratch)
        store_row(core, y + row * size, values, count, factor, dtype, ub_y, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def reduce_columns(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Set y[n] = x[m, n] reduced over m, for this block's share of the columns."""
    size, n, dtype = size_of(core, shape.dtype), shape.n, shape.dtype
    rows, columns = max(1, tiling.rows // EDGE) * EDGE, max(1, tiling.columns // LANES) * LANES
    pitch = columns * size
    ub_x = alloc(core, UB, tiling.slots * rows * pitch, tiling.slots)
    wide = alloc(core, UB, rows * pitch * 2 if dtype == FP16 else 0)
    kept, ub_y = alloc(core, UB, columns * 4), alloc(core, UB, columns * 4)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    end = share_end(core, n, LANES)
    for column in range(share_start(core, n, LANES), end, columns):
        width = min(columns, end - column)
        flat_dup(core, kept, 0.0 if op == ADD else LOWEST, columns, FP32)
        for row in range(0, shape.m, rows):
            count = min(rows, shape.m - row)
            taken = ub_x + fill(core, q_in) * rows * pitch
            load_rows(core, taken, pitch, x + (row * n + column) * size, n * size, count, width * size)
            filled(core, q_in)
            use(core, q_in)
            tile = widened(core, taken, wide, dtype, count * pitch)
            for part in range(0, width, LANES):
                mask = min(LANES, width - part)
                fold(core, op, kept + part * 4, tile + part * 4, count, mask, 0, columns // 8)
            free(core, q_in)
        store_row(core, y + column * size, kept, width, factor, dtype, ub_y, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def reduce(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Reduce x[m, n] along the shape's axis and multiply by `factor`."""
    if shape.axis == 1:
        reduce_rows(core, op, x, y, shape, tiling, factor)
    else:
        reduce_columns(core, op, x, y, shape, tiling, factor)


def _operands(shape: ReduceShape) -> tuple[Operand, ...]:
    kept = shape.m if shape.axis == 1 else shape.n
    return Operand("x", (shape.m, shape.n), shape.dtype), output("y", (kept,), shape.dtype)


def _reduction(function: Callable[..., Array]) -> Callable[[Callable[..., None]], Any]:
    def reference(shape: ReduceShape, x: Array) -> tuple[Array]:
        return (function(x.astype(np.float64), axis=shape.axis).astype(x.dtype),)

    return kernel(ReduceShape, ReduceTiling, _operands, reference)


@_reduction(np.sum)
def reduce_sum(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m] = sum of x[m, n] over n (axis 1), or y[n] = sum over m (axis 0)."""
    reduce(core, ADD, x, y, shape, tiling, 1.0)


@_reduction(np.max)
def reduce_max(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m] = largest of x[m, n] over n (axis 1), or y[n] = largest over m (axis 0)."""
    reduce(core, MAX, x, y, shape, tiling, 1.0)


@_reduction(np.mean)
def reduce_mean(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m] = mean of x[m, n] over n (axis 1), or y[n] = mean over m (axis 0)."""
    factor = 1.0 / (shape.n if shape.axis == 1 else shape.m)
    reduce(core, ADD, x, y, shape, tiling, factor)


@dataclass(frozen=True)
class BiasShape(Shape):
    """dy[m, n] in fp32; one sum per column."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 17, "n": 1234},
        {"m": 200, "n": 70},
        {"m": 3, "n": 5000},
    )
    m: int
    n: int


@dataclass(frozen=True)
class BiasTiling(Tiling):
    """Rows of a tile (rounded down to a multiple of 4) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    slots: int = 2

    @classmethod
    def default(cls, shape: BiasShape, platform: Platform) -> Self:
        """Return tiles of up to 512 rows (32 KB)."""
        return cls(min(512, round_up(shape.m, 4)))

    @classmethod
    def space(cls, shape: BiasShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling and one of half the rows."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > 4:
            yield cls(first.rows // 2)

    def blocks(self, shape: BiasShape, platform: Platform) -> int:
        """Return one core per 16 columns, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.n // EDGE))


def _bias_operands(shape: BiasShape) -> tuple[Operand, ...]:
    return Operand("dy", (shape.m, shape.n), FP32, "NZ"), output("db", (shape.n,), FP32)


def _bias_reference(shape: BiasShape, dy: Array) -> tuple[Array]:
    return (dy.astype(np.float64).sum(axis=0).astype(np.float32),)


@kernel(BiasShape, BiasTiling, _bias_operands, _bias_reference)
def bias_add_grad(core: Any, dy: int, db: int, shape: Any, tiling: Any) -> None:
    """db[n] = sum of dy[m, n] over m; dy in NZ, both fp32."""
    rows = max(1, tiling.rows // 4) * 4
    height = (shape.m + EDGE - 1) // EDGE * EDGE
    pitch = rows * 64  # bytes of a tile: 16 columns of fp32 a row
    ub_x, kept = alloc(core, UB, tiling.slots * pitch, tiling.slots), alloc(core, UB, 2 * LINE)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 2)
    columns = (shape.n + EDGE - 1) // EDGE
    for column in range(share_start(core, columns, 1), share_end(core, columns, 1)):
        total = kept + fill(core, q_out) * LINE
        vector_dup(core, total, 1, 0.0, FP32, LANES)
        for row in range(0, shape.m, rows):
            count = min(rows, shape.m - row)
            taken = ub_x + fill(core, q_in) * pitch
            data_move(core, taken, dy + (column * height + row) * 64, 1, count * 2)
            filled(core, q_in)
            use(core, q_in)
            fold(core, ADD, total, taken, count // 4, LANES, 0, 8)  # four rows a repeat
            if count % 4 > 0:
                fold(core, ADD, total, taken + count // 4 * LINE, 1, count % 4 * EDGE, 0, 8)
            free(core, q_in)
        fold(core, ADD, total, total + 128, 1, 32, 8, 8)
        fold(core, ADD, total, total + 64, 1, 16, 8, 8)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, db + column * 64, total, 1, (min(EDGE, shape.n - column * EDGE) + 7) // 8)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
