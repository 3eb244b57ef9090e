"""Gradients of batch normalisation in training, in two launches: to gamma and beta, then to the input.

The first launch sums up each part of each channel, the second adds the parts, always in the same order.
"""

from typing import Any, NamedTuple

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
    flat_dup,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vmul,
    vmuls,
    vsub,
)
from kernels.pieces.channels import (
    C0,
    LANES,
    LINE,
    Maps,
    fold_positions,
    in_fp32,
    lines_binary,
    load_channels,
    load_parts,
    maps_of,
    move_segment,
    part_start,
    repeat_channels,
    segment_at,
    store_channels,
    sum_parts,
)
from kernels.pieces.fold import fold_lanes
from kernels.tiling.batch_norm import (
    BatchNormShape,
    BatchNormTiling,
    channels,
    feature_map,
    partial,
    parts_of,
)

Array = npt.NDArray[Any]
BLOCK, PART_BYTES = 32, 64


class Buffers(NamedTuple):
    """Tiles of dy (with x behind it) and in fp32 (two); lines of constants, and those that are loaded."""

    taken: int
    wide: int
    loaded: int
    made: int


@emits
def mean_line(core: Any, line: int, loaded: int, n: int) -> None:
    """Spread n loaded numbers over a line; the other channels are zero."""
    flat_dup(core, line, 0.0, LANES, FP32)
    vmuls(core, line, loaded, 1, 1.0, FP32, n)
    repeat_channels(core, line)


@emits
def fetch_pair(core: Any, dy: int, x: int, maps: Maps, group: int, at: int, end: int, here: int) -> int:
    """Bring the next tile of dy, and that of x behind it, to UB; return its positions."""
    seg = segment_at(core, maps, at, end)
    move_segment(core, maps, group, seg, dy, here, 0)
    move_segment(core, maps, group, seg, x, here + maps.tile * C0 * size_of(core, maps.dtype), 0)
    return int(seg.positions)


@emits
def sum_gradients(core: Any, total: int, here: int, b: Buffers, maps: Maps, positions: int) -> None:
    """Add dy * (x - mean) and dy to two lines."""
    pitch, other = maps.tile * C0 * size_of(core, maps.dtype), b.wide + maps.tile * C0 * 4
    apart = in_fp32(core, here + pitch, b.wide, maps, positions)
    lines_binary(core, SUB, b.wide, apart, b.made, positions)
    dy = in_fp32(core, here, other, maps, positions)
    flat_binary(core, MUL, b.wide, b.wide, dy, positions * C0, FP32)
    fold_positions(core, ADD, total, b.wide, positions)
    fold_positions(core, ADD, total + LINE, dy, positions)


def _sums_operands(shape: BatchNormShape) -> tuple[Operand, ...]:
    given = channels("batch_mean", shape), channels("inverse", shape, (0.5, 2.0))
    return (
        feature_map("dy", shape), feature_map("x", shape), *given, partial("dgamma", shape),
        partial("dbeta", shape),
    )  # fmt: skip


def _sums_reference(
    shape: BatchNormShape, dy: Array, x: Array, batch_mean: Array, inverse: Array
) -> tuple[Array, ...]:
    behind = (0, shape.groups * C0 - shape.c)
    mean, factor = np.pad(batch_mean, behind).astype(np.float64), np.pad(inverse, behind).astype(np.float64)
    pairs = list(zip(parts_of(shape, dy), parts_of(shape, x), strict=True))
    dgamma = [(given * (part - mean) * factor).sum(axis=0) for given, part in pairs]
    return np.array(dgamma, np.float32), np.array([given.sum(axis=0) for given, _ in pairs], np.float32)


