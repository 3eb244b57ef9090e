"""What the gradient of attention needs of every query, computed once: scaled queries, and what is subtracted.

The sums over d of do * o, and the logarithms of the forward sums, leave as a number of fp16 and its rest: two
more columns of a matrix, which the cube subtracts in fp32.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FP16,
    FP32,
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
    flat_convert,
    flat_dup,
    flat_scale,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    use,
    vcadd,
    vconv,
    vmuls,
    vsub,
)
from kernels.lang.flat import ADD, MUL
from kernels.pieces.attention import BLOCK, EDGE, whole
from kernels.pieces.columns import load_columns, store_columns
from kernels.pieces.root import inverse_root
from kernels.pieces.transpose import transpose_16bit
from kernels.rules import round_up
from kernels.tiling.attention import AttentionShape, PrepareTiling

Array = npt.NDArray[Any]
PARTS = 2
"""Columns of what is subtracted: a number in fp16, and the rest."""


def _prepare_operands(shape: AttentionShape) -> tuple[Operand, ...]:
    batch = (shape.b, shape.heads)
    wide, parts = (*batch, shape.t, shape.d), (*batch, shape.rows, PARTS)
    sources = Operand("q", wide, FP16, "NZ"), Operand("o", wide, FP16, "NZ"), Operand("do", wide, FP16, "NZ")
    made = output("q_scaled", wide, FP16, "NZ"), output("shift", parts, FP16, "NZ")
    return *sources, Operand("lse", (*batch, shape.rows), FP32), *made, output("delta", parts, FP16, "NZ")


def in_parts(x: Array) -> Array:
    """Return -x[...] as a number of fp16 and the rest, [..., 2]."""
    number = (-x).astype(np.float16)
    return np.stack((number, (-x - number.astype(np.float32)).astype(np.float16)), axis=-1)


def ordered_sum(x: Array) -> Array:
    """Return the sum of x[..., d] in fp32 in the order of the vector unit: sixteens first, then neighbours.

    >>> ordered_sum(np.ones((2, 20), np.float32))
    array([20., 20.], dtype=float32)
    """
    padded = np.zeros((*x.shape[:-1], round_up(x.shape[-1], EDGE)), np.float32)
    padded[..., : x.shape[-1]] = x
    columns = padded.reshape(*x.shape[:-1], -1, EDGE)
    total = columns[..., 0, :]
    for column in range(1, columns.shape[-2]):
        total = total + columns[..., column, :]
    while total.shape[-1] > 1:
        total = total[..., ::2] + total[..., 1::2]
    return np.asarray(total[..., 0])


def _prepare_reference(
    shape: AttentionShape, q: Array, o: Array, do: Array, lse: Array
) -> tuple[Array, Array, Array]:
    scaled = (q.astype(np.float32) * np.float32(1 / np.sqrt(shape.d))).astype(np.float16)
    delta = np.zeros(lse.shape, np.float32)
    delta[..., : shape.t] = ordered_sum(o.astype(np.float32) * do.astype(np.float32))
    return scaled, in_parts(lse), in_parts(delta)


class Prepared(NamedTuple):
    """Buffers for `most` queries: what comes (q, o, do, lse), what is computed, what leaves."""

    taken: int
    wide: int
    sums: int
    rows: int
    made: int
    tile: int
    pitch: int
    most: int


@emits
def write_parts(core: Any, b: Any, dst: int, x: int, count: int) -> None:
    """Write -x[count] of fp32 as rows of sixteen: fp16, the rest, and zeros; x is used up."""
    flat_dup(core, b.rows, 0.0, b.most * EDGE, FP16)
    flat_scale(core, x, x, count, -1.0, 0.0, FP32)
    vconv(core, b.rows, x, FP16, 1, FP32, count, EDGE, 1)
    vconv(core, b.wide, b.rows, FP32, 1, FP16, count, 1, EDGE)
    vsub(core, x, x, b.wide, 1, FP32, count)
    vconv(core, b.rows + BLOCK, x, FP16, 1, FP32, count, EDGE, 1)
    transpose_16bit(core, dst, 1, EDGE, b.rows, 1, EDGE, count // EDGE)


@emits
def scale_halves(core: Any, dst: int, x: int, n: int, factor: float) -> None:
    """dst[n] = x[n] * factor in fp16; n is a multiple of 128."""
    for done in range(0, n, 255 * 128):
        vmuls(core, dst + done * 2, x + done * 2, min(255, (n - done) // 128), factor, FP16)


@emits
def sum_products(core: Any, b: Any, o: int, do: int, depth: int, count: int) -> None:
    """Write the sums over d of o * do of `count` queries to b.sums, in fp32."""
    n = count * EDGE
    for column in range(depth):
        left, right = b.wide, b.wide + b.most * 64
        flat_convert(core, left, FP32, o + column * n * 2, FP16, n)
        flat_convert(core, right, FP32, do + column * n * 2, FP16, n)
        if column == 0:
            flat_binary(core, MUL, b.wide + 2 * b.most * 64, left, right, n, FP32)
        else:
            flat_binary(core, MUL, left, left, right, n, FP32)
            flat_binary(core, ADD, b.wide + 2 * b.most * 64, b.wide + 2 * b.most * 64, left, n, FP32)
    vcadd(core, b.sums, b.wide + 2 * b.most * 64, count, FP32, EDGE, 1, 2, 1)


@kernel(AttentionShape, PrepareTiling, _prepare_operands, _prepare_reference)
def attention_grad_prepare(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, q: int, o: int, do: int, lse: int, q_scaled: int, shift: int, delta: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """q_scaled[b, heads, t, d] = q / sqrt(d); shift and delta[b, heads, t, 2] = -lse and -sum of o * do.

    Both are given as a number of fp16 and the rest of it, for t rounded up to sixteens.
    """
    rows, depth = whole(core, shape.t), whole(core, shape.d) // EDGE
    most = whole(core, tiling.rows)
    tile, slots = most * depth * BLOCK, tiling.slots
    pitch = 3 * tile + most * 4
    taken, wide = alloc(core, UB, slots * pitch, slots), alloc(core, UB, 3 * most * 64)
    sums, zeros = alloc(core, UB, most * 4), alloc(core, UB, most * BLOCK)
    made = alloc(core, UB, slots * (tile + 2 * most * BLOCK), slots)
    b = Prepared(taken, wide, sums, zeros, made, tile, pitch, most)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    groups = (rows + most - 1) // most
    units = shape.b * shape.heads * groups
    for unit in range(share_start(core, units, 1), share_end(core, units, 1)):
        head, row = unit // groups, unit % groups * most
        count, place = min(most, rows - row), (head * rows * depth + row) * BLOCK
        at = b.taken + fill(core, q_in) * pitch
        load_columns(core, at, q + place, depth, count, rows)
        load_columns(core, at + tile, o + place, depth, count, rows)
        load_columns(core, at + 2 * tile, do + place, depth, count, rows)
        data_move(core, at + 3 * tile, lse + (head * rows + row) * 4, 1, count // 8)
        filled(core, q_in)
        use(core, q_in)
        to = b.made + fill(core, q_out) * (tile + 2 * most * BLOCK)
        scale_halves(core, to, at, count * depth * EDGE, inverse_root(core, shape.d))
        write_parts(core, b, to + tile, at + 3 * tile, count)
        sum_products(core, b, at + tile, at + 2 * tile, depth, count)
        write_parts(core, b, to + tile + most * BLOCK, b.sums, count)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        store_columns(core, q_scaled + place, to, depth, count, rows)
        data_move(core, shift + (head * rows + row) * BLOCK, to + tile, 1, count)
        data_move(core, delta + (head * rows + row) * BLOCK, to + tile + most * BLOCK, 1, count)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
