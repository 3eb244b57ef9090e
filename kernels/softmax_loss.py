"""Softmax cross-entropy with a distribution as the label of each row, and in the same pass its gradient.

As MindSpore's SoftmaxCrossEntropyWithLogits: one row of logits and one of labels in, a number and the
gradient of the row out. All in fp32. Rows that do not fit UB go through it three times in pieces.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    ADD,
    FP16,
    FP32,
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
from kernels.lang.flat import EXP, LN, REC
from kernels.layer_norm import EIGHT, note, rows_of
from kernels.pieces.broadcast import block_binary
from kernels.pieces.fold import LOWEST
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
    LANES,
    LINE,
    Desk,
    Tile,
    Wide,
    desk,
    each_row,
    fold_along,
    is_short,
    maximum_blocks,
    number_blocks,
    row_sums,
    wide_arrays,
)
from kernels.pieces.stream import Stream, bring, close_stream, open_stream, release, room, send
from kernels.softmax import SOFTMAX, Lanes, add_piece, know_row, lanes_of_row, widened_pair
from kernels.tiling.rowwise import RowShape, RowTiling

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DenseLossShape(RowShape):
    """logits[m, n] and labels[m, n] of type `dtype`; the labels of a row add up to 1."""

    SOURCES: ClassVar[int] = 2
    PIECES: ClassVar[int] = 2
    WIDE: ClassVar[int] = 3
    UNIT: ClassVar[int] = EIGHT


def _operands(shape: DenseLossShape) -> tuple[Operand, ...]:
    x, dtype = (shape.m, shape.n), shape.dtype
    labels = Operand("labels", x, dtype, between=(0.0, 2.0 / shape.n))
    return Operand("logits", x, dtype), labels, output("loss", (shape.m,), FP32), output("dlogits", x, dtype)


def _reference(shape: DenseLossShape, logits: Array, labels: Array) -> tuple[Array, Array]:
    wide, label = logits.astype(np.float64), labels.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    logarithm = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -(label * logarithm).sum(axis=1)
    return loss.astype(np.float32), (np.exp(logarithm) - label).astype(logits.dtype)


class Losses(NamedTuple):
    """Losses of the rows that are written together, twice `pitch` bytes; their queue, blocks, sums."""

    at: int
    pitch: int
    q: int
    blocks: int
    sums: int


@emits
def losses_of(core: Any, rows: int) -> Losses:
    """Allocate the losses of up to `rows` rows, at least 8."""
    pitch = (max(rows, EIGHT) + LANES - 1) // LANES * LINE
    at, blocks, sums = alloc(core, UB, 2 * pitch, 2), alloc(core, UB, 512), alloc(core, UB, pitch)
    return Losses(at, pitch, queue(core, V, MTE3, 2), blocks, sums)


@emits
def write_losses(core: Any, k: Losses, at: int, loss: int, row: int, rows: int) -> None:
    """Write the losses of `rows` rows from number `row` on."""
    filled(core, k.q)
    use(core, k.q)
    data_move(core, loss + row * 4, at, 1, (rows + EIGHT - 1) // EIGHT)
    free(core, k.q)


class Tools(NamedTuple):
    """Buffers beside the stream, and the type of the matrices."""

    w: Wide
    d: Desk
    k: Losses
    dtype: int


@emits
def loss_tile(core: Any, u: Tools, x: int, labels: int, made: int, t: Tile) -> None:
    """Set the numbers to the losses and made to the gradient, from x - its maximum; x is overwritten."""
    n, d = t.rows * t.pitch // 4, u.d
    flat_unary(core, EXP, made, x, n, FP32)
    row_sums(core, d, made, t)
    data_move(core, u.k.sums, d.numbers, 1, (t.rows + EIGHT - 1) // EIGHT)
    flat_unary(core, REC, d.numbers, d.numbers, t.rows, FP32)
    number_blocks(core, d.blocks, d, t.rows)
    each_row(core, MUL, made, made, d.blocks, 1, t)
    flat_binary(core, SUB, made, made, labels, n, FP32)
    flat_unary(core, LN, d.numbers, u.k.sums, t.rows, FP32)
    number_blocks(core, d.blocks, d, t.rows)
    each_row(core, SUB, x, x, d.blocks, 1, t)
    flat_binary(core, MUL, x, x, labels, n, FP32)
    row_sums(core, d, x, t)
    flat_scale(core, d.numbers, d.numbers, t.rows, -1.0, 0.0, FP32)


@emits
def short_tile(core: Any, s: RowStream, u: Tools, taken: int, t: Tile) -> None:
    """Compute a tile: the gradient to the output buffer, the losses to the numbers."""
    step = maximum_blocks(core, u.d, taken, Tile(t.rows, t.columns, s.pitch), u.dtype)
    x, labels = widened_pair(core, u.w, taken, s.area, t.rows * t.pitch // 4, u.dtype)
    if u.dtype == FP16:
        release_rows(core, s)
    each_row(core, SUB, x, x, u.d.blocks, step, t)
    made = room_for_rows(core, s)
    gradient = made if u.dtype == FP32 else u.w.product
    loss_tile(core, u, x, labels, gradient, t)
    if u.dtype == FP16:
        flat_convert(core, made, FP16, gradient, FP32, t.rows * t.pitch // 4)
    else:
        release_rows(core, s)


@emits
def short_rows(core: Any, logits: int, labels: int, loss: int, dlogits: int, shape: Any, tiling: Any) -> None:
    """Work on this block's rows, a tile at once; small tiles from the last of eight rows on."""
    n, size = shape.n, size_of(core, shape.dtype)
    s = open_rows(core, 2, rows_of(core, tiling.rows), n * size, tiling.slots)
    w, d, k = (
        wide_arrays(core, s.rows * s.pitch * 4 // size, 3, shape.dtype),
        desk(core, s.rows),
        losses_of(core, s.rows),
    )
    u = Tools(w, d, k, shape.dtype)
    unit = row_unit(core, shape.m, n * size, EIGHT)
    end, batch = share_end(core, shape.m, unit), max(s.rows, EIGHT)
    for first in range(share_start(core, shape.m, unit), end, batch):
        rows = min(batch, end - first)
        tiles, at = (rows + s.rows - 1) // s.rows, k.at + fill(core, k.q) * k.pitch
        for step in range(tiles):
            lane = (tiles - 1 - step) * s.rows
            count = min(s.rows, rows - lane)
            taken = bring_rows(core, s, logits, labels, first + lane, count)
            short_tile(core, s, u, taken, Tile(count, n, s.pitch * 4 // size))
            note(core, at, d, k.blocks, lane, count)
            send_rows(core, s, dlogits, first + lane, count)
        write_losses(core, k, at, loss, first, rows)
    close(core, k.q)
    close_rows(core, s)


@emits
def know_loss(core: Any, s: Stream, u: Tools, k: Lanes, logits: int, labels: int, n: int) -> None:
    """Set the blocks of a row's maximum and 1 / sum, and those of the losses to its loss."""
    d, blocks = u.d, u.k.blocks
    vector_dup(core, k.top, 1, LOWEST, FP32, LANES)
    vector_dup(core, k.total, 1, 0.0, FP32, LANES)
    for column in range(0, n, s.tile):
        count = min(s.tile, n - column)
        taken = bring(core, s, logits, labels, labels, column, count)
        x, _ = widened_pair(core, u.w, taken, s.pitch, count, u.dtype)
        add_piece(core, k, x, count)
        release(core, s)
    know_row(core, SOFTMAX, d, k)
    flat_unary(core, LN, blocks, k.scale, EIGHT, FP32)
    vector_dup(core, k.total, 1, 0.0, FP32, LANES)
    for column in range(0, n, s.tile):
        count = min(s.tile, n - column)
        taken = bring(core, s, logits, labels, labels, column, count)
        x, label = widened_pair(core, u.w, taken, s.pitch, count, u.dtype)
        block_binary(core, SUB, x, x, k.peak, count, FP32)
        block_binary(core, ADD, x, x, blocks, count, FP32)
        flat_binary(core, MUL, x, x, label, count, FP32)
        fold_along(core, ADD, k.total, x, count, FP32)
        release(core, s)
    vcadd(core, d.numbers, k.total, 1, FP32, LANES)
    flat_scale(core, d.numbers, d.numbers, 1, -1.0, 0.0, FP32)
    number_blocks(core, blocks, d, 1)


@emits
def gradient_row(core: Any, s: Stream, u: Tools, k: Lanes, logits: int, labels: int, dlogits: int) -> None:
    """Write a piece of the gradient of a row whose maximum and sum are known, to where it begins."""
    n = s.tile
    taken = bring(core, s, logits, labels, labels, 0, n)
    x, label = widened_pair(core, u.w, taken, s.pitch, n, u.dtype)
    made = room(core, s)
    block_binary(core, SUB, x, x, k.peak, n, FP32)
    flat_unary(core, EXP, x, x, n, FP32)
    block_binary(core, MUL, x, x, k.scale, n, FP32)
    flat_binary(core, SUB, made if u.dtype == FP32 else x, x, label, n, FP32)
    if u.dtype == FP16:
        flat_convert(core, made, FP16, x, FP32, n)
    release(core, s)
    send(core, s, dlogits, made, 0, n)


@emits
def long_rows(core: Any, logits: int, labels: int, loss: int, dlogits: int, shape: Any, tiling: Any) -> None:
    """Work on this block's rows in pieces, of which the last two overlap; the last of eight rows first."""
    n, size = shape.n, size_of(core, shape.dtype)
    s = open_stream(core, 2, tiling.columns, size, tiling.slots)
    w, d, k = wide_arrays(core, s.tile * 4, 2, shape.dtype), desk(core, 1), lanes_of_row(core)
    u, end = Tools(w, d, losses_of(core, EIGHT), shape.dtype), share_end(core, shape.m, EIGHT)
    for first in range(share_start(core, shape.m, EIGHT), end, EIGHT):
        rows = min(EIGHT, end - first)
        at = u.k.at + fill(core, u.k.q) * u.k.pitch
        for step in range(rows):
            row = rows - 1 - step
            begin = (first + row) * n * size
            know_loss(core, s, u, k, logits + begin, labels + begin, n)
            vadds(core, at, u.k.blocks, 1, 0.0, FP32, row + 1)
            for column in range(0, n, s.tile):
                to = begin + min(column, n - s.tile) * size
                gradient_row(core, s, u, k, logits + to, labels + to, dlogits + to)
        write_losses(core, u.k, at, loss, first, rows)
    close(core, u.k.q)
    close_stream(core, s)


@kernel(DenseLossShape, RowTiling, _operands, _reference)
def softmax_cross_entropy_with_logits(
    core: Any, logits: int, labels: int, loss: int, dlogits: int, shape: Any, tiling: Any
) -> None:
    """loss[m] = -sum over n of labels * ln(softmax(logits)); dlogits[m, n] = softmax(logits) - labels."""
    if is_short(core, shape, tiling) != 0:
        short_rows(core, logits, labels, loss, dlogits, shape, tiling)
    else:
        long_rows(core, logits, labels, loss, dlogits, shape, tiling)
