"""Softmax and its logarithm along the rows of a matrix, and their gradients.

All in fp32. A tile of rows is brought once: maximum, exponentials, sum, quotient. Rows that do not fit UB go
through it twice, piece by piece; the first time each of 64 lanes keeps a maximum and a sum of its own, and
rescales its sum when the maximum grows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    ADD,
    FP16,
    FP32,
    MAX,
    MUL,
    SUB,
    UB,
    Operand,
    alloc,
    data_move,
    emits,
    flat_binary,
    flat_convert,
    flat_unary,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
    vcadd,
    vector_dup,
)
from kernels.lang.flat import EXP, LN, REC
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
    each_lane,
    each_row,
    fold_along,
    is_short,
    maximum_blocks,
    number_blocks,
    row_sums,
    wide_arrays,
    widened,
)
from kernels.pieces.stream import Stream, bring, close_stream, open_stream, release, room, send
from kernels.tiling.rowwise import RowShape, RowTiling

Array = npt.NDArray[Any]
SOFTMAX, LOG_SOFTMAX, SOFTMAX_GRAD, LOG_SOFTMAX_GRAD = range(4)


@dataclass(frozen=True)
class LogSoftmaxShape(RowShape):
    """x[m, n] of type `dtype`; the exponentials need an array beside the result."""

    WIDE: ClassVar[int] = 2


@dataclass(frozen=True)
class SoftmaxGradShape(RowShape):
    """dy[m, n] and y[m, n] of type `dtype`."""

    SOURCES: ClassVar[int] = 2
    PIECES: ClassVar[int] = 2
    WIDE: ClassVar[int] = 3


@emits
def finish(core: Any, op: int, s: RowStream, d: Desk, other: int, x: int, t: Tile) -> None:
    """Turn x - its maximum into the result, in the output buffer."""
    n = t.rows * t.pitch // 4
    made = room_for_rows(core, s)
    is_wide = t.pitch == s.pitch
    powers = x
    if op == LOG_SOFTMAX:
        powers = made if is_wide else other
    flat_unary(core, EXP, powers, x, n, FP32)
    row_sums(core, d, powers, t)
    flat_unary(core, LN if op == LOG_SOFTMAX else REC, d.numbers, d.numbers, t.rows, FP32)
    number_blocks(core, d.blocks, d, t.rows)
    result = made if is_wide else x
    each_row(core, SUB if op == LOG_SOFTMAX else MUL, result, x, d.blocks, 1, t)
    if not is_wide:
        flat_convert(core, made, FP16, x, FP32, n)


@emits
def short_rows(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Compute softmax or its logarithm for this block's share of the rows, a tile of them at once."""
    size, n, dtype = size_of(core, shape.dtype), shape.n, shape.dtype
    s = open_rows(core, 1, tiling.rows, n * size, tiling.slots)
    pitch = s.pitch * 4 // size
    w, d = wide_arrays(core, s.rows * pitch, 1 + op, dtype), desk(core, s.rows)
    unit = row_unit(core, shape.m, n * size, 1)
    end = share_end(core, shape.m, unit)
    for row in range(share_start(core, shape.m, unit), end, s.rows):
        count = min(s.rows, end - row)
        t = Tile(count, n, pitch)
        taken = bring_rows(core, s, x, x, row, count)
        step = maximum_blocks(core, d, taken, Tile(count, n, s.pitch), dtype)
        if dtype == FP16:
            flat_convert(core, w.x, FP32, taken, FP16, count * pitch // 4)
            release_rows(core, s)
            each_row(core, SUB, w.x, w.x, d.blocks, step, t)
            finish(core, op, s, d, w.other, w.x, t)
        else:
            each_row(core, SUB, taken, taken, d.blocks, step, t)
            finish(core, op, s, d, taken, taken, t)
            release_rows(core, s)
        send_rows(core, s, y, row, count)
    close_rows(core, s)


class Lanes(NamedTuple):
    """What 64 lanes know of a row: maximum and sum so far, the maximum before; then blocks of the row."""

    top: int
    total: int
    before: int
    peak: int
    scale: int


@emits
def add_piece(core: Any, k: Lanes, x: int, n: int) -> None:
    """Let the lanes know n more numbers of the row; x is overwritten."""
    data_move(core, k.before, k.top, 1, 8)
    fold_along(core, MAX, k.top, x, n, FP32)
    flat_binary(core, SUB, k.before, k.before, k.top, LANES, FP32)
    flat_unary(core, EXP, k.before, k.before, LANES, FP32)
    flat_binary(core, MUL, k.total, k.total, k.before, LANES, FP32)
    each_lane(core, SUB, x, x, k.top, n)
    flat_unary(core, EXP, x, x, n, FP32)
    fold_along(core, ADD, k.total, x, n, FP32)


@emits
def know_row(core: Any, op: int, d: Desk, k: Lanes) -> None:
    """Set the blocks of the row: its maximum, and 1 / its sum or the logarithm of the sum."""
    maximum_blocks(core, d, k.top, Tile(1, LANES, LINE), FP32)
    data_move(core, k.peak, d.blocks, 1, 1)
    block_binary(core, SUB, k.top, k.top, k.peak, LANES, FP32)
    flat_unary(core, EXP, k.top, k.top, LANES, FP32)
    flat_binary(core, MUL, k.total, k.total, k.top, LANES, FP32)
    vcadd(core, d.numbers, k.total, 1, FP32, LANES)
    flat_unary(core, LN if op == LOG_SOFTMAX else REC, d.numbers, d.numbers, 1, FP32)
    number_blocks(core, k.scale, d, 1)


@emits
def lanes_of_row(core: Any) -> Lanes:
    """Allocate what 64 lanes know."""
    known = alloc(core, UB, 3 * LINE)
    blocks = alloc(core, UB, 2 * 16 * 32)
    return Lanes(known, known + LINE, known + 2 * LINE, blocks, blocks + 512)


@emits
def write_piece(core: Any, op: int, s: Stream, w: Wide, k: Lanes, taken: int, n: int, dtype: int) -> int:
    """Compute a piece of the result from its numbers and what is known of the row; return where it is."""
    x = widened(core, w, taken, n, dtype)
    made = room(core, s)
    result = made if dtype == FP32 else x
    block_binary(core, SUB, x, x, k.peak, n, FP32)
    if op == SOFTMAX:
        flat_unary(core, EXP, x, x, n, FP32)
        block_binary(core, MUL, result, x, k.scale, n, FP32)
    else:
        block_binary(core, SUB, result, x, k.scale, n, FP32)
    if dtype == FP16:
        flat_convert(core, made, FP16, x, FP32, n)
    return made


@emits
def long_rows(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Compute softmax or its logarithm of rows that go through UB in pieces; the last two overlap."""
    n, dtype, size = shape.n, shape.dtype, size_of(core, shape.dtype)
    s = open_stream(core, 1, tiling.columns, size, tiling.slots)
    w, d = wide_arrays(core, s.tile * 4, 1, dtype), desk(core, 1)
    k = lanes_of_row(core)
    for row in range(share_start(core, shape.m, 1), share_end(core, shape.m, 1)):
        vector_dup(core, k.top, 1, LOWEST, FP32, LANES)
        vector_dup(core, k.total, 1, 0.0, FP32, LANES)
        for column in range(0, n, s.tile):
            count = min(s.tile, n - column)
            taken = bring(core, s, x, x, x, row * n + column, count)
            add_piece(core, k, widened(core, w, taken, count, dtype), count)
            release(core, s)
        know_row(core, op, d, k)
        for column in range(0, n, s.tile):
            at = row * n + min(column, n - s.tile)
            taken = bring(core, s, x, x, x, at, s.tile)
            made = write_piece(core, op, s, w, k, taken, s.tile, dtype)
            release(core, s)
            send(core, s, y, made, at, s.tile)
    close_stream(core, s)


@emits
def forward(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Compute softmax or its logarithm."""
    if is_short(core, shape, tiling) != 0:
        short_rows(core, op, x, y, shape, tiling)
    else:
        long_rows(core, op, x, y, shape, tiling)


@emits
def add_gradient(core: Any, op: int, product: int, dy: int, y: int, n: int) -> int:
    """Return where the numbers lie whose sum the gradient of a row needs: dy * y, or dy itself."""
    if op == LOG_SOFTMAX_GRAD:
        return dy
    flat_binary(core, MUL, product, dy, y, n, FP32)
    return product


@emits
def short_gradient(core: Any, op: int, s: RowStream, d: Desk, product: int, dy: int, y: int, t: Tile) -> None:
    """Compute a tile of dx = (dy - sum of dy * y) * y, or dy - e ** y * sum of dy, to the output buffer."""
    n, made = t.rows * t.pitch // 4, room_for_rows(core, s)
    is_wide = t.pitch == s.pitch
    product = made if is_wide else product
    row_sums(core, d, add_gradient(core, op, product, dy, y, n), t)
    number_blocks(core, d.blocks, d, t.rows)
    if op == SOFTMAX_GRAD:
        each_row(core, SUB, dy, dy, d.blocks, 1, t)
        flat_binary(core, MUL, product, dy, y, n, FP32)
    else:
        flat_unary(core, EXP, y, y, n, FP32)
        each_row(core, MUL, y, y, d.blocks, 1, t)
        flat_binary(core, SUB, product, dy, y, n, FP32)
    if not is_wide:
        flat_convert(core, made, FP16, product, FP32, n)


@emits
def short_gradients(core: Any, op: int, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """Compute the gradient for this block's share of the rows, a tile of them at once."""
    size, n = size_of(core, shape.dtype), shape.n
    s = open_rows(core, 2, tiling.rows, n * size, tiling.slots)
    pitch, area = s.pitch * 4 // size, s.area
    w, d = wide_arrays(core, s.rows * pitch, 3, shape.dtype), desk(core, s.rows)
    unit = row_unit(core, shape.m, n * size, 1)
    end = share_end(core, shape.m, unit)
    for row in range(share_start(core, shape.m, unit), end, s.rows):
        count = min(s.rows, end - row)
        t = Tile(count, n, pitch)
        taken = bring_rows(core, s, dy, y, row, count)
        if shape.dtype == FP16:
            flat_convert(core, w.x, FP32, taken, FP16, count * pitch // 4)
            flat_convert(core, w.other, FP32, taken + area, FP16, count * pitch // 4)
            release_rows(core, s)
            short_gradient(core, op, s, d, w.product, w.x, w.other, t)
        else:
            short_gradient(core, op, s, d, taken, taken, taken + area, t)
            release_rows(core, s)
        send_rows(core, s, dx, row, count)
    close_rows(core, s)


@emits
def long_gradients(core: Any, op: int, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """Compute the gradient of rows that go through UB in pieces, twice; the last two pieces overlap."""
    n, dtype, size = shape.n, shape.dtype, size_of(core, shape.dtype)
    s = open_stream(core, 2, tiling.columns, size, tiling.slots)
    w, d = wide_arrays(core, s.tile * 4, 2, dtype), desk(core, 1)
    k = lanes_of_row(core)
    for row in range(share_start(core, shape.m, 1), share_end(core, shape.m, 1)):
        vector_dup(core, k.total, 1, 0.0, FP32, LANES)
        for column in range(0, n, s.tile):
            count = min(s.tile, n - column)
            taken = bring(core, s, dy, y, y, row * n + column, count)
            a, b = widened_pair(core, w, taken, s.pitch, count, dtype)
            fold_along(core, ADD, k.total, add_gradient(core, op, a, a, b, count), count, FP32)
            release(core, s)
        vcadd(core, d.numbers, k.total, 1, FP32, LANES)
        number_blocks(core, k.scale, d, 1)
        for column in range(0, n, s.tile):
            at = row * n + min(column, n - s.tile)
            taken = bring(core, s, dy, y, y, at, s.tile)
            a, b = widened_pair(core, w, taken, s.pitch, s.tile, dtype)
            made = room(core, s)
            gradient_piece(core, op, made if dtype == FP32 else a, a, b, k.scale, s.tile)
            if dtype == FP16:
                flat_convert(core, made, FP16, a, FP32, s.tile)
            release(core, s)
            send(core, s, dx, made, at, s.tile)
    close_stream(core, s)


@emits
def widened_pair(core: Any, w: Wide, taken: int, pitch: int, n: int, dtype: int) -> tuple[int, int]:
    """Return where the pieces of dy and y lie in fp32."""
    if dtype == FP32:
        return taken, taken + pitch
    flat_convert(core, w.x, FP32, taken, FP16, n)
    flat_convert(core, w.other, FP32, taken + pitch, FP16, n)
    return w.x, w.other


@emits
def gradient_piece(core: Any, op: int, dst: int, dy: int, y: int, total: int, n: int) -> None:
    """dst[n] = (dy - total) * y, or dy - e ** y * total; dy and y are overwritten."""
    if op == SOFTMAX_GRAD:
        block_binary(core, SUB, dy, dy, total, n, FP32)
        flat_binary(core, MUL, dst, dy, y, n, FP32)
    else:
        flat_unary(core, EXP, y, y, n, FP32)
        block_binary(core, MUL, y, y, total, n, FP32)
        flat_binary(core, SUB, dst, dy, y, n, FP32)


@emits
def backward(core: Any, op: int, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """Compute the gradient of softmax or of its logarithm."""
    if is_short(core, shape, tiling) != 0:
        short_gradients(core, op, dy, y, dx, shape, tiling)
    else:
        long_gradients(core, op, dy, y, dx, shape, tiling)


def _operands(shape: RowShape) -> tuple[Operand, ...]:
    x = (shape.m, shape.n)
    return Operand("x", x, shape.dtype), output("y", x, shape.dtype)


def _gradient_operands(shape: RowShape) -> tuple[Operand, ...]:
    x = (shape.m, shape.n)
    y = Operand("y", x, shape.dtype, between=(-3.0, 1.0))
    return Operand("dy", x, shape.dtype), y, output("dx", x, shape.dtype)


def _wide(function: Callable[..., Array]) -> Callable[..., tuple[Array]]:
    """Return a reference that computes in float64."""

    def reference(shape: RowShape, *inputs: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            wide = (x.astype(np.float64) for x in inputs)
            return (function(*wide).astype(inputs[0].dtype),)

    return reference


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@kernel(RowShape, RowTiling, _operands, _wide(lambda x: np.exp(_log_softmax(x))))
def softmax(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, n] = e ** x[m, n] / its sum over n."""
    forward(core, SOFTMAX, x, y, shape, tiling)


@kernel(LogSoftmaxShape, RowTiling, _operands, _wide(_log_softmax))
def log_softmax(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, n] = x[m, n] - ln(sum of e ** x[m, n] over n)."""
    forward(core, LOG_SOFTMAX, x, y, shape, tiling)


@kernel(SoftmaxGradShape, RowTiling, _gradient_operands,
        _wide(lambda dy, y: (dy - (dy * y).sum(axis=1, keepdims=True)) * y))  # fmt: skip
def softmax_grad(core: Any, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[m, n] = (dy[m, n] - sum of dy * y over n) * y[m, n] where y = softmax(x)."""
    backward(core, SOFTMAX_GRAD, dy, y, dx, shape, tiling)


@kernel(SoftmaxGradShape, RowTiling, _gradient_operands,
        _wide(lambda dy, y: dy - np.exp(y) * dy.sum(axis=1, keepdims=True)))  # fmt: skip
def log_softmax_grad(core: Any, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[m, n] = dy[m, n] - e ** y[m, n] * sum of dy over n where y = log_softmax(x)."""
    backward(core, LOG_SOFTMAX_GRAD, dy, y, dx, shape, tiling)
