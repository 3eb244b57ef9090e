"""The first launch of batch normalisation in training: what each part of each channel sums up to.

Sums are taken of differences from a pivot, the first number of each channel, so that a mean that is large
against the deviation costs no accuracy.
"""

from typing import Any

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
)
from kernels.lang.flat import flat_binary
from kernels.pieces.channels import (
    C0,
    LANES,
    LINE,
    Maps,
    fold_positions,
    in_fp32,
    lines_binary,
    maps_of,
    move_segment,
    part_start,
    repeat_channels,
    segment_at,
    store_channels,
)
from kernels.pieces.fold import fold_lanes
from kernels.tiling.batch_norm import (
    BatchNormShape,
    BatchNormTiling,
    feature_map,
    partial,
    parts_of,
)

Array = npt.NDArray[Any]
BLOCK, PART_BYTES = 32, 64


def _reduce_operands(shape: BatchNormShape) -> tuple[Operand, ...]:
    pivot = output("pivot", (shape.groups * C0,), FP32)
    return feature_map("x", shape), partial("sums", shape), partial("squares", shape), pivot


def _reduce_reference(shape: BatchNormShape, x: Array) -> tuple[Array, ...]:
    pivot = np.zeros(shape.groups * C0, np.float32)
    pivot[: shape.c] = x[0, :, 0, 0]
    apart = [part - pivot for part in parts_of(shape, x)]
    sums, squares = [part.sum(axis=0) for part in apart], [(part**2).sum(axis=0) for part in apart]
    return np.array(sums, np.float32), np.array(squares, np.float32), pivot


@emits
def load_pivot(core: Any, line: int, raw: int, x: int, maps: Maps, group: int, q: int) -> None:
    """Spread the first position of a group over a line, in fp32."""
    unit = C0 * size_of(core, maps.dtype) // BLOCK
    fill(core, q)
    data_move(core, raw, x + group * maps.size * unit * BLOCK, 1, unit)
    filled(core, q)
    use(core, q)
    if maps.dtype == FP16:
        flat_convert(core, line, FP32, raw, FP16, C0)
    else:
        data_move(core, line, raw, 1, 2)
    repeat_channels(core, line)
    free(core, q)


@emits
def sum_tile(core: Any, kept: int, taken: int, wide: int, pivot: int, maps: Maps, positions: int) -> None:
    """Add the differences from the pivot, and their squares, to two lines."""
    tile = in_fp32(core, taken, wide, maps, positions)
    lines_binary(core, SUB, wide, tile, pivot, positions)
    fold_positions(core, ADD, kept, wide, positions)
    flat_binary(core, MUL, wide, wide, wide, positions * C0, FP32)
    fold_positions(core, ADD, kept + LINE, wide, positions)


@kernel(BatchNormShape, BatchNormTiling, _reduce_operands, _reduce_reference)
def batch_norm_reduce(
    core: Any, x: int, sums: int, squares: int, pivot: int, shape: Any, tiling: Any
) -> None:
    """sums, squares[parts, c] = sums over n, h, w of x[n, c, h, w] - pivot[c] and its square; fp32."""
    maps = maps_of(core, shape, tiling)
    pitch = maps.tile * C0 * size_of(core, shape.dtype)
    taken = alloc(core, UB, tiling.slots * pitch, tiling.slots)
    wide, raw, line = alloc(core, UB, maps.tile * C0 * 4), alloc(core, UB, PART_BYTES), alloc(core, UB, LINE)
    kept = alloc(core, UB, 2 * 3 * LINE, 2)
    q_in, q_pivot, q_out = (
        queue(core, MTE2, V, tiling.slots), queue(core, MTE2, V, 1), queue(core, V, MTE3, 2),
    )  # fmt: skip
    items = maps.groups * maps.parts
    for item in range(share_start(core, items, 1), share_end(core, items, 1)):
        group, part = item // maps.parts, item % maps.parts
        load_pivot(core, line, raw, x, maps, group, q_pivot)
        total = kept + fill(core, q_out) * 3 * LINE
        flat_dup(core, total, 0.0, 2 * LANES, FP32)
        data_move(core, total + 2 * LINE, line, 1, 2)
        at, end = part_start(core, maps, part), part_start(core, maps, part + 1)
        while at < end:
            seg = segment_at(core, maps, at, end)
            here = taken + fill(core, q_in) * pitch
            move_segment(core, maps, group, seg, x, here, 0)
            filled(core, q_in)
            use(core, q_in)
            sum_tile(core, total, here, wide, line, maps, seg.positions)
            free(core, q_in)
            at += seg.positions
        fold_lanes(core, ADD, total, 2, C0)
        filled(core, q_out)
        use(core, q_out)
        store_channels(core, sums, maps, group, part, total)
        store_channels(core, squares, maps, group, part, total + LINE)
        if part == 0:
            store_channels(core, pivot, maps, group, part, total + 2 * LINE)
        free(core, q_out)
    close(core, q_out)
    close(core, q_pivot)
    close(core, q_in)
