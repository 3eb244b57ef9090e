"""Softmax cross-entropy with integer labels, and its gradient.

Sixteen rows lie in UB as they come, in fractals of 16 x 16: each of 256 lanes has a row and every 16th of its
columns. A piece of the columns is folded lane by lane to a maximum and a sum of powers below it; only these
two fractals are then transposed, so that rows lie in lanes and columns are folded to one. Labels are compared
with the numbers of all columns of a piece. Rows that do not fit UB pass in pieces; for the gradient, twice.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
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
    flat_binary,
    flat_scale,
    flat_unary,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    use,
    vadd,
    vadds,
    vcmpv_eq,
    vcmpv_ge,
    vcmpv_lt,
    vconv,
    vector_dup,
    vmul,
    vsel,
    vsub,
)
from kernels.lang.flat import ADD, EXP, LN, MAX, MAX_REPEAT, MUL, REC, SUB
from kernels.pieces.fold import LOWEST, fold
from kernels.pieces.transpose import transpose_32bit
from kernels.pieces.window import move_planes
from kernels.tiling.loss import EDGE, FRACTAL_BYTES, LINE, SIDE_BYTES, TILES, LossShape, LossTiling

Array = npt.NDArray[Any]
LANES, BLOCK, COLUMN_BYTES = 64, 32, 64


def _hot(logits: Array, labels: Array) -> Array:
    return np.asarray(labels[:, np.newaxis] == np.arange(logits.shape[1]))


def _loss_reference(shape: LossShape, logits: Array, labels: Array) -> tuple[Array]:
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    chosen = np.where(_hot(logits, labels), shifted, 0.0).sum(axis=1)
    return ((np.log(np.exp(shifted).sum(axis=1)) - chosen).astype(np.float32),)


def _grad_reference(shape: LossShape, logits: Array, labels: Array, dloss: Array) -> tuple[Array]:
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    probability = powers / powers.sum(axis=1, keepdims=True)
    return (((probability - _hot(logits, labels)) * dloss[:, np.newaxis]).astype(np.float32),)


def _loss_operands(shape: LossShape) -> tuple[Operand, ...]:
    logits = Operand("logits", (shape.m, shape.n), FP32, "NZ")
    labels = Operand("labels", (shape.m,), INT32, padding_bytes=-4 * shape.m % 64, between=(0, shape.n))
    return logits, labels, output("loss", (shape.m,), FP32)


def _grad_operands(shape: LossShape) -> tuple[Operand, ...]:
    logits, labels, _ = _loss_operands(shape)
    dlogits = output("dlogits", (shape.m, shape.n), FP32, "NZ")
    return logits, labels, Operand("dloss", (shape.m,), FP32, padding_bytes=-4 * shape.m % 64), dlogits


@emits
def repeat_column(core: Any, column: int) -> None:
    """Copy 16 fp32 numbers three times behind themselves, so that they fill a repeat."""
    data_move(core, column + 64, column, 1, 2)
    data_move(core, column + 128, column, 1, 4)


@emits
def fold_columns(core: Any, op: int, kept: int, x: int, n: int) -> None:
    """kept[4, 16] = four times x[n, 16] folded over n."""
    vector_dup(core, kept, 1, LOWEST if op == MAX else 0.0, FP32, LANES)
    fold(core, op, kept, x, n // 4, LANES, 0, 8)
    if n % 4 > 0:
        fold(core, op, kept, x + n // 4 * LINE, 1, n % 4 * EDGE, 0, 8)
    fold(core, op, kept, kept + 128, 1, 32, 8, 8)
    fold(core, op, kept, kept + 64, 1, 16, 8, 8)
    repeat_column(core, kept)


@emits
def columns_binary(core: Any, op: int, x: int, column: int, n: int) -> None:
    """x[n, 16] = x op column[4, 16], in place; up to three columns after n are computed, too."""
    for done in range(0, (n + 3) // 4, MAX_REPEAT):
        repeat = min(MAX_REPEAT, (n + 3) // 4 - done)
        at = x + done * LINE
        if op == SUB:
            vsub(core, at, at, column, repeat, FP32, LANES, 1, 1, 1, 8, 8, 0)
        elif op == MUL:
            vmul(core, at, at, column, repeat, FP32, LANES, 1, 1, 1, 8, 8, 0)
        else:
            vadd(core, at, at, column, repeat, FP32, LANES, 1, 1, 1, 8, 8, 0)


class Columns(NamedTuple):
    """How the columns of 16 rows are cut: fractals of a row and of a piece, rows of the matrix, columns.

    Each 16 rows take so many `steps`, a piece each; this core does those from `start` to `end`. `bits` are
    the bytes of the bits of a piece, for four rows.
    """

    fractals: int
    piece: int
    pieces: int
    rows: int
    n: int
    bits: int
    steps: int
    start: int
    end: int


class Source(NamedTuple):
    """Where pieces come from, labels and (not below 0) weights; where they come to, and their queue."""

    logits: int
    labels: int
    dloss: int
    ub: int
    q: int


class Step(NamedTuple):
    """A piece: of which 16 rows, and which pass; its first fractal, and how many there are."""

    group: int
    number: int
    first: int
    fractals: int


class Desk(NamedTuple):
    """What is known of 16 rows, in fractals of lanes: the largest number, the sum of powers, the picked one.

    `turned` is their transpose, `labels` the label of each lane; lines hold four times a number of each row.
    """

    tops: int
    totals: int
    picked: int
    turned: int
    labels: int
    held: int
    peak: int
    total: int
    label: int
    weight: int
    line: int
    zero: int
    numbers: int
    bits: int
    edge: int
    scratch: int


@emits
def columns_of(core: Any, shape: Any, tiling: Any, passes: int) -> Any:
    """Return how the columns of a shape are cut; more than one piece is brought `passes` times."""
    fractals, groups = (shape.n + 15) // 16, (shape.m + 15) // 16
    piece = max(1, min(tiling.fractals, fractals))
    pieces, bits = (fractals + piece - 1) // piece, (piece + 3) // 4 * BLOCK
    steps = pieces * passes if pieces > 1 else pieces
    start, end = share_start(core, groups, 1) * steps, share_end(core, groups, 1) * steps
    return Columns(fractals, piece, pieces, groups * 16, shape.n, bits, steps, start, end)


@emits
def desk_of(core: Any, c: Columns) -> Any:
    """Allocate what is known of 16 rows, and write the numbers of the columns of a piece."""
    tiles, turned = alloc(core, UB, TILES * FRACTAL_BYTES), alloc(core, UB, TILES * FRACTAL_BYTES)
    labels, held = alloc(core, UB, FRACTAL_BYTES), alloc(core, UB, FRACTAL_BYTES)
    lines, scratch = alloc(core, UB, 6 * LINE), alloc(core, UB, TILES * 2048)
    numbers, bits = alloc(core, UB, max(4, c.piece) * LINE), alloc(core, UB, 4 * c.bits + BLOCK)
    vector_dup(core, lines + 5 * LINE, 1, 0.0, FP32, LANES)
    number_columns(core, numbers, held, scratch, c.piece)
    edge = bits + 4 * c.bits
    vector_dup(core, lines, 1, (c.n - 1) % EDGE + 1.0, FP32, LANES)
    vcmpv_lt(core, edge, numbers, lines, 4, FP32, 1, 1, 0, 0)
    return Desk(
        tiles, tiles + FRACTAL_BYTES, tiles + 2 * FRACTAL_BYTES, turned, labels, held, lines, lines + LINE,
        lines + 2 * LINE, lines + 3 * LINE, lines + 4 * LINE, lines + 5 * LINE, numbers, bits, edge, scratch,
    )  # fmt: skip


@emits
def number_columns(core: Any, numbers: int, held: int, scratch: int, fractals: int) -> None:
    """numbers[fractals, 4, 16] = the number of the column, the same for four rows."""
    for column in range(EDGE):
        vector_dup(core, held + column * COLUMN_BYTES, 1, 1.0 * column, FP32, EDGE)
    transpose_32bit(core, numbers, held, 2, 32, 1, scratch)
    done = 1
    while done < fractals:
        more = min(done, fractals - done)
        flat_scale(core, numbers + done * LINE, numbers, more * LANES, 1.0, 16.0 * done, FP32)
        done *= 2


@emits
def fill_tile(core: Any, tile: int, line: int) -> None:
    """Set the four lines of a fractal to the same."""
    vadds(core, tile, line, 4, 0.0, FP32, LANES, 1, 1, 8, 0)


@emits
def know_labels(core: Any, d: Desk, labels: int, n: int) -> None:
    """Set the label of each lane from those of 16 rows; what is no column becomes -1."""
    vconv(core, d.label, labels, FP32, 1, INT32, EDGE)
    repeat_column(core, d.label)
    vector_dup(core, d.line, 1, 1.0 * n, FP32, LANES)
    vcmpv_lt(core, d.bits, d.label, d.line, 1, FP32)
    vector_dup(core, d.line, 1, -1.0, FP32, LANES)
    vsel(core, d.label, d.label, d.line, 1, d.bits, FP32)
    fill_tile(core, d.turned, d.label)
    transpose_32bit(core, d.labels, d.turned, 2, 32, 1, d.scratch)


@emits
def match_labels(core: Any, d: Desk, c: Columns, fractals: int) -> None:
    """Set the bits of the lanes whose column is the label; lower the labels for the next piece."""
    for line in range(4):
        bits = d.bits + line * c.bits
        vcmpv_eq(core, bits, d.numbers, d.labels + line * LINE, fractals, FP32, 1, 1, 8, 0)
    vadds(core, d.labels, d.labels, 4, -16.0 * fractals, FP32, LANES)


@emits
def leave_out(core: Any, d: Desk, c: Columns, x: int, step: Step, value: float) -> None:
    """Set the columns after the last one to a value, where a piece reaches the end."""
    if step.first + step.fractals == c.fractals and c.n % EDGE > 0:
        at = x + (step.fractals - 1) * FRACTAL_BYTES
        vector_dup(core, d.line, 1, value, FP32, LANES)
        vsel(core, at, at, d.line, 4, d.edge, FP32, LANES, 1, 1, 1, 8, 8, 0)


@emits
def lanes_binary(core: Any, op: int, dst: int, x: int, tile: int, fractals: int) -> None:
    """dst[fractals, 16, 16] = x op tile[16, 16]."""
    for line in range(4):
        at = line * LINE
        if op == SUB:
            vsub(core, dst + at, x + at, tile + at, fractals, FP32, LANES, 1, 1, 1, 32, 32, 0)
        else:
            vmul(core, dst + at, x + at, tile + at, fractals, FP32, LANES, 1, 1, 1, 32, 32, 0)


@emits
def fold_lanes(core: Any, op: int, tile: int, x: int, fractals: int) -> None:
    """Fold x[fractals, 16, 16] onto tile[16, 16]."""
    for line in range(4):
        fold(core, op, tile + line * LINE, x + line * LINE, fractals, LANES, 0, 32)


@emits
def know_nothing(core: Any, d: Desk) -> None:
    """Start with 16 rows: no maxima, no sums, nothing picked."""
    vector_dup(core, d.tops, 4, LOWEST, FP32, LANES)
    vector_dup(core, d.totals, 8, 0.0, FP32, LANES)


@emits
def know_piece(core: Any, d: Desk, x: int, step: Step) -> None:
    """Add a piece to what is known of 16 rows; x becomes its powers below the maxima of the lanes."""
    fractals = step.fractals
    if step.first > 0:
        data_move(core, d.held, d.tops, 1, FRACTAL_BYTES // BLOCK)
    fold_lanes(core, MAX, d.tops, x, fractals)
    if step.first > 0:
        flat_binary(core, SUB, d.held, d.held, d.tops, 4 * LANES, FP32)
        flat_unary(core, EXP, d.held, d.held, 4 * LANES, FP32)
        flat_binary(core, MUL, d.totals, d.totals, d.held, 4 * LANES, FP32)
    lanes_binary(core, SUB, x, x, d.tops, fractals)
    flat_unary(core, EXP, x, x, fractals * 4 * LANES, FP32)
    fold_lanes(core, ADD, d.totals, x, fractals)


@emits
def know_rows(core: Any, d: Desk, tiles: int) -> None:
    """Set the maximum and the sum of each row; `turned` becomes the power of each lane's maximum below it."""
    transpose_32bit(core, d.turned, d.tops, 2, 32, tiles, d.scratch)
    fold_columns(core, MAX, d.peak, d.turned, EDGE)
    columns_binary(core, SUB, d.turned, d.peak, EDGE)
    flat_unary(core, EXP, d.turned, d.turned, 4 * LANES, FP32)
    totals = d.turned + FRACTAL_BYTES
    flat_binary(core, MUL, totals, totals, d.turned, 4 * LANES, FP32)
    fold_columns(core, ADD, d.total, totals, EDGE)


