"""A convolution that also sums its results and their squares by channel, for batch normalisation.

The sums are those of the fp32 accumulators, before they are rounded, over a share of the images each: their
order is fixed, so that they are the same bits always. The data passes once.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.conv2d import convolve, convolve_tiles, map_operand, weight_layout
from kernels.lang import FP16, FP32, Operand, barrier, kernel, output
from kernels.pieces.convolution import Tensors, close_pipeline, open_pipeline
from kernels.pieces.convolution_plan import dense_parts, first_part, forward_plan, last_part, weights_of
from kernels.pieces.convolution_statistics import close_statistics, open_statistics
from kernels.tiling.conv2d import StatisticsTiling
from kernels.tiling.conv2d_shape import EDGE, StatisticsShape, ceil_div

Array = npt.NDArray[Any]


def conv2d_statistics_reference(shape: Any, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """Return y[n, o, oh, ow], and sums[splits, o1 * 16] of it and of its squares, in float32."""
    y = convolve(shape, x, w)
    padded = np.zeros((shape.n, ceil_div(shape.o, EDGE) * EDGE, shape.oh * shape.ow), np.float32)
    padded[:, : shape.o] = y.reshape(shape.n, shape.o, -1)
    bounds = [shape.n * split // shape.splits for split in range(shape.splits + 1)]
    shares = [padded[first:last] for first, last in pairwise(bounds)]
    sums = np.stack([share.sum(axis=(0, 2)) for share in shares])
    squares = np.stack([(share**2).sum(axis=(0, 2)) for share in shares])
    return y.astype(np.float32 if shape.out_dtype == FP32 else np.float16), sums, squares


def _operands(shape: StatisticsShape) -> tuple[Operand, ...]:
    sums = (shape.splits, ceil_div(shape.o, EDGE) * EDGE)
    return (
        map_operand(shape),
        Operand("w", (shape.o, shape.c // shape.groups, shape.kh, shape.kw), FP16, weight_layout(shape)),
        output("y", (shape.n, shape.o, shape.oh, shape.ow), shape.out_dtype, "NC1HWC0"),
        output("sums", sums, FP32),
        output("squares", sums, FP32),
    )


def _macs(shape: StatisticsShape) -> int:
    return shape.macs


@kernel(StatisticsShape, StatisticsTiling, _operands, conv2d_statistics_reference, macs=_macs)
def conv2d_statistics(
    core: Any, x: int, w: int, y: int, sums: int, squares: int, shape: Any, tiling: Any
) -> None:
    """Give y = conv2d(x, w), sums[split, o] of y over its images and positions, squares[split, o] alike."""
    share = dense_parts(core, shape)
    plan = forward_plan(core, shape, tiling, 0, 0, shape.splits)
    b, z = open_pipeline(core, plan), open_statistics(core, plan, sums, squares)
    cores = tiling.tile_cores * tiling.channel_cores
    first = first_part(core, share, cores, tiling.group_cores)
    for part in range(first, last_part(core, share, cores, tiling.group_cores)):
        if part > first:
            barrier(core)  # what lies in L1 is not used any more
        p = forward_plan(core, shape, tiling, part, 0, shape.splits)
        t = Tensors(x, weights_of(core, shape, share, w, part), y)
        convolve_tiles(core, p, t, b, z, shape.splits)
    close_statistics(core, z)
    close_pipeline(core, b)
