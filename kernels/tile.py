"""Rows again and again: tiling along one axis, and broadcasting of rows, columns and numbers.

Along several axes, one follows the other, the last axis first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
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
    emits,
    fill,
    filled,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
)
from kernels.pieces.broadcast import repeated_row
from kernels.pieces.parts import Assembly, assemble
from kernels.pieces.row import Part, row_of
from kernels.pieces.rows import COMPACT_LIMIT, pitch_bytes, row_period
from kernels.pieces.rowstream import close_rows, open_rows, room_for_rows, row_unit, send_rows
from kernels.pieces.transpose import spread
from kernels.rules import item_bytes, require_dtype
from kernels.tiling.rows import RowsShape, RowTiling

Array = npt.NDArray[Any]
BLOCK, EDGE = 32, 16
MANY, SHORT_BYTES = 8, 8 * 1024
"""From so many repetitions on, a row below this length is repeated in UB and leaves in long runs."""


@dataclass(frozen=True)
class TileShape(RowsShape):
    """x[m, n], each row k times. Tiling a whole array is m = 1; broadcasting a column is n = 1."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 1, "k": 700, "n": 1}, {"m": 1, "k": 37, "n": 50, "dtype": FP32}, {"m": 40, "k": 9, "n": 1},
        {"m": 3, "k": 9000, "n": 1, "dtype": FP32}, {"m": 5, "k": 40, "n": 48}, {"m": 9, "k": 3, "n": 700},
        {"m": 12, "k": 3, "n": 5, "dtype": FP32}, {"m": 1, "k": 3, "n": 20000},
    )  # fmt: skip
    SMALL: ClassVar[Mapping[str, int]] = {"m": 33, "k": 7, "n": 40}
    LARGE: ClassVar[Mapping[str, int]] = {"m": 70, "k": 90, "n": 208}
    m: int
    k: int
    n: int
    dtype: int = FP16

    @property
    def rows(self) -> int:
        """Rows of the result."""
        return self.m * self.k

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes of a row."""
        return (self.n * item_bytes(self.dtype),)

    @property
    def is_odd(self) -> bool:
        """Tell whether rows are written one by one."""
        return super().is_odd and self.m > 1 and self.n > 1

    def check(self, kernel: str) -> None:
        """Refuse other types than those of two and four bytes."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)


