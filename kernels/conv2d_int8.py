"""A convolution of int8 numbers on the cube: int32 sums, scaled by channel to fp16 on their way out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.conv2d import convolve, weight_layout
from kernels.lang import FP16, FP32, INT8, Operand, barrier, fill, filled, kernel, output
from kernels.pieces.convolution import (
    Step,
    Tensors,
    begin_tile,
    chunks_of,
    close_pipeline,
    end_tile,
    fetch_next,
    multiply,
    open_pipeline,
    start,
)
from kernels.pieces.convolution_plan import (
    dense_parts,
    first_part,
    forward_plan,
    last_part,
    tile_fractals,
    weights_of,
)
from kernels.pieces.convolution_scaled import close_scales, load_scales, open_scales, store_scaled
from kernels.tiling.conv2d import ConvTiling
from kernels.tiling.conv2d_shape import QuantizedShape

Array = npt.NDArray[Any]


def conv2d_int8_reference(shape: Any, x: Array, w: Array, scale: Array) -> tuple[Array]:
    """Return y[n, o, oh, ow]: exact sums, rounded to float32, times scale[o], rounded to float16."""
    sums = convolve(shape, x, w, np.float64).astype(np.float32)
    return ((sums * scale.reshape(1, -1, 1, 1)).astype(np.float16),)


def _operands(shape: QuantizedShape) -> tuple[Operand, ...]:
    x, w = (shape.n, shape.c, shape.h, shape.w), (shape.o, shape.c // shape.groups, shape.kh, shape.kw)
    return (
        Operand("x", x, INT8, "NC1HWC0", between=(-128, 128), is_whole=True, needed_bytes=shape.seen_bytes),
        Operand("w", w, INT8, weight_layout(shape), between=(-128, 128), is_whole=True),
        Operand("scale", (shape.o,), FP32, between=(0.0001, 0.001)),
        output("y", (shape.n, shape.o, shape.oh, shape.ow), FP16, "NC1HWC0"),
    )


def _macs(shape: QuantizedShape) -> int:
    return shape.macs


@kernel(QuantizedShape, ConvTiling, _operands, conv2d_int8_reference, macs=_macs)
def conv2d_int8(core: Any, x: int, w: int, scale: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, o, oh, ow] = scale[o] * sum over c, kh, kw of x[n, c, oh*stride+kh-pad, ...] * w[o, c, kh, kw]."""
    share = dense_parts(core, shape)
    b = open_pipeline(core, forward_plan(core, shape, tiling, 0, 0))
    z = open_scales(core, forward_plan(core, shape, tiling, 0, 0))
    cores = tiling.tile_cores * tiling.channel_cores
    first = first_part(core, share, cores, tiling.group_cores)
    for part in range(first, last_part(core, share, cores, tiling.group_cores)):
        if part > first:
            barrier(core)  # what lies in L1 is not used any more
        p = forward_plan(core, shape, tiling, part, 0)
        t = Tensors(x, weights_of(core, shape, share, w, part), y)
        load_scales(core, p, z, scale, shape.o)
        start(core, p, t, b)
        for tile in range(p.first, p.last):
            begin_tile(core, p, t, b, tile)
            for n in range(p.n_start, p.n_end, p.n0):
                for m in range(0, tile_fractals(core, p, tile), p.m0):
                    slot = fill(core, b.qc)
                    for chunk in range(chunks_of(core, p)):
                        fetch_next(core, p, t, b, Step(tile, n, m, chunk))
                        multiply(core, p, b, Step(tile, n, m, chunk), slot, 0)
                    filled(core, b.qc)
                    store_scaled(core, p, t, b, Step(tile, n, m, 0), z)
            end_tile(core, p, b, tile)
    close_scales(core, z)
    close_pipeline(core, b)
