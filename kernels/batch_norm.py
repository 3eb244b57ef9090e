"""Batch normalisation of feature maps: the second launch of training, and inference.

In training the partial sums that the first launch has left are added, always in the same order. Statistics
are fp32, whatever the data are.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    ADD,
    FP16,
    FP32,
    MAX,
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
    flat_convert,
    flat_dup,
    flat_unary,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vadd,
    vaxpy_mixed,
    vmax,
    vmul,
    vmuls,
    vrsqrt,
    vsub,
)
from kernels.lang.flat import RELU, flat_binary
from kernels.pieces.channels import (
    C0,
    LANES,
    LINE,
    Maps,
    lines_binary,
    load_channels,
    load_parts,
    maps_of,
    move_segment,
    part_start,
    repeat_channels,
    segment_at,
    sum_parts,
)
from kernels.pieces.transpose import spread
from kernels.tiling.batch_norm import (
    BatchNormTiling,
    NormaliseShape,
    channels,
    feature_map,
    number,
)

Array = npt.NDArray[Any]
BLOCK, NUMBER_BYTES, PART_BYTES = 32, 512, 64


class Tensors(NamedTuple):
    """Handles of what the normalisation reads and writes; those that a kernel lacks are not used."""

    x: int
    residual: int
    sums: int
    squares: int
    pivot: int
    gamma: int
    beta: int
    mean: int
    variance: int
    eps: int
    factor: int
    y: int
    new_mean: int
    new_variance: int
    batch_mean: int
    inverse: int


class Lines(NamedTuple):
    """Buffers of constants: a line of 64 lanes each, or room for the parts and for the numbers."""

    loaded: int  # gamma, beta, mean, variance, pivot
    parts: int
    totals: int
    numbers: int
    made: int  # scale, shift, mean


TRAINING, WITH_RESIDUAL, WITH_RELU = 1, 2, 4


@emits
def load_numbers(core: Any, t: Tensors, numbers: int, flags: int, q: int) -> None:
    """Fill a block with eps and, in training, one with the factor of the moving averages."""
    raw, scratch = alloc(core, UB, 4 * BLOCK), alloc(core, UB, 2048)
    fill(core, q)
    data_move(core, raw, t.eps, 1, 1)
    if flags & TRAINING:
        data_move(core, raw + 2 * BLOCK, t.factor, 1, 1)
    filled(core, q)
    use(core, q)
    for i in range(2 if flags & TRAINING else 1):
        spread(core, numbers + i * NUMBER_BYTES, raw + 2 * i * BLOCK, 1, 4, scratch)  # a block of each number
        data_move(core, numbers + i * NUMBER_BYTES + BLOCK, numbers + i * NUMBER_BYTES, 1, 1)
    free(core, q)


@emits
def fetch_constants(core: Any, t: Tensors, lines: Lines, maps: Maps, group: int, flags: int) -> None:
    """Bring the numbers of a group of channels, and in training its partial sums, to UB."""
    load_channels(core, lines.loaded, t.gamma, group)
    load_channels(core, lines.loaded + LINE, t.beta, group)
    load_channels(core, lines.loaded + 2 * LINE, t.mean, group)
    load_channels(core, lines.loaded + 3 * LINE, t.variance, group)
    if flags & TRAINING:
        load_channels(core, lines.loaded + 4 * LINE, t.pivot, group)
        load_parts(core, lines.parts, t.sums, maps, group)
        load_parts(core, lines.parts + maps.parts * PART_BYTES, t.squares, maps, group)


@emits
def batch_statistics(core: Any, stats: int, lines: Lines, maps: Maps, n: int) -> None:
    """Set the lines of `stats` to the moving mean and variance, the batch's mean and its variance."""
    count, mean, variance = maps.n * maps.size, stats + 2 * LINE, stats + 3 * LINE
    total, square, factor = lines.totals, lines.totals + LINE, lines.numbers + NUMBER_BYTES
    sum_parts(core, total, lines.parts, maps.parts)
    sum_parts(core, square, lines.parts + maps.parts * PART_BYTES, maps.parts)
    vmuls(core, total, total, 1, 1.0 / count, FP32, n)
    vmuls(core, square, square, 1, 1.0 / count, FP32, n)
    vadd(core, mean, total, lines.loaded + 4 * LINE, 1, FP32, n)
    vmul(core, total, total, total, 1, FP32, n)
    vsub(core, variance, square, total, 1, FP32, n)
    flat_dup(core, total, 0.0, n, FP32)
    vmax(core, variance, variance, total, 1, FP32, n)
    vmuls(core, square, variance, 1, count / max(1, count - 1), FP32, n)
    for moving in range(2):
        old, now = lines.loaded + (2 + moving) * LINE, mean if moving == 0 else square
        vsub(core, total, now, old, 1, FP32, n)
        vmul(core, total, total, factor, 1, FP32, n)
        vadd(core, stats + moving * LINE, old, total, 1, FP32, n)


