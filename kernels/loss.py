"""Softmax cross-entropy with integer labels, and its gradient.

Sixteen rows at a time are transposed, so that rows lie in lanes and a column of 16 fp32 numbers is two
blocks; four columns fill a repeat. Maximum and sum over the columns are then lane-wise folds. Labels are
compared with the numbers of 64 columns at a time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP32,
    INT32,
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
    flat_dup,
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
    vconv,
    vector_dup,
    vmul,
    vsel,
    vsub,
)
from kernels.lang.buffers import UB_GAP
from kernels.lang.flat import ADD, EXP, LN, MAX, MAX_REPEAT, MUL, REC, SUB
from kernels.pieces.fold import LOWEST, fold
from kernels.pieces.transpose import transpose_32bit
from kernels.rules import require

Array = npt.NDArray[Any]
EDGE, LANES, LINE, BLOCK = 16, 64, 256, 32
COLUMN_BYTES, FRACTAL_BYTES = 64, 1024
MAX_GAP = 65535
MAX_COLUMNS = 1024
"""In UB lie two to four copies of 16 rows at once, 64 bytes a column, beside the scratch."""
AT_ONCE = 8
"""Fractals that are transposed together."""
WORK_BYTES = AT_ONCE * 2048 + 3 * 4096 + 8 * UB_GAP
"""More than what lies in UB beside the copies of 16 rows."""


@dataclass(frozen=True)
class LossShape(Shape):
    """logits[m, n]; n is the number of classes."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 3, "n": 10},
        {"m": 40, "n": 1000},
        {"m": 33, "n": 129},
    )
    m: int
    n: int

    def check(self, kernel: str) -> None:
        """Refuse more columns than sixteen rows of them fit the unified buffer."""
        require(
            kernel, self.n <= MAX_COLUMNS, f"n is at most {MAX_COLUMNS}: 16 rows must fit UB", f"n={self.n}"
        )


