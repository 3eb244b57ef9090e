"""Layer normalisation along the rows of a matrix.

All in fp32. The variance is the mean square of what is left when the mean has been taken away, so that large
means cost no digits; in fp32, whose sums are rounded, the mean of the rest is taken away, too. Deviations
from the mean above 1e19 have infinite squares. Rows that do not fit UB go through it three times in pieces.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    ADD,
    FP16,
    FP32,
    MTE2,
    MTE3,
    MUL,
    SUB,
    UB,
    Operand,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    flat_convert,
    flat_scale,
    flat_unary,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vadds,
    vcadd,
    vector_dup,
)
from kernels.lang.flat import RSQRT
from kernels.pieces.broadcast import block_binary
from kernels.pieces.rowstream import (
    RowStream,
    bring_rows,
    close_rows,
    open_rows,
    release_rows,
    room_for_rows,
    row_unit,
    send_rows,
)
from kernels.pieces.rowwise import (
    BLOCK,
    LANES,
    LINE,
    Desk,
    Tile,
    Wide,
    desk,
    each_column,
    each_row,
    fold_along,
    is_short,
    number_blocks,
    row_sums,
    wide_arrays,
    widened,
)
from kernels.pieces.stream import Stream, bring, close_stream, open_stream, release, room, send
from kernels.rules import item_bytes, require, round_up
from kernels.tiling.rowwise import RowShape, RowTiling

Array = npt.NDArray[Any]
EIGHT = 8
"""Numbers of fp32 in a block: as many rows write their mean together."""


@dataclass(frozen=True)
class NormShape(RowShape):
    """x[m, n] of type `dtype`; epsilon, which is added to the variance, is 10 ** -digits."""

    UNIT: ClassVar[int] = EIGHT
    PIECES: ClassVar[int] = 3
    WIDE: ClassVar[int] = 2
    digits: int = 5

    @property
    def fixed_bytes(self) -> int:
        """Bytes of UB for gaps and for gamma and beta, as they come and in fp32."""
        return super().fixed_bytes + 2 * round_up(self.n * (item_bytes(self.dtype) + 4), 512)

    def check(self, kernel: str) -> None:
        """Refuse other types and epsilons."""
        super().check(kernel)
        require(kernel, self.digits <= 12, "digits is from 1 to 12", f"digits={self.digits}")


def _operands(shape: NormShape) -> tuple[Operand, ...]:
    x, n = (shape.m, shape.n), (shape.n,)
    inputs = Operand("x", x, shape.dtype), Operand("gamma", n, shape.dtype), Operand("beta", n, shape.dtype)
    numbers = output("mean", (shape.m,), FP32), output("rstd", (shape.m,), FP32)
    return *inputs, output("y", x, shape.dtype), *numbers


def _reference(shape: NormShape, x: Array, gamma: Array, beta: Array) -> tuple[Array, Array, Array]:
    wide = x.astype(np.float64)
    mean = wide.mean(axis=1, keepdims=True)
    rstd = 1 / np.sqrt(wide.var(axis=1, keepdims=True) + 10.0**-shape.digits)
    y = (wide - mean) * rstd * gamma.astype(np.float64) + beta.astype(np.float64)
    return y.astype(x.dtype), mean[:, 0].astype(np.float32), rstd[:, 0].astype(np.float32)


class Vectors(NamedTuple):
    """Gamma and beta in fp32, and the queue that brought them."""

    gamma: int
    beta: int
    q: int


class Means(NamedTuple):
    """Numbers of the rows that are written together, mean and 1 / deviation, their queue, and room."""

    mean: int
    rstd: int
    q: int
    pitch: int
    blocks: int
    saved: int


@emits
def epsilon_of(core: Any, digits: int) -> float:
    """Return 10 ** -digits."""
    epsilon = 1.0
    for _ in range(digits):
        epsilon *= 0.1
    return float(epsilon)


@emits
def rows_of(core: Any, rows: int) -> int:
    """Return the rows of a tile: a multiple of 8, or 1, 2 or 4."""
    if rows >= EIGHT:
        return rows // EIGHT * EIGHT
    return 4 if rows >= 4 else min(rows, 2)


@emits
def load_vector(core: Any, vector: int, n: int, dtype: int, q: int) -> int:
    """Bring vector[n] to UB and return where it lies in fp32."""
    nbytes = (n * size_of(core, dtype) + BLOCK - 1) // BLOCK * BLOCK
    raw = alloc(core, UB, nbytes)
    wide = alloc(core, UB, nbytes * 2) if dtype == FP16 else raw
    fill(core, q)
    data_move(core, raw, vector, 1, nbytes // BLOCK)
    filled(core, q)
    use(core, q)
    if dtype == FP16:
        flat_convert(core, wide, FP32, raw, FP16, n)
    free(core, q)
    return wide


@emits
def means_of(core: Any, rows: int) -> Means:
    """Allocate the numbers of up to `rows` rows, at least 8."""
    pitch = (max(rows, EIGHT) + LANES - 1) // LANES * LINE
    mean, rstd = alloc(core, UB, 2 * pitch, 2), alloc(core, UB, 2 * pitch, 2)
    blocks, saved = alloc(core, UB, 512), alloc(core, UB, pitch)
    return Means(mean, rstd, queue(core, V, MTE3, 2), pitch, blocks, saved)


@emits
def room_for_means(core: Any, k: Means) -> Means:
    """Wait for room for the numbers of more rows; return where."""
    at = fill(core, k.q) * k.pitch
    return Means(k.mean + at, k.rstd + at, k.q, k.pitch, k.blocks, k.saved)


@emits
def note(core: Any, dst: int, d: Desk, blocks: int, lane: int, rows: int) -> None:
    """Keep the numbers of `rows` rows from `lane` on: a whole tile, or some of eight rows.

    Of eight rows the last come first: each fills all lanes up to its own.
    """
    if lane == 0 and rows >= EIGHT:
        data_move(core, dst, d.numbers, 1, (rows + EIGHT - 1) // EIGHT)
        return
    number_blocks(core, blocks, d, rows)
    for row in range(rows):
        last = rows - 1 - row
        vadds(core, dst, blocks + last * BLOCK, 1, 0.0, FP32, lane + last + 1)


@emits
def write_means(core: Any, k: Means, mean: int, rstd: int, row: int, rows: int) -> None:
    """Write the numbers of `rows` rows from number `row` on."""
    filled(core, k.q)
    use(core, k.q)
    data_move(core, mean + row * 4, k.mean, 1, (rows + EIGHT - 1) // EIGHT)
    data_move(core, rstd + row * 4, k.rstd, 1, (rows + EIGHT - 1) // EIGHT)
    free(core, k.q)


@emits
def take_mean_away(core: Any, d: Desk, x: int, t: Tile) -> None:
    """x[rows, columns] -= its mean over the columns, which the numbers keep."""
    row_sums(core, d, x, t)
    flat_scale(core, d.numbers, d.numbers, t.rows, 1.0 / t.columns, 0.0, FP32)
    number_blocks(core, d.blocks, d, t.rows)
    each_row(core, SUB, x, x, d.blocks, 1, t)


@emits
def centre(core: Any, d: Desk, k: Means, x: int, t: Tile, lane: int, dtype: int) -> None:
    """Take the mean of each row away and note it; in fp32 also what rounding has left of it."""
    take_mean_away(core, d, x, t)
    if dtype == FP32:
        data_move(core, k.saved, d.numbers, 1, (t.rows + EIGHT - 1) // EIGHT)
        take_mean_away(core, d, x, t)
        flat_binary(core, ADD, d.numbers, d.numbers, k.saved, t.rows, FP32)
    note(core, k.mean, d, k.blocks, lane, t.rows)


@emits
def deviations(core: Any, d: Desk, k: Means, x: int, squares: int, t: Tile, lane: int, digits: int) -> None:
    """Fill the blocks with 1 / deviation of each row of x, whose mean is 0, and note it."""
    flat_binary(core, MUL, squares, x, x, t.rows * t.pitch // 4, FP32)
    row_sums(core, d, squares, t)
    flat_scale(core, d.numbers, d.numbers, t.rows, 1.0 / t.columns, epsilon_of(core, digits), FP32)
    flat_unary(core, RSQRT, d.numbers, d.numbers, t.rows, FP32)
    note(core, k.rstd, d, k.blocks, lane, t.rows)
    number_blocks(core, d.blocks, d, t.rows)


class Tools(NamedTuple):
    """All that a tile of rows needs beside its numbers."""

    s: RowStream
    w: Wide
    d: Desk
    k: Means
    v: Vectors


@emits
def tools_of(core: Any, gamma: int, beta: int, shape: Any, tiling: Any) -> Tools:
    """Open the stream, allocate everything, bring gamma and beta."""
    size = size_of(core, shape.dtype)
    s = open_rows(core, 1, rows_of(core, tiling.rows), shape.n * size, tiling.slots)
    w, d = wide_arrays(core, s.rows * s.pitch * 4 // size, 2, shape.dtype), desk(core, s.rows)
    k, q = means_of(core, s.rows), queue(core, MTE2, V, 1)
    scale = load_vector(core, gamma, shape.n, shape.dtype, q)
    return Tools(s, w, d, k, Vectors(scale, load_vector(core, beta, shape.n, shape.dtype, q), q))


@emits
def norm_tile(core: Any, u: Tools, k: Means, taken: int, t: Tile, lane: int, shape: Any) -> None:
    """Compute a tile of rows to the output buffer."""
    dtype = shape.dtype
    x = widened(core, u.w, taken, t.rows * t.pitch // 4, dtype)
    if dtype == FP16:
        release_rows(core, u.s)
    centre(core, u.d, k, x, t, lane, dtype)
    made = room_for_rows(core, u.s)
    other = made if dtype == FP32 else u.w.other
    deviations(core, u.d, k, x, other, t, lane, shape.digits)
    each_column(core, MUL, other, x, u.v.gamma, t)  # back and forth: in place each piece waits for the last
    each_row(core, MUL, x, other, u.d.blocks, 1, t)
    each_column(core, ADD, other, x, u.v.beta, t)
    if dtype == FP16:
        flat_convert(core, made, FP16, other, FP32, t.rows * t.pitch // 4)
    else:
        release_rows(core, u.s)


@emits
def short_rows(core: Any, x: int, y: int, mean: int, rstd: int, u: Tools, shape: Any) -> None:
    """Normalise this block's share of the rows, tile by tile; small tiles from the last of eight rows on."""
    s, n, size = u.s, shape.n, size_of(core, shape.dtype)
    unit = row_unit(core, shape.m, n * size, EIGHT)
    end, batch = share_end(core, shape.m, unit), max(s.rows, EIGHT)
    for first in range(share_start(core, shape.m, unit), end, batch):
        rows = min(batch, end - first)
        tiles = (rows + s.rows - 1) // s.rows
        k = room_for_means(core, u.k)
        for step in range(tiles):
            lane = (tiles - 1 - step) * s.rows
            count = min(s.rows, rows - lane)
            taken = bring_rows(core, s, x, x, first + lane, count)
            norm_tile(core, u, k, taken, Tile(count, n, s.pitch * 4 // size), lane, shape)
            send_rows(core, s, y, first + lane, count)
        write_means(core, k, mean, rstd, first, rows)


class Row(NamedTuple):
    """What is known of a row: sums of 64 lanes; blocks of its mean, of what that lacks, of 1 / deviation."""

    total: int
    squares: int
    mean: int
    rest: int
    rstd: int


@emits
def row_of(core: Any) -> Row:
    """Allocate what is known of a row."""
    lanes, blocks = alloc(core, UB, 2 * LINE), alloc(core, UB, 3 * 512)
    return Row(lanes, lanes + LINE, blocks, blocks + 512, blocks + 1024)


@emits
def lane_mean(core: Any, dst: int, d: Desk, lanes: int, n: int) -> None:
    """Fill the block with the sum of 64 lanes divided by n."""
    vcadd(core, d.numbers, lanes, 1, FP32, LANES)
    flat_scale(core, d.numbers, d.numbers, 1, 1.0 / n, 0.0, FP32)
    number_blocks(core, dst, d, 1)


@emits
def know_row(core: Any, s: Stream, w: Wide, d: Desk, r: Row, x: int, shape: Any) -> None:
    """Set the blocks of a row that goes through UB twice; x is where it begins in GM."""
    n, dtype, eight = shape.n, shape.dtype, EIGHT
    for turn in range(2):
        vector_dup(core, r.total, 1, 0.0, FP32, LANES)
        vector_dup(core, r.squares, 1, 0.0, FP32, LANES)
        for column in range(0, n, s.tile):
            count = min(s.tile, n - column)
            piece = widened(core, w, bring(core, s, x, x, x, column, count), count, dtype)
            if turn == 1:
                block_binary(core, SUB, piece, piece, r.mean, count, FP32)
            fold_along(core, ADD, r.total, piece, count, FP32)
            if turn == 1:
                flat_binary(core, MUL, piece, piece, piece, count, FP32)
                fold_along(core, ADD, r.squares, piece, count, FP32)
            release(core, s)
        lane_mean(core, r.mean if turn == 0 else r.rest, d, r.total, n)
    lane_mean(core, r.rstd, d, r.squares, n)
    flat_binary(core, MUL, r.total, r.rest, r.rest, eight, FP32)
    flat_binary(core, SUB, r.rstd, r.rstd, r.total, eight, FP32)
    flat_scale(core, r.rstd, r.rstd, eight, 1.0, epsilon_of(core, shape.digits), FP32)
    flat_unary(core, RSQRT, r.rstd, r.rstd, eight, FP32)


@emits
def norm_piece(core: Any, s: Stream, w: Wide, r: Row, taken: int, dtype: int) -> int:
    """Compute a piece of a row from x, gamma and beta; return where it is."""
    n, made = s.tile, room(core, s)
    x, gamma, beta = taken, taken + s.pitch, taken + 2 * s.pitch
    if dtype == FP16:
        flat_convert(core, w.x, FP32, x, FP16, n)
        flat_convert(core, w.other, FP32, gamma, FP16, n)
        flat_convert(core, w.product, FP32, beta, FP16, n)
        x, gamma, beta = w.x, w.other, w.product
    block_binary(core, SUB, x, x, r.mean, n, FP32)
    block_binary(core, SUB, x, x, r.rest, n, FP32)
    block_binary(core, MUL, x, x, r.rstd, n, FP32)
    flat_binary(core, MUL, x, x, gamma, n, FP32)
    flat_binary(core, ADD, made if dtype == FP32 else x, x, beta, n, FP32)
    if dtype == FP16:
        flat_convert(core, made, FP16, x, FP32, n)
    return made


class Places(NamedTuple):
    """Where a row begins in GM, and the vectors."""

    x: int
    gamma: int
    beta: int
    y: int


@emits
def long_row(core: Any, s: Stream, w: Wide, r: Row, p: Places, shape: Any) -> None:
    """Write a row whose mean and deviation are known, in pieces; the last two overlap."""
    for column in range(0, shape.n, s.tile):
        at = min(column, shape.n - s.tile)
        made = norm_piece(core, s, w, r, bring(core, s, p.x, p.gamma, p.beta, at, s.tile), shape.dtype)
        release(core, s)
        send(core, s, p.y, made, at, s.tile)


@kernel(NormShape, RowTiling, _operands, _reference)
def layer_norm(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, x: int, gamma: int, beta: int, y: int, mean: int, rstd: int, shape: Any, tiling: Any
) -> None:
    """y[m, n] = (x[m, n] - mean[m]) * rstd[m] * gamma[n] + beta[n], rstd = 1 / sqrt(variance + epsilon)."""
    n, size = shape.n, size_of(core, shape.dtype)
    if is_short(core, shape, tiling) != 0:
        u = tools_of(core, gamma, beta, shape, tiling)
        short_rows(core, x, y, mean, rstd, u, shape)
        close(core, u.v.q)
        close(core, u.k.q)
        close_rows(core, u.s)
        return
    s = open_stream(core, 3, tiling.columns, size, tiling.slots)
    w, d, r = wide_arrays(core, s.tile * 4, 3, shape.dtype), desk(core, 1), row_of(core)
    k, end = means_of(core, EIGHT), share_end(core, shape.m, EIGHT)
    for first in range(share_start(core, shape.m, EIGHT), end, EIGHT):
        rows = min(EIGHT, end - first)
        found = room_for_means(core, k)
        for step in range(rows):
            row = rows - 1 - step
            at = (first + row) * n * size
            know_row(core, s, w, d, r, x + at, shape)
            long_row(core, s, w, r, Places(x + at, gamma, beta, y + at), shape)
            flat_binary(core, ADD, r.total, r.mean, r.rest, EIGHT, FP32)
            vadds(core, found.mean, r.total, 1, 0.0, FP32, row + 1)
            vadds(core, found.rstd, r.rstd, 1, 0.0, FP32, row + 1)
        write_means(core, found, mean, rstd, first, rows)
    close(core, k.q)
    close_stream(core, s)