@emits
def make_constants(core: Any, stats: int, lines: Lines, maps: Maps, n: int, flags: int) -> None:
    """Make scale and shift of n channels, and the mean; leave 1 / deviation in the last line of `stats`."""
    scale, shift, center = lines.made, lines.made + LINE, lines.made + 2 * LINE
    flat_dup(core, scale, 0.0, 3 * LANES, FP32)
    if flags & TRAINING:
        batch_statistics(core, stats, lines, maps, n)
    else:
        data_move(core, stats + 2 * LINE, lines.loaded + 2 * LINE, 1, 2 * LINE // BLOCK)
    inverse = stats + 3 * LINE
    vadd(core, inverse, inverse, lines.numbers, 1, FP32, n)
    vrsqrt(core, inverse, inverse, 1, FP32, n)
    vmul(core, scale, inverse, lines.loaded, 1, FP32, n)
    if maps.dtype == FP16:  # y = x * scale + (beta - mean * scale)
        vmul(core, center, stats + 2 * LINE, scale, 1, FP32, n)
        vsub(core, shift, lines.loaded + LINE, center, 1, FP32, n)
    else:  # y = (x - mean) * scale + beta
        vmuls(core, center, stats + 2 * LINE, 1, 1.0, FP32, n)
        vmuls(core, shift, lines.loaded + LINE, 1, 1.0, FP32, n)
    for line in range(3):
        repeat_channels(core, lines.made + line * LINE)


@emits
def add_residual(core: Any, wide: int, residual: int, maps: Maps, positions: int) -> None:
    """Add a tile to one in fp32."""
    if maps.dtype == FP32:
        flat_binary(core, ADD, wide, wide, residual, positions * C0, FP32)
    else:
        done = 0
        while done < positions:
            repeat, at = max(1, min(255, (positions - done) // 4)), done * C0
            vaxpy_mixed(core, wide + at * 4, residual + at * 2, repeat, 1.0,
                        min(LANES, (positions - done) * C0), 1, 1, 8, 4)  # fmt: skip
            done += repeat * 4


@emits
def normalise_tile(
    core: Any, made: int, taken: int, wide: int, lines: Lines, maps: Maps, positions: int, flags: int
) -> None:
    """Set a tile to what x and the residual behind it give."""
    scale, pitch = lines.made, maps.tile * C0 * size_of(core, maps.dtype)
    to = wide if maps.dtype == FP16 else made
    if maps.dtype == FP16:
        flat_convert(core, wide, FP32, taken, FP16, positions * C0)
        lines_binary(core, MUL, wide, wide, scale, positions)
    else:
        lines_binary(core, SUB, to, taken, scale + 2 * LINE, positions)
        lines_binary(core, MUL, to, to, scale, positions)
    lines_binary(core, ADD, to, to, scale + LINE, positions)
    if flags & WITH_RESIDUAL:
        add_residual(core, to, taken + pitch, maps, positions)
    if maps.dtype == FP16:
        flat_convert(core, made, FP16, wide, FP32, positions * C0)
        if flags & WITH_RELU:
            flat_unary(core, RELU, made, made, positions * C0, FP16)
    elif flags & WITH_RELU:
        lines_binary(core, MAX, made, made, lines.totals + 2 * LINE, positions)


class Buffers(NamedTuple):
    """Tiles of x (with the residual behind it), of y and in fp32; lines of statistics; the hand-offs."""

    taken: int
    made: int
    wide: int
    stats: int
    q_constants: int
    q_in: int
    q_stats: int
    q_out: int


@emits
def prepare_group(
    core: Any, t: Tensors, b: Buffers, lines: Lines, maps: Maps, item: int, c: int, flags: int
) -> None:
    """Make the constants of an item's group of channels; its first part stores the statistics."""
    group = item // maps.parts
    n = min(C0, c - group * C0)
    fill(core, b.q_constants)
    fetch_constants(core, t, lines, maps, group, flags)
    filled(core, b.q_constants)
    use(core, b.q_constants)
    fill(core, b.q_stats)
    make_constants(core, b.stats, lines, maps, n, flags)
    free(core, b.q_constants)
    filled(core, b.q_stats)
    use(core, b.q_stats)
    if flags & TRAINING and item % maps.parts == 0:
        blocks = (n * 4 + BLOCK - 1) // BLOCK
        data_move(core, t.new_mean + group * C0 * 4, b.stats, 1, blocks)
        data_move(core, t.new_variance + group * C0 * 4, b.stats + LINE, 1, blocks)
        data_move(core, t.batch_mean + group * C0 * 4, b.stats + 2 * LINE, 1, blocks)
        data_move(core, t.inverse + group * C0 * 4, b.stats + 3 * LINE, 1, blocks)
    free(core, b.q_stats)


@emits
def normalise_part(
    core: Any, t: Tensors, b: Buffers, lines: Lines, maps: Maps, item: int, flags: int
) -> None:
    """Normalise a part of a group of channels."""
    group, part = item // maps.parts, item % maps.parts
    pitch = maps.tile * C0 * size_of(core, maps.dtype)
    at, end = part_start(core, maps, part), part_start(core, maps, part + 1)
    while at < end:
        seg = segment_at(core, maps, at, end)
        here = b.taken + fill(core, b.q_in) * 2 * pitch
        move_segment(core, maps, group, seg, t.x, here, 0)
        if flags & WITH_RESIDUAL:
            move_segment(core, maps, group, seg, t.residual, here + pitch, 0)
        filled(core, b.q_in)
        use(core, b.q_in)
        there = b.made + fill(core, b.q_out) * pitch
        normalise_tile(core, there, here, b.wide, lines, maps, seg.positions, flags)
        free(core, b.q_in)
        filled(core, b.q_out)
        use(core, b.q_out)
        move_segment(core, maps, group, seg, t.y, there, 1)
        free(core, b.q_out)
        at += seg.positions


@emits
def normalise(core: Any, t: Tensors, shape: Any, tiling: Any, flags: int) -> None:
    """Normalise this block's share of the parts of all groups."""
    maps, slots = maps_of(core, shape, tiling), tiling.slots
    pitch = maps.tile * C0 * size_of(core, shape.dtype)
    taken, made = alloc(core, UB, slots * 2 * pitch, 2 * slots), alloc(core, UB, slots * pitch, slots)
    wide = alloc(core, UB, maps.tile * C0 * 4 if shape.dtype == FP16 else 0)
    lines = Lines(
        alloc(core, UB, 5 * LINE), alloc(core, UB, 2 * maps.parts * PART_BYTES), alloc(core, UB, 3 * LINE),
        alloc(core, UB, 2 * NUMBER_BYTES), alloc(core, UB, 3 * LINE),
    )  # fmt: skip
    stats = alloc(core, UB, 4 * LINE)
    flat_dup(core, lines.totals + 2 * LINE, 0.0, LANES, FP32)
    b = Buffers(
        taken, made, wide, stats, queue(core, MTE2, V, 1), queue(core, MTE2, V, slots),
        queue(core, V, MTE3, 1), queue(core, V, MTE3, slots),
    )  # fmt: skip
    load_numbers(core, t, lines.numbers, flags, b.q_constants)
    items = maps.groups * maps.parts
    first = share_start(core, items, 1)
    for item in range(first, share_end(core, items, 1)):
        if item == first or item % maps.parts == 0:
            prepare_group(core, t, b, lines, maps, item, shape.c, flags)
        normalise_part(core, t, b, lines, maps, item, flags)
    close(core, b.q_out)
    close(core, b.q_stats)
    close(core, b.q_in)
    close(core, b.q_constants)


def _results(shape: NormaliseShape) -> tuple[Operand, ...]:
    y = output("y", (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0")
    names = ("new_mean", "new_variance", "batch_mean", "inverse")
    return (y, *(output(name, (shape.c,), FP32) for name in names))


def _update_operands(shape: NormaliseShape, has_residual: bool = False) -> tuple[Operand, ...]:
    parts = (shape.parts, shape.groups * C0)
    count = shape.positions / shape.parts
    moving = channels("mean", shape), channels("variance", shape, (0.1, 2.0))
    return (
        feature_map("x", shape),
        *((feature_map("residual", shape),) if has_residual else ()),
        Operand("sums", parts, FP32, between=(-count, count)),
        Operand("squares", parts, FP32, between=(1.5 * count, 3 * count)),
        Operand("pivot", (shape.groups * C0,), FP32), channels("gamma", shape), channels("beta", shape),
        *moving, number("eps", 1e-5, 1e-3), number("factor", 0.1, 0.2), *_results(shape),
    )  # fmt: skip


def _normalised(shape: NormaliseShape, x: Array, scale: Array, mean: Array, shift: Array) -> Array:
    """Return (x - mean) * scale + shift per channel, in float64."""
    mean, scale, shift = (vector.astype(np.float64)[:, None, None] for vector in (mean, scale, shift))
    return (x.astype(np.float64) - mean) * scale + shift


def _update_reference(shape: NormaliseShape, x: Array, *given: Array) -> tuple[Array, ...]:
    return _update_add_reference(shape, x, np.zeros_like(x), *given)


def _update_add_reference(
    shape: NormaliseShape, x: Array, residual: Array, *given: Array
) -> tuple[Array, ...]:
    sums, squares, pivot, gamma, beta, mean, variance, eps, factor = (
        each.astype(np.float64) for each in given
    )
    average = (sums.sum(axis=0) / shape.positions)[: shape.c]
    batch_variance = np.maximum((squares.sum(axis=0) / shape.positions)[: shape.c] - average**2, 0)
    batch_mean, inverse = pivot[: shape.c] + average, 1 / np.sqrt(batch_variance + eps)
    unbiased = batch_variance * shape.positions / max(1, shape.positions - 1)
    y = _normalised(shape, x, gamma * inverse, batch_mean, beta) + residual
    moved = mean + factor * (batch_mean - mean), variance + factor * (unbiased - variance)
    statistics = (each.astype(np.float32) for each in (*moved, batch_mean, inverse))
    return ((np.maximum(y, 0) if shape.relu else y).astype(x.dtype), *statistics)


@kernel(NormaliseShape, BatchNormTiling, _update_operands, _update_reference)
def batch_norm_update(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, x: int, sums: int, squares: int, pivot: int, gamma: int, beta: int, mean: int, variance: int,
    eps: int, factor: int, y: int, new_mean: int, new_variance: int, batch_mean: int, inverse: int,
    shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """Y = (x - batch_mean) * inverse * gamma + beta per channel; new_* = moving averages, by `factor`."""
    t = Tensors(
        x, x, sums, squares, pivot, gamma, beta, mean, variance, eps, factor, y, new_mean, new_variance,
        batch_mean, inverse,
    )  # fmt: skip
    normalise(core, t, shape, tiling, TRAINING + WITH_RELU * shape.relu)


@kernel(NormaliseShape, BatchNormTiling, lambda shape: _update_operands(shape, True), _update_add_reference)
def batch_norm_update_add(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, x: int, residual: int, sums: int, squares: int, pivot: int, gamma: int, beta: int, mean: int,
    variance: int, eps: int, factor: int, y: int, new_mean: int, new_variance: int, batch_mean: int,
    inverse: int, shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """Like batch_norm_update, but a residual is added to y before relu."""
    t = Tensors(
        x, residual, sums, squares, pivot, gamma, beta, mean, variance, eps, factor, y, new_mean,
        new_variance, batch_mean, inverse,
    )  # fmt: skip
    normalise(core, t, shape, tiling, TRAINING + WITH_RESIDUAL + WITH_RELU * shape.relu)


def _operands(shape: NormaliseShape) -> tuple[Operand, ...]:
    given = channels("gamma", shape), channels("beta", shape), channels("mean", shape)
    variance = channels("variance", shape, (0.1, 2.0))
    return feature_map("x", shape), *given, variance, number("eps", 1e-5, 1e-3), _results(shape)[0]


def _reference(shape: NormaliseShape, x: Array, *given: Array) -> tuple[Array]:
    gamma, beta, mean, variance, eps = (each.astype(np.float64) for each in given)
    y = _normalised(shape, x, gamma / np.sqrt(variance + eps), mean, beta)
    return ((np.maximum(y, 0) if shape.relu else y).astype(x.dtype),)


@kernel(NormaliseShape, BatchNormTiling, _operands, _reference)
def batch_norm(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, x: int, gamma: int, beta: int, mean: int, variance: int, eps: int, y: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """Y = (x - mean) / sqrt(variance + eps) * gamma + beta per channel of x[n, c, h, w]."""
    t = Tensors(x, x, x, x, x, gamma, beta, mean, variance, eps, eps, y, y, y, y, y)
    normalise(core, t, shape, tiling, WITH_RELU * shape.relu)