@dataclass(frozen=True)
class LossTiling(Tiling):
    """Buffers between the load of 16 rows and the work on them."""

    slots: int

    @classmethod
    def default(cls, shape: LossShape, platform: Platform) -> Self:
        """Return double buffering where four copies of 16 rows fit."""
        fractals = -(-shape.n // EDGE)
        return cls(2 if 4 * fractals * FRACTAL_BYTES + WORK_BYTES <= int(platform.ub_bytes) else 1)

    @classmethod
    def space(cls, shape: LossShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling and single buffering."""
        first = cls.default(shape, platform)
        yield first
        if first.slots > 1:
            yield cls(1)

    def blocks(self, shape: LossShape, platform: Platform) -> int:
        """Return one core per 16 rows, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.m // EDGE))


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
def move_group(core: Any, dst: int, src: int, fractals: int, src_gap: int, dst_gap: int) -> None:
    """Move `fractals` fractals of 16 x 16 fp32; gaps between them are in blocks."""
    if src_gap <= MAX_GAP and dst_gap <= MAX_GAP:
        data_move(core, dst, src, fractals, 32, src_gap, dst_gap)
        return
    for fractal in range(fractals):
        to, start = fractal * (32 + dst_gap) * BLOCK, fractal * (32 + src_gap) * BLOCK
        data_move(core, dst + to, src + start, 1, 32)


@emits
def transpose_group(core: Any, dst: int, src: int, fractals: int, scratch: int) -> None:
    """Transpose every fractal of 16 x 16 fp32."""
    for done in range(0, fractals, AT_ONCE):
        at = done * FRACTAL_BYTES
        transpose_32bit(core, dst + at, src + at, 2, 32, min(AT_ONCE, fractals - done), scratch)


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


@emits
def number_columns(core: Any, numbers: int) -> None:
    """numbers[64, 16] = the number of the column, by doubling."""
    vector_dup(core, numbers, 1, 0.0, FP32, EDGE)
    done = 1
    while done < LANES:
        flat_scale(core, numbers + done * COLUMN_BYTES, numbers, done * EDGE, 1.0, 1.0 * done, FP32)
        done *= 2


@emits
def below_maximum(core: Any, x: int, kept: int, n: int) -> None:
    """x[n, 16] = x - its maximum over n, which `kept` holds."""
    fold_columns(core, MAX, kept, x, n)
    columns_binary(core, SUB, x, kept, n)


@emits
def match_labels(core: Any, bits: int, numbers: int, labels: int, first: int, n: int) -> int:
    """Set bits[columns, 16] where the label of the row is the column; return the repeats of this piece.

    `labels` holds label - first; after the call it is lowered for the next piece.
    """
    repeat = (min(LANES, n - first) + 3) // 4
    vcmpv_eq(core, bits, numbers, labels, repeat, FP32, 1, 1, 8, 0)
    vadds(core, labels, labels, 1, -64.0, FP32, LANES)
    return repeat


@emits
def float_labels(core: Any, dst: int, labels: int) -> None:
    """dst[4, 16] fp32 = four times labels[16] int32."""
    vconv(core, dst, labels, FP32, 1, INT32, EDGE)
    repeat_column(core, dst)


@emits
def chosen(core: Any, dst: int, x: int, numbers: int, labels: int, n: int, picked: int, bits: int) -> None:
    """dst[4, 16] = x[label, 16] of every row, 0 where the label is no column."""
    zero = picked + LANES * COLUMN_BYTES
    vector_dup(core, zero, 1, 0.0, FP32, LANES)
    vector_dup(core, dst, 1, 0.0, FP32, LANES)
    for first in range(0, n, LANES):
        repeat = match_labels(core, bits, numbers, labels, first, n)
        vsel(core, picked, x + first * COLUMN_BYTES, zero, repeat, bits, FP32, LANES, 1, 1, 1, 8, 8, 0)
        width = min(LANES, n - first)
        fold(core, ADD, dst, picked, width // 4, LANES, 0, 8)
        if width % 4 > 0:
            fold(core, ADD, dst, picked + width // 4 * LINE, 1, width % 4 * EDGE, 0, 8)
    fold(core, ADD, dst, dst + 128, 1, 32, 8, 8)
    fold(core, ADD, dst, dst + 64, 1, 16, 8, 8)


@emits
def subtract_hot(core: Any, x: int, numbers: int, labels: int, n: int, lowered: int, bits: int) -> None:
    """x[n, 16] -= 1 in the column that is the row's label."""
    for first in range(0, n, LANES):
        repeat = match_labels(core, bits, numbers, labels, first, n)
        at = x + first * COLUMN_BYTES
        vadds(core, lowered, at, repeat, -1.0, FP32, LANES)
        vsel(core, at, lowered, at, repeat, bits, FP32)


@kernel(LossShape, LossTiling, _loss_operands, _loss_reference)
def softmax_cross_entropy(core: Any, logits: int, labels: int, loss: int, shape: Any, tiling: Any) -> None:
    """loss[m] = log(sum over n of exp(logits[m, n])) - logits[m, labels[m]]; no such column: the maximum."""
    fractals, rows = (shape.n + 15) // 16, (shape.m + 15) // 16 * 16
    pitch = fractals * FRACTAL_BYTES
    ub_in, x = alloc(core, UB, tiling.slots * (pitch + 64), tiling.slots), alloc(core, UB, pitch)
    numbers, picked, bits = alloc(core, UB, 4096), alloc(core, UB, 4096 + LINE), alloc(core, UB, 128)
    scratch, columns = alloc(core, UB, AT_ONCE * 2048), alloc(core, UB, 4 * LINE)
    kept, total, label, ub_out = columns, columns + LINE, columns + 2 * LINE, columns + 3 * LINE
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    number_columns(core, numbers)
    for group in range(share_start(core, rows // 16, 1), share_end(core, rows // 16, 1)):
        taken = ub_in + fill(core, q_in) * (pitch + 64)
        move_group(core, taken, logits + group * FRACTAL_BYTES, fractals, (rows - 16) * 2, 0)
        data_move(core, taken + pitch, labels + group * 64, 1, 2)
        filled(core, q_in)
        use(core, q_in)
        transpose_group(core, x, taken, fractals, scratch)
        float_labels(core, label, taken + pitch)
        free(core, q_in)
        below_maximum(core, x, kept, shape.n)
        chosen(core, total, x, numbers, label, shape.n, picked, bits)
        flat_unary(core, EXP, x, x, shape.n * EDGE, FP32)
        fold_columns(core, ADD, kept, x, shape.n)
        flat_unary(core, LN, kept, kept, EDGE, FP32)
        fill(core, q_out)
        count = min(EDGE, shape.m - group * EDGE)
        vector_dup(core, ub_out, 1, 0.0, FP32, EDGE)
        vsub(core, ub_out, kept, total, 1, FP32, count)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, loss + group * 64, ub_out, 1, (count + 7) // 8)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def load_weighted(
    core: Any, taken: int, logits: int, labels: int, dloss: int, group: int, fractals: int, rows: int
) -> None:  # fmt: skip
    """Bring 16 rows of logits, their labels and their weights to UB, one behind the other."""
    pitch = fractals * FRACTAL_BYTES
    move_group(core, taken, logits + group * FRACTAL_BYTES, fractals, (rows - 16) * 2, 0)
    data_move(core, taken + pitch, labels + group * 64, 1, 2)
    data_move(core, taken + pitch + 64, dloss + group * 64, 1, 2)


@emits
def probabilities(core: Any, x: int, kept: int, n: int) -> None:
    """x[n, 16] = softmax of x over n, in place."""
    below_maximum(core, x, kept, n)
    flat_unary(core, EXP, x, x, n * EDGE, FP32)
    fold_columns(core, ADD, kept, x, n)
    flat_unary(core, REC, kept, kept, LANES, FP32)
    columns_binary(core, MUL, x, kept, n)


@kernel(LossShape, LossTiling, _grad_operands, _grad_reference)
def softmax_cross_entropy_grad(
    core: Any, logits: int, labels: int, dloss: int, dlogits: int, shape: Any, tiling: Any
) -> None:
    """dlogits[m, n] = (softmax(logits)[m, n] - (n == labels[m])) * dloss[m]; padding columns are zero."""
    fractals, rows = (shape.n + 15) // 16, (shape.m + 15) // 16 * 16
    pitch, taken_bytes = fractals * FRACTAL_BYTES, fractals * FRACTAL_BYTES + 128
    ub_in, x, ub_out = (
        alloc(core, UB, tiling.slots * taken_bytes, tiling.slots),
        alloc(core, UB, pitch),
        alloc(core, UB, pitch),
    )
    numbers, lowered, bits = alloc(core, UB, 4096), alloc(core, UB, 4096), alloc(core, UB, 128)
    scratch, columns = alloc(core, UB, AT_ONCE * 2048), alloc(core, UB, 3 * LINE)
    kept, label, weight = columns, columns + LINE, columns + 2 * LINE
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    number_columns(core, numbers)
    for group in range(share_start(core, rows // 16, 1), share_end(core, rows // 16, 1)):
        taken = ub_in + fill(core, q_in) * taken_bytes
        load_weighted(core, taken, logits, labels, dloss, group, fractals, rows)
        filled(core, q_in)
        use(core, q_in)
        transpose_group(core, x, taken, fractals, scratch)
        float_labels(core, label, taken + pitch)
        vector_dup(core, weight, 1, 0.0, FP32, EDGE)  # rows of padding weigh nothing
        vadds(core, weight, taken + pitch + 64, 1, 0.0, FP32, min(EDGE, shape.m - group * EDGE))
        repeat_column(core, weight)
        free(core, q_in)
        probabilities(core, x, kept, shape.n)
        subtract_hot(core, x, numbers, label, shape.n, lowered, bits)
        columns_binary(core, MUL, x, weight, shape.n)
        flat_dup(core, x + shape.n * COLUMN_BYTES, 0.0, (fractals * 16 - shape.n) * EDGE, FP32)
        fill(core, q_out)
        transpose_group(core, ub_out, x, fractals, scratch)
        filled(core, q_out)
        use(core, q_out)
        move_group(core, dlogits + group * FRACTAL_BYTES, ub_out, fractals, 0, (rows - 16) * 2)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
