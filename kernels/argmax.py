"""The index of the largest or smallest number of each row or column of x[m, n].

Lanes keep the best number that they have seen and the number of the line in which they saw it. At the end of
a row, lanes that hold the best of all give their indices, of which the least counts. Indices are counted in
fp32, and half precision is compared as fp32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    INT32,
    MAX,
    MIN,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
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
    vadd,
    vadds,
    vcmpv_eq,
    vcmpv_gt,
    vcmpv_lt,
    vector_dup,
    vsel,
)
from kernels.pieces.fold import fold, start_of
from kernels.pieces.reduce_rows import finish_rows, widened
from kernels.pieces.rows import load_rows, pitch_bytes
from kernels.pieces.transpose import spread
from kernels.rules import require, require_dtype, round_up
from kernels.tiling.reduction import ReduceTiling

Array = npt.NDArray[Any]
BLOCK, LINE, LANES, EDGE = 32, 256, 64, 16
MOST, TILE_LANES, MAX_ROWS, MAX_COLUMNS = 1 << 24, 4096, 128, 1024


@dataclass(frozen=True)
class IndexShape(Shape):
    """x[m, n]; axis 1 looks along rows, axis 0 along columns."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("axis",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"m": m, "n": n, "axis": axis, "dtype": dtype}
        for m, n in ((17, 1234), (60, 70), (100, 3))
        for axis in (0, 1)
        for dtype in (FP16, FP32)
    )
    m: int
    n: int
    axis: int = 1
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse other axes and types, and indices that fp32 cannot count."""
        require(kernel, self.axis in (0, 1), "axis is 0 or 1", f"axis={self.axis}")
        require_dtype(kernel, self.dtype, FP16, FP32)
        length = self.n if self.axis == 1 else self.m
        require(kernel, length <= MOST, f"at most {MOST} numbers are compared, so that fp32 counts them",
                f"m={self.m}, n={self.n}")  # fmt: skip


@dataclass(frozen=True)
class IndexTiling(ReduceTiling):
    """Rows and columns of a tile (rounded to multiples of 16 and 64) and buffers of each hand-off."""

    @classmethod
    def default(cls, shape: IndexShape, platform: Platform) -> Self:  # type: ignore[override] # no parts
        """Return a tile of about 16 KB in fp32: whole rows along axis 1, some columns along axis 0."""
        cores = int(platform.ai_cores)
        if shape.axis == 1:
            columns = min(round_up(shape.n, LANES), MAX_COLUMNS)
            share = round_up(-(-shape.m // cores), EDGE)
            return cls(min(MAX_ROWS, share, max(EDGE, TILE_LANES // columns // EDGE * EDGE)), columns)
        columns = min(round_up(-(-shape.n // cores), LANES), MAX_COLUMNS)
        return cls(min(round_up(shape.m, EDGE), max(EDGE, TILE_LANES // columns // EDGE * EDGE)), columns)

    def blocks(self, shape: IndexShape, platform: Platform) -> int:  # type: ignore[override] # no parts
        """Return one core per 8 rows or 64 columns, as many as there are."""
        items = -(-shape.m // 8) if shape.axis == 1 else -(-shape.n // LANES)
        return min(int(platform.ai_cores), items)


class Best(NamedTuple):
    """Lines of 64 lanes: the best numbers and where they were seen; bits and one block for a comparison."""

    kept: int
    seen: int
    bits: int
    number: int


@emits
def better(core: Any, op: int, best: Best, src: int, number: int, repeat: int, mask: int, rep: int) -> None:
    """Keep, in each lane, what is better than before and the number of the line where it was seen."""
    vector_dup(core, best.number, 1, number, FP32, 8)
    if op == MAX:
        vcmpv_gt(core, best.bits, src, best.kept, repeat, FP32, 1, 1, rep, 8)
    else:
        vcmpv_lt(core, best.bits, src, best.kept, repeat, FP32, 1, 1, rep, 8)
    vsel(core, best.seen, best.number, best.seen, repeat, best.bits, FP32, mask, 1, 0, 1, 8, 0, 8)
    fold(core, op, best.kept, src, repeat, mask, 8, rep)


@emits
def count_lanes(core: Any, dst: int) -> None:
    """Fill 64 lanes with 0, 1, 2 ... 63."""
    for lane in range(7, -1, -1):
        vector_dup(core, dst, 1, lane, FP32, lane + 1)
    for blocks in (1, 2, 4):
        vadds(core, dst + blocks * BLOCK, dst, 1, blocks * 8, FP32, blocks * 8)


@emits
def best_of_rows(
    core: Any, op: int, dst: int, best: Best, rows: int, lanes: int, copy: int, scratch: int
) -> None:
    """Set dst[rows] (fp32) to the least index of the best number of each row."""
    flat_scale(core, best.seen, best.seen, rows * LANES, LANES, 0.0, FP32)
    vadd(core, best.seen, best.seen, lanes, rows, FP32, LANES, 1, 1, 1, 8, 8, 0)
    data_move(core, copy, best.kept, 1, rows * 8)
    finish_rows(core, op, dst, copy, rows, scratch)
    spread(core, copy, dst, rows, 4, scratch)
    vcmpv_eq(core, best.bits, best.kept, copy, rows, FP32, 1, 0, 8, 1)
    vector_dup(core, best.number, 1, MOST, FP32, 8)
    vsel(core, best.seen, best.seen, best.number, rows, best.bits, FP32, LANES, 1, 1, 0, 8, 8, 0)
    finish_rows(core, MIN, dst, best.seen, rows, scratch)


@emits
def store_indices(core: Any, y: int, values: int, n: int, ub: int, q_out: int) -> None:
    """Move values[n] (fp32 in UB) to GM as integers."""
    fill(core, q_out)
    flat_convert(core, ub, INT32, values, FP32, n)
    filled(core, q_out)
    use(core, q_out)
    data_move(core, y, ub, 1, (n * 4 + BLOCK - 1) // BLOCK)
    free(core, q_out)


@emits
def index_rows(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Set y[m] to the index of the best number of each row of x[m, n], for this block's share."""
    size, n, dtype = size_of(core, shape.dtype), shape.n, shape.dtype
    rows, columns = min(MAX_ROWS, max(1, tiling.rows // EDGE) * EDGE), max(1, tiling.columns // LANES) * LANES
    pitch = pitch_bytes(core, min(columns, MAX_COLUMNS, n) * size)
    slot = rows * pitch + (LINE if dtype == FP32 else 0)  # a comparison reads whole lines
    ub_x = alloc(core, UB, tiling.slots * slot, tiling.slots)
    wide = alloc(core, UB, rows * pitch * 2 + LINE if dtype == FP16 else 0)
    kept, seen = alloc(core, UB, rows * LINE), alloc(core, UB, rows * LINE)
    best = Best(kept, seen, alloc(core, UB, rows * 8), alloc(core, UB, BLOCK))
    copy, lanes, values = alloc(core, UB, rows * LINE), alloc(core, UB, LINE), alloc(core, UB, rows * 4)
    ub_y, scratch = alloc(core, UB, rows * 4), alloc(core, UB, rows // EDGE * 3072)
    count_lanes(core, lanes)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    end, rep = share_end(core, shape.m, 8), pitch * 4 // size // BLOCK
    for row in range(share_start(core, shape.m, 8), end, rows):
        count = min(rows, end - row)
        flat_dup(core, kept, start_of(core, op), rows * LANES, FP32)
        flat_dup(core, seen, 0.0, rows * LANES, FP32)
        for column in range(0, n, min(columns, MAX_COLUMNS)):
            width = min(columns, MAX_COLUMNS, n - column)
            taken = ub_x + fill(core, q_in) * slot
            load_rows(core, taken, pitch, x + (row * n + column) * size, n * size, count, width * size)
            filled(core, q_in)
            use(core, q_in)
            tile = widened(core, taken, wide, dtype, FP32, count * pitch)
            for part in range(0, width, LANES):
                mask = min(LANES, width - part)
                better(core, op, best, tile + part * 4, (column + part) // LANES, count, mask, rep)
            free(core, q_in)
        best_of_rows(core, op, values, best, count, lanes, copy, scratch)
        store_indices(core, y + row * 4, values, count, ub_y, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def index_columns(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Set y[n] to the index of the best number of each column of x[m, n], for this block's share."""
    size, n, dtype = size_of(core, shape.dtype), shape.n, shape.dtype
    rows, columns = max(1, tiling.rows // EDGE) * EDGE, max(1, tiling.columns // LANES) * LANES
    pitch = columns * size
    slot = rows * pitch + (LINE if dtype == FP32 else 0)
    ub_x = alloc(core, UB, tiling.slots * slot, tiling.slots)
    wide = alloc(core, UB, rows * pitch * 2 + LINE if dtype == FP16 else 0)
    kept, seen = alloc(core, UB, columns * 4), alloc(core, UB, columns * 4)
    best = Best(kept, seen, alloc(core, UB, columns // 8), alloc(core, UB, BLOCK))
    ub_y = alloc(core, UB, columns * 4)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    end = share_end(core, n, LANES)
    for column in range(share_start(core, n, LANES), end, columns):
        width = min(columns, end - column)
        lines = (width + LANES - 1) // LANES
        flat_dup(core, kept, start_of(core, op), lines * LANES, FP32)
        flat_dup(core, seen, 0.0, lines * LANES, FP32)
        for row in range(0, shape.m, rows):
            count = min(rows, shape.m - row)
            taken = ub_x + fill(core, q_in) * slot
            load_rows(core, taken, pitch, x + (row * n + column) * size, n * size, count, width * size)
            filled(core, q_in)
            use(core, q_in)
            tile = widened(core, taken, wide, dtype, FP32, count * pitch)
            for i in range(count):
                better(core, op, best, tile + i * columns * 4, row + i, lines, LANES, 8)
            free(core, q_in)
        store_indices(core, y + column * 4, seen, width, ub_y, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def index_of(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Look along the shape's axis."""
    if shape.axis == 1:
        index_rows(core, op, x, y, shape, tiling)
    else:
        index_columns(core, op, x, y, shape, tiling)


def _operands(shape: IndexShape) -> tuple[Operand, ...]:
    kept = shape.m if shape.axis == 1 else shape.n
    return Operand("x", (shape.m, shape.n), shape.dtype), output("y", (kept,), INT32)


def _index(function: Callable[..., Array]) -> Callable[[Callable[..., None]], Any]:
    def reference(shape: IndexShape, x: Array) -> tuple[Array]:
        return (function(x, axis=shape.axis).astype(np.int32),)

    return kernel(IndexShape, IndexTiling, _operands, reference)


@_index(np.argmax)
def argmax(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m] = index of the first largest number of each row of x[m, n] (axis 1), or y[n] of each column."""
    index_of(core, MAX, x, y, shape, tiling)


@_index(np.argmin)
def argmin(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m] = index of the first smallest number of each row of x[m, n] (axis 1), or y[n] of each column."""
    index_of(core, MIN, x, y, shape, tiling)