@emits
def store_run(core: Any, y: int, start: int, end: int, full: int, nbytes: int) -> None:
    """Write bytes `start` to `end` of y from a buffer of `nbytes` that they repeat."""
    for at in range(start, end, nbytes):
        data_move(core, y + at, full, 1, (min(nbytes, end - at) + BLOCK - 1) // BLOCK)


@emits
def one_row_repeated(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Repeat one row; shares and tiles are whole rows and whole blocks."""
    size = size_of(core, shape.dtype)
    row_bytes, total = shape.n * size, shape.k * shape.n * size
    unit = row_period(core, row_bytes) * row_bytes
    tile = max(1, tiling.tile // unit) * unit
    full = repeated_row(core, x, row_bytes, tile)
    q = queue(core, V, MTE3, 1)
    fill(core, q)
    filled(core, q)
    use(core, q)
    store_run(core, y, share_start(core, total, unit), share_end(core, total, unit), full, tile)
    free(core, q)
    close(core, q)


@emits
def double(core: Any, ub: int, have: int, need: int) -> None:
    """Repeat the first `have` bytes in UB until there are `need`, both whole blocks."""
    while have < need:
        more = min(have, need - have)
        data_move(core, ub + have, ub, 1, more // BLOCK)
        have += more


@emits
def short_rows_repeated(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Repeat rows of whole blocks in UB."""
    row_bytes, slots, k = shape.n * size_of(core, shape.dtype), tiling.slots, shape.k
    most = max(1, min(k, tiling.tile // row_bytes))
    ub, made = alloc(core, UB, slots * row_bytes, slots), alloc(core, UB, slots * most * row_bytes, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    row, end = share_start(core, shape.m * k, 1), share_end(core, shape.m * k, 1)
    while row < end:
        count = min(k - row % k, end - row)
        need = min(most, count) * row_bytes
        taken = ub + fill(core, q_in) * row_bytes
        data_move(core, taken, x + row // k * row_bytes, 1, row_bytes // BLOCK)
        filled(core, q_in)
        use(core, q_in)
        full = made + fill(core, q_out) * most * row_bytes
        data_move(core, full, taken, 1, row_bytes // BLOCK)
        free(core, q_in)
        double(core, full, row_bytes, need)
        filled(core, q_out)
        use(core, q_out)
        store_run(core, y, row * row_bytes, (row + count) * row_bytes, full, need)
        free(core, q_out)
        row += count
    close(core, q_out)
    close(core, q_in)


@emits
def bring_column(core: Any, q: int, ub: int, x: int, row: int, count: int, size: int) -> int:
    """Bring `count` numbers to one of the two buffers, which hold 1 KB each; return where they lie."""
    taken = ub + fill(core, q) * 1024
    data_move(core, taken, x + row * size, 1, pitch_bytes(core, count * size) // BLOCK)
    filled(core, q)
    use(core, q)
    return int(taken)


@emits
def column_repeated(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Repeat each number of a column along a row that fits a tile."""
    size = size_of(core, shape.dtype)
    row_bytes = shape.k * size
    height = max(1, min(256, tiling.tile // pitch_bytes(core, row_bytes)))
    s = open_rows(core, 0, height, row_bytes, 1)
    blocks = alloc(core, UB, (s.rows + EDGE - 1) // EDGE * 512)
    ub, scratch = alloc(core, UB, 2048, 2), alloc(core, UB, (s.rows + EDGE - 1) // EDGE * 2048)
    q, wide = queue(core, MTE2, V, 2), s.pitch // BLOCK
    unit = row_unit(core, shape.m, row_bytes, 1)
    end = share_end(core, shape.m, unit)
    for row in range(share_start(core, shape.m, unit), end, s.rows):
        count = min(s.rows, end - row)
        spread(core, blocks, bring_column(core, q, ub, x, row, count, size), count, size, scratch)
        free(core, q)
        made, have = room_for_rows(core, s), 1
        data_move(core, made, blocks, count, 1, 0, wide - 1)
        while have < wide:
            more = min(have, wide - have)
            data_move(core, made + have * BLOCK, made, count, more, wide - more, wide - more)
            have += more
        send_rows(core, s, y, row, count)
    close(core, q)
    close_rows(core, s)


@emits
def long_lines_filled(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Repeat each number of a column along a row of several tiles; all blocks of a row are equal."""
    size, tile = size_of(core, shape.dtype), tiling.tile // BLOCK * BLOCK
    row_bytes = shape.k * size
    ub, full = alloc(core, UB, 2048, 2), alloc(core, UB, 2 * tile, 2)
    blocks, scratch = alloc(core, UB, 512), alloc(core, UB, 2048)
    q_in, q_out = queue(core, MTE2, V, 2), queue(core, V, MTE3, 2)
    for row in range(share_start(core, shape.m, 1), share_end(core, shape.m, 1)):
        spread(core, blocks, bring_column(core, q_in, ub, x, row, 1, size), 1, size, scratch)
        free(core, q_in)
        made = full + fill(core, q_out) * tile
        data_move(core, made, blocks, 1, 1)
        double(core, made, BLOCK, tile)
        filled(core, q_out)
        use(core, q_out)
        whole = row_bytes // BLOCK * BLOCK
        store_run(core, y + row * row_bytes, 0, whole, made, tile)
        if whole < row_bytes:
            data_move(core, y + (row + 1) * row_bytes - BLOCK, made, 1, 1)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


def _operands(shape: TileShape) -> tuple[Operand, ...]:
    y = output("y", (shape.m, shape.k, shape.n), shape.dtype)
    return Operand("x", (shape.m, shape.n), shape.dtype), y


def _reference(shape: TileShape, x: Array) -> tuple[Array]:
    return (np.repeat(x[:, None], shape.k, axis=1),)


@kernel(TileShape, RowTiling, _operands, _reference)
def tile(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, k, n] = x[m, n] for every k."""
    size = size_of(core, shape.dtype)
    row_bytes, line_bytes = shape.n * size, shape.k * size
    period = row_period(core, row_bytes)
    is_packed = period > 1 and period * pitch_bytes(core, row_bytes) <= COMPACT_LIMIT
    if shape.m == 1 and (is_packed or (period == 1 and row_bytes <= tiling.tile)):
        one_row_repeated(core, x, y, shape, tiling)
    elif shape.n == 1 and line_bytes <= tiling.tile:
        column_repeated(core, x, y, shape, tiling)
    elif shape.n == 1:
        long_lines_filled(core, x, y, shape, tiling)
    elif period == 1 and shape.k >= MANY and row_bytes <= min(SHORT_BYTES, tiling.tile):
        short_rows_repeated(core, x, y, shape, tiling)
    else:
        row = row_of(
            core, shape.k, row_bytes, Part(x, 0, row_bytes), Part(0, 0, 0), Part(0, 0, 0), Part(0, 0, 0)
        )  # fmt: skip
        assemble(core, row, Assembly(y, shape.m * shape.k, shape.dtype, tiling.tile, tiling.slots), 0.0)
