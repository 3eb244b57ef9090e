"""Gradients of layer normalisation, in two launches: to the rows with parts of sums, then these added.

With xhat = (x - mean) * rstd and g = dy * gamma, dx = rstd * (g - mean of g - xhat * mean of g * xhat). The
gradients of gamma and beta are sums over the rows: the first launch adds up each of a number of parts of the
rows, the second adds the parts, always in the same order. All in fp32; rows that do not fit UB go through it
three times in pieces.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
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
    vector_dup,
)
from kernels.layer_norm import lane_mean, load_vector
from kernels.pieces.broadcast import block_binary
from kernels.pieces.rowstream import (
    RowStream,
    bring_rows,
    close_rows,
    open_rows,
    release_rows,
    room_for_rows,
    send_rows,
)
from kernels.pieces.rowwise import (
    BLOCK,
    LANES,
    LINE,
    Desk,
    Tile,
    Wide,
    add_columns,
    desk,
    each_column,
    each_row,
    fold_along,
    is_short,
    number_blocks,
    row_sums,
    wide_arrays,
)
from kernels.pieces.stream import Stream, bring, close_stream, open_stream, release, room, send
from kernels.rules import item_bytes, round_up
from kernels.tiling.rowwise import RowShape, RowTiling

Array = npt.NDArray[Any]
EIGHT = 8


@dataclass(frozen=True)
class NormGradShape(RowShape):
    """dy[m, n] and x[m, n] of type `dtype`; the rows are cut into `parts` parts of whole eights."""

    SOURCES: ClassVar[int] = 2
    PIECES: ClassVar[int] = 3
    WIDE: ClassVar[int] = 3
    ROW_BYTES: ClassVar[int] = 760
    parts: int = 32

    @property
    def padded(self) -> int:
        """The columns, rounded up to whole blocks of fp32; those of padding are zero."""
        return round_up(self.n, EIGHT)

    @property
    def fixed_bytes(self) -> int:
        """Bytes of UB for gaps, gamma as it comes and in fp32, and two sums."""
        return super().fixed_bytes + round_up(self.n * (item_bytes(self.dtype) + 12), 512)


@dataclass(frozen=True)
class NormGradTiling(RowTiling):
    """Rows of a tile or columns of a piece; a core works on whole parts."""

    def blocks(self, shape: NormGradShape, platform: Platform) -> int:
        """Return one core per part, as many as there are."""
        return min(int(platform.ai_cores), shape.parts)


def _operands(shape: NormGradShape) -> tuple[Operand, ...]:
    x, numbers = (shape.m, shape.n), (shape.m,)
    rows = Operand("dy", x, shape.dtype), Operand("x", x, shape.dtype)
    mean = Operand("mean", numbers, FP32, padding_bytes=BLOCK)
    rstd = Operand("rstd", numbers, FP32, padding_bytes=BLOCK, between=(0.2, 2.0))
    parts = output("parts_of_sums", (shape.parts, 2, shape.padded), FP32)
    return *rows, mean, rstd, Operand("gamma", (shape.n,), shape.dtype), output("dx", x, shape.dtype), parts


def _reference(
    shape: NormGradShape, dy: Array, x: Array, mean: Array, rstd: Array, gamma: Array
) -> tuple[Array, Array]:
    wide = dy.astype(np.float64)
    scale = rstd.astype(np.float64)[:, np.newaxis]
    xhat = (x.astype(np.float64) - mean.astype(np.float64)[:, np.newaxis]) * scale
    g = wide * gamma.astype(np.float64)
    rest = g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True)
    parts = np.zeros((shape.parts, 2, shape.padded), np.float32)
    eights = -(-shape.m // EIGHT)
    for part in range(shape.parts):
        rows = slice(eights * part // shape.parts * EIGHT, eights * (part + 1) // shape.parts * EIGHT)
        parts[part, 0, : shape.n] = (wide[rows] * xhat[rows]).sum(axis=0)
        parts[part, 1, : shape.n] = wide[rows].sum(axis=0)
    return (scale * rest).astype(x.dtype), parts


class Numbers(NamedTuple):
    """Mean and 1 / deviation of the rows of a tile as they come; in blocks the latter and two means.

    `dot` is the mean of g * xhat, `base` that of g. `lanes` holds two sums of 64 lanes of a long row.
    """

    q: int
    mean: int
    rstd: int
    scale: int
    dot: int
    base: int
    lanes: int


class Sums(NamedTuple):
    """Sums over the rows of a part: for gamma, for beta; columns of each; their hand-off."""

    gamma: int
    beta: int
    columns: int
    q: int


class Tools(NamedTuple):
    """Buffers beside the stream."""

    w: Wide
    d: Desk
    k: Numbers
    sums: Sums


@emits
def part_start(core: Any, m: int, part: int, parts: int) -> int:
    """Return the first row of a part."""
    return int(min(m, (m + EIGHT - 1) // EIGHT * part // parts * EIGHT))


@emits
def numbers_of(core: Any, rows: int) -> Numbers:
    """Allocate the numbers of up to `rows` rows."""
    room_bytes, blocks = (rows + 255) // 256 * 1024, (rows + 15) // 16 * 512
    mean, rstd = alloc(core, UB, room_bytes), alloc(core, UB, room_bytes)
    scale, dot = alloc(core, UB, blocks), alloc(core, UB, blocks)
    base, lanes = alloc(core, UB, blocks), alloc(core, UB, 2 * LINE)
    return Numbers(queue(core, MTE2, V, 1), mean, rstd, scale, dot, base, lanes)


@emits
def sums_of(core: Any, columns: int) -> Sums:
    """Allocate two sums of so many columns, one behind the other."""
    columns = (columns + EIGHT - 1) // EIGHT * EIGHT
    gamma = alloc(core, UB, columns * 8)
    return Sums(gamma, gamma + columns * 4, columns, queue(core, V, MTE3, 1))


@emits
def start_sums(core: Any, sums: Sums) -> None:
    """Wait until the sums of the part before have left, and set them to zero."""
    fill(core, sums.q)
    flat_dup(core, sums.gamma, 0.0, sums.columns * 2, FP32)


@emits
def bring_numbers(core: Any, k: Numbers, mean: int, rstd: int, row: int, rows: int) -> None:
    """Bring the numbers of `rows` rows from number `row` on."""
    fill(core, k.q)
    data_move(core, k.mean, mean + row * 4, 1, (rows + EIGHT - 1) // EIGHT)
    data_move(core, k.rstd, rstd + row * 4, 1, (rows + EIGHT - 1) // EIGHT)
    filled(core, k.q)
    use(core, k.q)


@emits
def blocks_of(core: Any, dst: int, d: Desk, numbers: int, rows: int) -> None:
    """Fill block i of dst with numbers[i]."""
    number_blocks(core, dst, Desk(d.kept, numbers, d.blocks, d.scratch), rows)


@emits
def row_means(core: Any, dst: int, d: Desk, x: int, t: Tile) -> None:
    """Fill the blocks with the mean of each row of x."""
    row_sums(core, d, x, t)
    flat_scale(core, d.numbers, d.numbers, t.rows, 1.0 / t.columns, 0.0, FP32)
    number_blocks(core, dst, d, t.rows)


@emits
def normalised(core: Any, u: Tools, x: int, t: Tile) -> None:
    """Take the mean of each row of x away and multiply by 1 / deviation."""
    blocks_of(core, u.d.blocks, u.d, u.k.mean, t.rows)
    blocks_of(core, u.k.scale, u.d, u.k.rstd, t.rows)
    free(core, u.k.q)
    each_row(core, SUB, x, x, u.d.blocks, 1, t)
    each_row(core, MUL, x, x, u.k.scale, 1, t)


@emits
def gradient_tile(core: Any, u: Tools, dy: int, x: int, made: int, gamma: int, t: Tile) -> None:
    """Compute a tile of dx in fp32 and add to the sums; dy and x are overwritten."""
    n = t.rows * t.pitch // 4
    normalised(core, u, x, t)
    add_columns(core, u.sums.beta, dy, t)
    flat_binary(core, MUL, made, dy, x, n, FP32)
    add_columns(core, u.sums.gamma, made, t)
    each_column(core, MUL, made, dy, gamma, t)
    row_means(core, u.k.base, u.d, made, t)
    flat_binary(core, MUL, dy, made, x, n, FP32)
    row_means(core, u.k.dot, u.d, dy, t)
    each_row(core, MUL, dy, x, u.k.dot, 1, t)
    flat_binary(core, SUB, made, made, dy, n, FP32)
    each_row(core, SUB, x, made, u.k.base, 1, t)
    each_row(core, MUL, made, x, u.k.scale, 1, t)


@emits
def short_tile(core: Any, s: RowStream, u: Tools, taken: int, gamma: int, t: Tile, dtype: int) -> None:
    """Compute a tile of dx to the output buffer."""
    if dtype == FP32:
        gradient_tile(core, u, taken, taken + s.area, room_for_rows(core, s), gamma, t)
        release_rows(core, s)
        return
    n = t.rows * t.pitch // 4
    flat_convert(core, u.w.x, FP32, taken, FP16, n)
    flat_convert(core, u.w.other, FP32, taken + s.area, FP16, n)
    release_rows(core, s)
    gradient_tile(core, u, u.w.x, u.w.other, u.w.product, gamma, t)
    flat_convert(core, room_for_rows(core, s), FP16, u.w.product, FP32, n)


class Places(NamedTuple):
    """Where the operands lie in GM."""

    dy: int
    x: int
    mean: int
    rstd: int
    gamma: int
    dx: int
    parts: int


@emits
def store_sums(core: Any, sums: Sums, parts: int, part: int) -> None:
    """Write the sums of a part."""
    filled(core, sums.q)
    use(core, sums.q)
    data_move(core, parts + part * sums.columns * 8, sums.gamma, 1, sums.columns * 8 // BLOCK)
    free(core, sums.q)


@emits
def short_rows(core: Any, p: Places, shape: Any, tiling: Any) -> None:
    """Work on this block's parts, a tile of rows at once."""
    n, size = shape.n, size_of(core, shape.dtype)
    s = open_rows(core, 2, tiling.rows, n * size, tiling.slots)
    w, d = wide_arrays(core, s.rows * s.pitch * 4 // size, 3, shape.dtype), desk(core, s.rows)
    k, sums, q = numbers_of(core, s.rows), sums_of(core, n), queue(core, MTE2, V, 1)
    u, gamma = Tools(w, d, k, sums), load_vector(core, p.gamma, n, shape.dtype, q)
    for part in range(share_start(core, shape.parts, 1), share_end(core, shape.parts, 1)):
        start_sums(core, sums)
        end = part_start(core, shape.m, part + 1, shape.parts)
        for row in range(part_start(core, shape.m, part, shape.parts), end, s.rows):
            count = min(s.rows, end - row)
            taken = bring_rows(core, s, p.dy, p.x, row, count)
            bring_numbers(core, k, p.mean, p.rstd, row, count)
            short_tile(core, s, u, taken, gamma, Tile(count, n, s.pitch * 4 // size), shape.dtype)
            send_rows(core, s, p.dx, row, count)
        store_sums(core, sums, p.parts, part)
    close(core, q)
    close(core, sums.q)
    close(core, k.q)
    close_rows(core, s)


class Piece(NamedTuple):
    """A piece of a row in fp32: dy, xhat, g; and their length."""

    dy: int
    x: int
    g: int
    n: int


@emits
def piece_of(core: Any, s: Stream, u: Tools, taken: int, n: int, dtype: int) -> Piece:
    """Return a piece of a row whose mean and 1 / deviation stand in blocks, ready to work on."""
    w, dy, x, g = u.w, taken, taken + s.pitch, taken + 2 * s.pitch
    if dtype == FP16:
        flat_convert(core, w.x, FP32, dy, FP16, n)
        flat_convert(core, w.other, FP32, x, FP16, n)
        flat_convert(core, w.product, FP32, g, FP16, n)
        dy, x, g = w.x, w.other, w.product
    block_binary(core, SUB, x, x, u.d.blocks, n, FP32)
    block_binary(core, MUL, x, x, u.k.scale, n, FP32)
    flat_binary(core, MUL, g, g, dy, n, FP32)
    return Piece(dy, x, g, n)


@emits
def know_row(core: Any, p: Places, k: Numbers, d: Desk, row: int) -> None:
    """Set the blocks of mean and 1 / deviation of a row."""
    bring_numbers(core, k, p.mean, p.rstd, row, 1)
    blocks_of(core, d.blocks, d, k.mean, 1)
    blocks_of(core, k.scale, d, k.rstd, 1)
    free(core, k.q)


@emits
def long_row(core: Any, p: Places, s: Stream, u: Tools, first: int, shape: Any) -> None:
    """Write dx of a row from element `first` on, in pieces, of which the last two overlap."""
    n, dtype, gamma = shape.n, shape.dtype, p.gamma - first * s.size
    k, d, lanes = u.k, u.d, u.k.lanes
    vector_dup(core, lanes, 2, 0.0, FP32, LANES)
    for column in range(0, n, s.tile):
        count = min(s.tile, n - column)
        taken = bring(core, s, p.dy, p.x, gamma, first + column, count)
        a = piece_of(core, s, u, taken, count, dtype)
        fold_along(core, ADD, lanes, a.g, count, FP32)
        flat_binary(core, MUL, a.g, a.g, a.x, count, FP32)
        fold_along(core, ADD, lanes + LINE, a.g, count, FP32)
        release(core, s)
    lane_mean(core, k.base, d, lanes, n)
    lane_mean(core, k.dot, d, lanes + LINE, n)
    for column in range(0, n, s.tile):
        at = first + min(column, n - s.tile)
        a = piece_of(core, s, u, bring(core, s, p.dy, p.x, gamma, at, s.tile), s.tile, dtype)
        made = room(core, s)
        block_binary(core, MUL, a.x, a.x, k.dot, a.n, FP32)
        block_binary(core, SUB, a.g, a.g, k.base, a.n, FP32)
        flat_binary(core, SUB, a.g, a.g, a.x, a.n, FP32)
        block_binary(core, MUL, made if dtype == FP32 else a.g, a.g, k.scale, a.n, FP32)
        if dtype == FP16:
            flat_convert(core, made, FP16, a.g, FP32, a.n)
        release(core, s)
        send(core, s, p.dx, made, at, s.tile)


@emits
def long_sums(core: Any, p: Places, s: Stream, u: Tools, part: int, at: int, shape: Any) -> None:
    """Write the sums of some columns from number `at` on over the rows of a part."""
    sums, count = u.sums, min(s.tile, shape.n - at)
    start_sums(core, sums)
    end = part_start(core, shape.m, part + 1, shape.parts)
    for row in range(part_start(core, shape.m, part, shape.parts), end):
        know_row(core, p, u.k, u.d, row)
        taken = bring(core, s, p.dy, p.x, p.x, row * shape.n + at, count)
        a = piece_of(core, s, u, taken, count, shape.dtype)
        flat_binary(core, ADD, sums.beta, sums.beta, a.dy, count, FP32)
        flat_binary(core, MUL, a.x, a.x, a.dy, count, FP32)
        flat_binary(core, ADD, sums.gamma, sums.gamma, a.x, count, FP32)
        release(core, s)
    filled(core, sums.q)
    use(core, sums.q)
    padded = (shape.n + EIGHT - 1) // EIGHT * EIGHT
    to = p.parts + (part * 2 * padded + at) * 4
    data_move(core, to, sums.gamma, 1, s.tile * 4 // BLOCK)
    data_move(core, to + padded * 4, sums.beta, 1, s.tile * 4 // BLOCK)
    free(core, sums.q)


@emits
def long_rows(core: Any, p: Places, shape: Any, tiling: Any) -> None:
    """Work on this block's parts, in pieces of rows; the last two of a row overlap."""
    n, size = shape.n, size_of(core, shape.dtype)
    s = open_stream(core, 3, tiling.columns, size, tiling.slots)
    w, d, k = wide_arrays(core, s.tile * 4, 3, shape.dtype), desk(core, 1), numbers_of(core, 1)
    sums = sums_of(core, s.tile)
    u = Tools(w, d, k, sums)
    padded = (n + EIGHT - 1) // EIGHT * EIGHT
    for part in range(share_start(core, shape.parts, 1), share_end(core, shape.parts, 1)):
        end = part_start(core, shape.m, part + 1, shape.parts)
        for row in range(part_start(core, shape.m, part, shape.parts), end):
            know_row(core, p, k, d, row)
            long_row(core, p, s, u, row * n, shape)
        for column in range(0, n, s.tile):
            long_sums(core, p, s, u, part, min(column, padded - s.tile), shape)
    close(core, sums.q)
    close(core, k.q)
    close_stream(core, s)


@kernel(NormGradShape, NormGradTiling, _operands, _reference)
def layer_norm_grad(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, dy: int, x: int, mean: int, rstd: int, gamma: int, dx: int, parts_of_sums: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """dx[m, n], and parts[p, 2, n]: sums over a part of the rows of dy * (x - mean) * rstd, and of dy."""
    places = Places(dy, x, mean, rstd, gamma, dx, parts_of_sums)
    if is_short(core, shape, tiling) != 0:
        short_rows(core, places, shape, tiling)
    else:
        long_rows(core, places, shape, tiling)