@kernel(BatchNormShape, BatchNormTiling, _sums_operands, _sums_reference)
def batch_norm_update_grad(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, dy: int, x: int, batch_mean: int, inverse: int, dgamma: int, dbeta: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """dgamma, dbeta[parts, c] = sums of dy * (x - batch_mean) * inverse and of dy over n, h, w; fp32."""
    maps, slots = maps_of(core, shape, tiling), tiling.slots
    pitch = maps.tile * C0 * size_of(core, shape.dtype)
    b = Buffers(
        alloc(core, UB, slots * 2 * pitch, 2 * slots), alloc(core, UB, 2 * maps.tile * C0 * 4),
        alloc(core, UB, 2 * LINE), alloc(core, UB, 2 * LINE),
    )  # fmt: skip
    kept = alloc(core, UB, 2 * 2 * LINE, 2)
    q_constants, q_in = queue(core, MTE2, V, 1), queue(core, MTE2, V, slots)
    q_out, items = queue(core, V, MTE3, 2), maps.groups * maps.parts
    for item in range(share_start(core, items, 1), share_end(core, items, 1)):
        group, part = item // maps.parts, item % maps.parts
        fill(core, q_constants)
        load_channels(core, b.loaded, batch_mean, group)
        load_channels(core, b.loaded + LINE, inverse, group)
        filled(core, q_constants)
        use(core, q_constants)
        mean_line(core, b.made, b.loaded, min(C0, shape.c - group * C0))
        mean_line(core, b.made + LINE, b.loaded + LINE, min(C0, shape.c - group * C0))
        free(core, q_constants)
        total = kept + fill(core, q_out) * 2 * LINE
        flat_dup(core, total, 0.0, 2 * LANES, FP32)
        at, end = part_start(core, maps, part), part_start(core, maps, part + 1)
        while at < end:
            here = b.taken + fill(core, q_in) * 2 * pitch
            positions = fetch_pair(core, dy, x, maps, group, at, end, here)
            filled(core, q_in)
            use(core, q_in)
            sum_gradients(core, total, here, b, maps, positions)
            free(core, q_in)
            at += positions
        fold_lanes(core, ADD, total, 2, C0)
        vmul(core, total, total, b.made + LINE, 1, FP32, C0)
        filled(core, q_out)
        use(core, q_out)
        store_channels(core, dgamma, maps, group, part, total)
        store_channels(core, dbeta, maps, group, part, total + LINE)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
    close(core, q_constants)


def _input_operands(shape: BatchNormShape) -> tuple[Operand, ...]:
    parts = (shape.parts, shape.groups * C0)
    given = channels("gamma", shape), channels("batch_mean", shape), channels("inverse", shape, (0.5, 2.0))
    sums = Operand("dgamma_parts", parts, FP32), Operand("dbeta_parts", parts, FP32)
    dx = output("dx", (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0")
    totals = output("dgamma", (shape.c,), FP32), output("dbeta", (shape.c,), FP32)
    return feature_map("dy", shape), feature_map("x", shape), *given, *sums, dx, *totals


def _input_reference(shape: BatchNormShape, dy: Array, x: Array, *given: Array) -> tuple[Array, ...]:
    gamma, mean, inverse, dgamma_parts, dbeta_parts = (each.astype(np.float64) for each in given)
    dgamma, dbeta = (sums.sum(axis=0)[: shape.c] for sums in (dgamma_parts, dbeta_parts))
    scale, apart = (gamma * inverse)[:, None, None], x.astype(np.float64) - mean[:, None, None]
    slope = (dgamma * inverse / shape.positions)[:, None, None]
    dx = scale * (dy.astype(np.float64) - (dbeta / shape.positions)[:, None, None] - apart * slope)
    return dx.astype(dy.dtype), dgamma.astype(np.float32), dbeta.astype(np.float32)


class Sources(NamedTuple):
    """Handles of the numbers per channel that the gradient of the input needs."""

    gamma: int
    mean: int
    inverse: int
    dgamma: int
    dbeta: int


@emits
def gradient_constants(
    core: Any, t: Sources, b: Buffers, maps: Maps, group: int, n: int, totals: int, q: int
) -> None:
    """Make the lines mean, scale, slope and offset: dx = dy * scale - ((x - mean) * slope + offset).

    Of fp16, whose results have few digits, the mean is taken to the offset: x * slope + offset.
    """
    inverse, parts = b.loaded + 2 * LINE, b.loaded + 3 * LINE
    fill(core, q)
    load_channels(core, b.loaded, t.gamma, group)
    load_channels(core, b.loaded + LINE, t.mean, group)
    load_channels(core, inverse, t.inverse, group)
    load_parts(core, parts, t.dgamma, maps, group)
    load_parts(core, parts + maps.parts * PART_BYTES, t.dbeta, maps, group)
    filled(core, q)
    use(core, q)
    flat_dup(core, b.made, 0.0, 4 * LANES, FP32)
    scale, slope, offset = b.made + LINE, b.made + 2 * LINE, b.made + 3 * LINE
    factor = 1.0 / (maps.n * maps.size)
    sum_parts(core, totals, parts, maps.parts)
    sum_parts(core, totals + LINE, parts + maps.parts * PART_BYTES, maps.parts)
    vmuls(core, b.made, b.loaded + LINE, 1, 1.0, FP32, n)
    vmul(core, scale, b.loaded, inverse, 1, FP32, n)
    vmuls(core, slope, totals, 1, factor, FP32, n)
    vmul(core, slope, slope, inverse, 1, FP32, n)
    vmul(core, slope, slope, scale, 1, FP32, n)
    vmuls(core, offset, totals + LINE, 1, factor, FP32, n)
    vmul(core, offset, offset, scale, 1, FP32, n)
    if maps.dtype == FP16:
        vmul(core, b.made, b.made, slope, 1, FP32, n)
        vsub(core, offset, offset, b.made, 1, FP32, n)
    for line in range(4):
        repeat_channels(core, b.made + line * LINE)
    free(core, q)


@emits
def input_tile(core: Any, made: int, here: int, b: Buffers, maps: Maps, positions: int) -> None:
    """Set a tile of dx."""
    pitch, other = maps.tile * C0 * size_of(core, maps.dtype), b.wide + maps.tile * C0 * 4
    apart = in_fp32(core, here + pitch, b.wide, maps, positions)
    if maps.dtype == FP32:
        lines_binary(core, SUB, b.wide, apart, b.made, positions)
    lines_binary(core, MUL, b.wide, b.wide, b.made + 2 * LINE, positions)
    lines_binary(core, ADD, b.wide, b.wide, b.made + 3 * LINE, positions)
    dy = in_fp32(core, here, other, maps, positions)
    lines_binary(core, MUL, other, dy, b.made + LINE, positions)
    if maps.dtype == FP32:
        flat_binary(core, SUB, made, other, b.wide, positions * C0, FP32)
    else:
        flat_binary(core, SUB, other, other, b.wide, positions * C0, FP32)
        flat_convert(core, made, FP16, other, FP32, positions * C0)


@kernel(BatchNormShape, BatchNormTiling, _input_operands, _input_reference)
def batch_norm_reduce_grad(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, dy: int, x: int, gamma: int, batch_mean: int, inverse: int, dgamma_parts: int,
    dbeta_parts: int, dx: int, dgamma: int, dbeta: int, shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """Dx = gamma * inverse * (dy - mean of dy - (x - batch_mean) * inverse * mean of dgamma) per channel."""
    maps, slots = maps_of(core, shape, tiling), tiling.slots
    pitch = maps.tile * C0 * size_of(core, shape.dtype)
    taken, wide = alloc(core, UB, slots * 2 * pitch, 2 * slots), alloc(core, UB, 2 * maps.tile * C0 * 4)
    made = alloc(core, UB, slots * pitch, slots)
    loaded = alloc(core, UB, 3 * LINE + 2 * maps.parts * PART_BYTES)
    b, totals = Buffers(taken, wide, loaded, alloc(core, UB, 4 * LINE)), alloc(core, UB, 2 * LINE)
    t = Sources(gamma, batch_mean, inverse, dgamma_parts, dbeta_parts)
    q_constants, q_in = queue(core, MTE2, V, 1), queue(core, MTE2, V, slots)
    q_totals, q_out = queue(core, V, MTE3, 1), queue(core, V, MTE3, slots)
    items = maps.groups * maps.parts
    first = share_start(core, items, 1)
    for item in range(first, share_end(core, items, 1)):
        group, part = item // maps.parts, item % maps.parts
        n = min(C0, shape.c - group * C0)
        if item == first or part == 0:
            fill(core, q_totals)
            gradient_constants(core, t, b, maps, group, n, totals, q_constants)
            filled(core, q_totals)
            use(core, q_totals)
            if part == 0:
                data_move(core, dgamma + group * C0 * 4, totals, 1, (n * 4 + BLOCK - 1) // BLOCK)
                data_move(core, dbeta + group * C0 * 4, totals + LINE, 1, (n * 4 + BLOCK - 1) // BLOCK)
            free(core, q_totals)
        at, end = part_start(core, maps, part), part_start(core, maps, part + 1)
        while at < end:
            here = taken + fill(core, q_in) * 2 * pitch
            positions = fetch_pair(core, dy, x, maps, group, at, end, here)
            filled(core, q_in)
            use(core, q_in)
            there = made + fill(core, q_out) * pitch
            input_tile(core, there, here, b, maps, positions)
            free(core, q_in)
            filled(core, q_out)
            use(core, q_out)
            move_segment(core, maps, group, segment_at(core, maps, at, end), dx, there, 1)
            free(core, q_out)
            at += positions
    close(core, q_out)
    close(core, q_totals)
    close(core, q_in)
    close(core, q_constants)