@emits
def pick(core: Any, d: Desk, c: Columns, x: int, fractals: int) -> None:
    """Put the number of each row's label, if it is in this piece, to its lane."""
    match_labels(core, d, c, fractals)
    for line in range(4):
        to, bits = d.picked + line * LINE, d.bits + line * c.bits
        vsel(core, to, x + line * LINE, to, fractals, bits, FP32, LANES, 1, 1, 1, 0, 32, 0)


@emits
def step_at(core: Any, c: Columns, number: int) -> Any:
    """Return the step with a number."""
    first = number % c.steps % c.pieces * c.piece
    return Step(number // c.steps, number % c.steps, first, min(c.piece, c.fractals - first))


@emits
def fetch(core: Any, c: Columns, s: Source, number: int) -> None:
    """Bring a piece, the first of 16 rows with labels and weights behind it, if there is one."""
    if number >= c.end:
        return
    step = step_at(core, c, number)
    ub = s.ub + fill(core, s.q) * (c.piece * FRACTAL_BYTES + SIDE_BYTES)
    sides = ub + c.piece * FRACTAL_BYTES
    src = s.logits + (step.first * (c.rows // 16) + step.group) * FRACTAL_BYTES
    move_planes(core, ub, src, step.fractals, 32, 32, c.rows * 2)
    if step.number == 0:
        data_move(core, sides, s.labels + step.group * 64, 1, 2)
    if step.number == 0 and s.dloss >= 0:
        data_move(core, sides + 64, s.dloss + step.group * 64, 1, 2)
    filled(core, s.q)


@emits
def open_source(core: Any, c: Columns, logits: int, labels: int, dloss: int, slots: int) -> Any:
    """Open the stream of pieces, and bring the first ones."""
    ub = alloc(core, UB, slots * (c.piece * FRACTAL_BYTES + SIDE_BYTES), slots)
    s = Source(logits, labels, dloss, ub, queue(core, MTE2, V, slots))
    for ahead in range(slots - 1):
        fetch(core, c, s, c.start + ahead)
    return s


@emits
def take(core: Any, c: Columns, s: Source, ahead: int) -> int:
    """Bring the piece with number `ahead`, then return where the next one to work on lies."""
    fetch(core, c, s, ahead)
    return s.ub + use(core, s.q) * (c.piece * FRACTAL_BYTES + SIDE_BYTES)


@emits
def set_loss(core: Any, d: Desk, to: int, count: int) -> None:
    """Set to[count] to the losses of rows that are known; without a label the number is the maximum."""
    fold_columns(core, ADD, d.line, d.turned + 2 * FRACTAL_BYTES, EDGE)
    vsub(core, d.line, d.line, d.peak, 1, FP32, LANES)
    vcmpv_ge(core, d.bits, d.label, d.zero, 1, FP32)
    vsel(core, d.line, d.line, d.zero, 1, d.bits, FP32)
    flat_unary(core, LN, d.total, d.total, EDGE, FP32)
    vector_dup(core, to, 1, 0.0, FP32, EDGE)
    vsub(core, to, d.total, d.line, 1, FP32, count)


@emits
def store_losses(core: Any, d: Desk, q: int, ub: int, loss: int, group: int, m: int) -> None:
    """Write the losses of 16 rows that are known."""
    fill(core, q)
    count = min(EDGE, m - group * EDGE)
    set_loss(core, d, ub, count)
    filled(core, q)
    use(core, q)
    data_move(core, loss + group * 64, ub, 1, (count + 7) // 8)
    free(core, q)


@kernel(LossShape, LossTiling, _loss_operands, _loss_reference)
def softmax_cross_entropy(core: Any, logits: int, labels: int, loss: int, shape: Any, tiling: Any) -> None:
    """loss[m] = log(sum over n of exp(logits[m, n])) - logits[m, labels[m]]; no such column: the maximum."""
    c = columns_of(core, shape, tiling, 1)
    s = open_source(core, c, logits, labels, -1, tiling.slots)
    d, ub_out, q_out = desk_of(core, c), alloc(core, UB, LINE), queue(core, V, MTE3, 1)
    for number in range(c.start, c.end):
        x, step = take(core, c, s, number + tiling.slots - 1), step_at(core, c, number)
        if step.number == 0:
            know_labels(core, d, x + c.piece * FRACTAL_BYTES, shape.n)
            know_nothing(core, d)
        leave_out(core, d, c, x, step, LOWEST)
        pick(core, d, c, x, step.fractals)
        know_piece(core, d, x, step)
        free(core, s.q)
        if step.number == c.pieces - 1:
            know_rows(core, d, TILES)
            store_losses(core, d, q_out, ub_out, loss, step.group, shape.m)
    close(core, q_out)
    close(core, s.q)


@emits
def know_sides(core: Any, d: Desk, sides: int, shape: Any, group: int) -> None:
    """Set the labels and the weights of 16 rows; rows of padding weigh nothing."""
    know_labels(core, d, sides, shape.n)
    vector_dup(core, d.weight, 1, 0.0, FP32, EDGE)
    vadds(core, d.weight, sides + 64, 1, 0.0, FP32, min(EDGE, shape.m - group * EDGE))
    repeat_column(core, d.weight)


@emits
def know_factors(core: Any, d: Desk, c: Columns) -> None:
    """Set what powers of each lane are multiplied by, what the label loses, and the maximum of the row.

    They take the places of the maxima, the sums and the picked. Powers of one piece are those below the
    maximum of the lane, those of several are computed anew.
    """
    know_rows(core, d, 2)
    flat_unary(core, REC, d.total, d.total, LANES, FP32)
    vmul(core, d.total, d.total, d.weight, 1, FP32, LANES)
    if c.pieces == 1:
        columns_binary(core, MUL, d.turned, d.total, EDGE)
    else:
        fill_tile(core, d.turned, d.total)
    fill_tile(core, d.turned + FRACTAL_BYTES, d.weight)
    fill_tile(core, d.turned + 2 * FRACTAL_BYTES, d.peak)
    transpose_32bit(core, d.tops, d.turned, 2, 32, TILES, d.scratch)


@emits
def gradient_piece(core: Any, d: Desk, c: Columns, made: int, x: int, step: Step) -> None:
    """Set made to the gradient of a piece from its powers; x is overwritten."""
    fractals = step.fractals
    match_labels(core, d, c, fractals)
    lanes_binary(core, MUL, made, x, d.tops, fractals)
    lanes_binary(core, SUB, x, made, d.totals, fractals)
    for line in range(4):
        to, other, bits = made + line * LINE, x + line * LINE, d.bits + line * c.bits
        vsel(core, to, other, to, fractals, bits, FP32, LANES, 1, 1, 1, 32, 32, 32)
    leave_out(core, d, c, made, step, 0.0)


@emits
def store_piece(core: Any, c: Columns, q: int, dlogits: int, ub: int, step: Step) -> None:
    """Write a piece of the gradient of 16 rows."""
    filled(core, q)
    use(core, q)
    to = dlogits + (step.first * (c.rows // 16) + step.group) * FRACTAL_BYTES
    move_planes(core, to, ub, step.fractals, 32, c.rows * 2, 32)
    free(core, q)


@kernel(LossShape, LossTiling, _grad_operands, _grad_reference)
def softmax_cross_entropy_grad(
    core: Any, logits: int, labels: int, dloss: int, dlogits: int, shape: Any, tiling: Any
) -> None:
    """dlogits[m, n] = (softmax(logits)[m, n] - (n == labels[m])) * dloss[m]; padding columns are zero."""
    c = columns_of(core, shape, tiling, 2)
    s = open_source(core, c, logits, labels, dloss, tiling.slots)
    ub_out, d, q_out = alloc(core, UB, c.piece * FRACTAL_BYTES), desk_of(core, c), queue(core, V, MTE3, 1)
    for number in range(c.start, c.end):
        x, step = take(core, c, s, number + tiling.slots - 1), step_at(core, c, number)
        if step.number == 0:
            know_sides(core, d, x + c.piece * FRACTAL_BYTES, shape, step.group)
            know_nothing(core, d)
        leave_out(core, d, c, x, step, LOWEST)
        if step.number < c.pieces:
            know_piece(core, d, x, step)
        else:
            lanes_binary(core, SUB, x, x, d.picked, step.fractals)
            flat_unary(core, EXP, x, x, step.fractals * 4 * LANES, FP32)
        if step.number == c.pieces - 1:
            know_factors(core, d, c)
        is_last = step.number >= c.pieces or c.pieces == 1
        if is_last:
            fill(core, q_out)
            gradient_piece(core, d, c, ub_out, x, step)
        free(core, s.q)
        if is_last:
            store_piece(core, c, q_out, dlogits, ub_out, step)
    close(core, q_out)
    close(core, s.q)
