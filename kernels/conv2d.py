"""Convolutions on the cube as implicit matrix products: forward, with a bias, and backward to the input.

Feature maps lie as NC1HWC0, weights as FRACTAL_Z; maps and weights of at most 4 channels may lie as
NC1HWC0_C04 and FRACTAL_Z_C04, whose fractals are full. A tile is some rows of one result image, or several
small images; the rows of the map under it, halo included, come to L1, weights come to L1 by channel groups.
load3d unfolds windows into L0A, so that the cube multiplies a[positions, k] by b[k, channels] with k = (c1,
kh, kw, c0), and the result leaves through UB. The gradient to the input is the same pipeline over dy, with
the weights transposed on their way to L0B and read from the last one; that of a convolution with a stride is
put together in UB from stride x stride such convolutions. A grouped convolution is some dense ones, one
after the other.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.lang import FP16, FP32, Operand, barrier, emits, fill, filled, free, kernel, output
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
from kernels.pieces.convolution_gradient import gradient_by_phases
from kernels.pieces.convolution_joined import no_joined
from kernels.pieces.convolution_plan import (
    backward_plan,
    dense_parts,
    first_part,
    forward_plan,
    last_part,
    tile_fractals,
    weights_of,
)
from kernels.pieces.convolution_statistics import no_statistics, store_measured, store_statistics
from kernels.pieces.convolution_store import close_bias, load_bias, open_bias, preset, store
from kernels.tiling.conv2d import BackwardInputTiling, ConvTiling
from kernels.tiling.conv2d_shape import ConvShape, ForwardShape

Array = npt.NDArray[Any]


def conv2d_reference(shape: Any, x: Array, w: Array) -> tuple[Array]:
    """Return y[n, o, oh, ow], accumulated in float32 and rounded once."""
    return (_result(shape, convolve(shape, x, w)),)


def conv2d_bias_reference(shape: Any, x: Array, w: Array, bias: Array) -> tuple[Array]:
    """Return y[n, o, oh, ow] + bias[o], accumulated in float32 and rounded once."""
    return (_result(shape, convolve(shape, x, w) + bias.reshape(1, -1, 1, 1)),)


def conv2d_backward_input_reference(shape: Any, dy: Array, w: Array) -> tuple[Array]:
    """Return dx[n, c, h, w], accumulated in float32 and rounded once."""
    return (gradient_to_input(shape, dy, w).astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def gradient_to_input(shape: Any, dy: Array, w: Array) -> Array:
    """Return dx[n, c, h, w], accumulated in float32."""
    s, d, g, (top, bottom, left, right) = shape.stride, shape.dilation, shape.groups, shape.pads
    size = (shape.h + top + bottom, shape.w + left + right)
    padded = np.zeros((shape.n, g, shape.c // g, *size), np.float32)
    wide = dy.astype(np.float32).reshape(shape.n, g, shape.o // g, shape.oh, shape.ow)
    weights = w.astype(np.float32).reshape(g, shape.o // g, shape.c // g, shape.kh, shape.kw)
    for i in range(shape.kh):
        for j in range(shape.kw):
            seen = padded[..., i * d :: s, j * d :: s][..., : shape.oh, : shape.ow]
            seen += np.einsum("ngohw,goc->ngchw", wide, weights[..., i, j], optimize=True)
    dx = padded[..., top : top + shape.h, left : left + shape.w]
    return dx.reshape(shape.n, shape.c, shape.h, shape.w)


def padded_groups(shape: Any, x: Array, dtype: npt.DTypeLike = np.float32) -> Array:
    """Return x with its padding, as [n, group, channel, row, column]."""
    top, bottom, left, right = shape.pads
    padded = np.pad(x.astype(dtype), ((0, 0), (0, 0), (top, bottom), (left, right)))
    return padded.reshape(shape.n, shape.groups, shape.c // shape.groups, *padded.shape[2:])


def convolve(shape: Any, x: Array, w: Array, dtype: npt.DTypeLike = np.float32) -> Array:
    """Return y[n, o, oh, ow], its products and sums of a type."""
    s, d, g, padded = shape.stride, shape.dilation, shape.groups, padded_groups(shape, x, dtype)
    weights = w.astype(dtype).reshape(g, shape.o // g, shape.c // g, shape.kh, shape.kw)
    y = np.zeros((shape.n, g, shape.o // g, shape.oh, shape.ow), dtype)
    for i in range(shape.kh):
        for j in range(shape.kw):
            seen = padded[..., i * d :: s, j * d :: s][..., : shape.oh, : shape.ow]
            y += np.einsum("ngchw,goc->ngohw", seen, weights[..., i, j], optimize=True)
    return y.reshape(shape.n, shape.o, shape.oh, shape.ow)


def _result(shape: Any, y: Array) -> Array:
    """Return what is stored of the accumulators."""
    kept = np.maximum(y, 0.0) if shape.relu else y
    return kept.astype(np.float32 if shape.out_dtype == FP32 else np.float16)


def weight_layout(shape: ConvShape) -> str:
    """Return how the weights lie in memory."""
    if shape.few:
        return "FRACTAL_Z_C04"
    return "FRACTAL_Z" if shape.groups == 1 else f"FRACTAL_Z:{shape.groups}"


def map_layout(shape: ConvShape) -> str:
    """Return how the map lies in memory."""
    return "NC1HWC0_C04" if shape.few else "NC1HWC0"


def map_operand(shape: ConvShape) -> Operand:
    """Return x, of which the windows need not see everything."""
    axes = (shape.n, shape.c, shape.h, shape.w)
    return Operand("x", axes, FP16, map_layout(shape), needed_bytes=shape.seen_bytes)


def _operands(shape: ConvShape) -> tuple[Operand, ...]:
    return (
        map_operand(shape),
        Operand("w", (shape.o, shape.c // shape.groups, shape.kh, shape.kw), FP16, weight_layout(shape)),
        output("y", (shape.n, shape.o, shape.oh, shape.ow), shape.out_dtype, "NC1HWC0"),
    )


def _operands_with_bias(shape: ConvShape) -> tuple[Operand, ...]:
    x, w, y = _operands(shape)
    return x, w, Operand("bias", (shape.o,), FP32), y


def _operands_backward_input(shape: ConvShape) -> tuple[Operand, ...]:
    x, w, y = _operands(shape)
    dy, dx = Operand("dy", y.shape, FP16, y.layout), output("dx", x.shape, shape.out_dtype, x.layout)
    return dy, w, dx


def _macs(shape: ConvShape) -> int:
    return shape.macs


@emits
def convolve_tiles(core: Any, p: Any, t: Any, b: Any, z: Any, splits: int) -> None:
    """Compute this core's share of a dense convolution of stride 1 or forward; with splits, sum up."""
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
                if splits:
                    store_measured(core, p, t, b, Step(tile, n, m, 0), z)
                else:
                    store(core, p, t, b, Step(tile, n, m, 0))
        if splits:
            store_statistics(core, p, z, tile, splits)
        end_tile(core, p, b, tile)


@kernel(ForwardShape, ConvTiling, _operands, conv2d_reference, macs=_macs)
def conv2d(core: Any, x: int, w: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, o, oh, ow] = sum over c, kh, kw of x[n, c, oh*stride+kh-pad, ...] * w[o, c, kh, kw], then relu."""
    share = dense_parts(core, shape)
    b = open_pipeline(core, forward_plan(core, shape, tiling, 0, shape.relu))
    cores = tiling.tile_cores * tiling.channel_cores
    first = first_part(core, share, cores, tiling.group_cores)
    for part in range(first, last_part(core, share, cores, tiling.group_cores)):
        if part > first:
            barrier(core)  # what lies in L1 is not used any more
        p = forward_plan(core, shape, tiling, part, shape.relu)
        t = Tensors(x, weights_of(core, shape, share, w, part), y)
        convolve_tiles(core, p, t, b, no_statistics(core), 0)
    close_pipeline(core, b)


@kernel(ForwardShape, ConvTiling, _operands_with_bias, conv2d_bias_reference, macs=_macs)
def conv2d_bias(core: Any, x: int, w: int, bias: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, o, oh, ow] = bias[o] + sum over c, kh, kw of x[n, c, oh*stride+kh-pad, ...] * w[o, c, kh, kw]."""
    share = dense_parts(core, shape)
    b = open_pipeline(core, forward_plan(core, shape, tiling, 0, shape.relu))
    room = open_bias(core, forward_plan(core, shape, tiling, 0, shape.relu))
    cores = tiling.tile_cores * tiling.channel_cores
    first = first_part(core, share, cores, tiling.group_cores)
    for part in range(first, last_part(core, share, cores, tiling.group_cores)):
        if part > first:
            barrier(core)  # what lies in L1 and UB is not used any more
        p = forward_plan(core, shape, tiling, part, shape.relu)
        t = Tensors(x, weights_of(core, shape, share, w, part), y)
        load_bias(core, p, room, bias, shape.o)
        start(core, p, t, b)
        before = Step(-1, 0, 0, 0)  # stored one output tile late, so that V presets the next one first
        for tile in range(p.first, p.last):
            begin_tile(core, p, t, b, tile)
            for n in range(p.n_start, p.n_end, p.n0):
                for m in range(0, tile_fractals(core, p, tile), p.m0):
                    preset(core, p, b, room, Step(tile, n, m, 0))
                    slot = fill(core, b.qc)
                    for chunk in range(chunks_of(core, p)):
                        fetch_next(core, p, t, b, Step(tile, n, m, chunk))
                        multiply(core, p, b, Step(tile, n, m, chunk), slot, 1)
                    filled(core, b.qc)
                    free(core, room.q)
                    if before.tile >= 0:
                        store(core, p, t, b, before)
                    before = Step(tile, n, m, 0)
            end_tile(core, p, b, tile)
        if before.tile >= 0:
            store(core, p, t, b, before)
    close_bias(core, room)
    close_pipeline(core, b)


@kernel(ConvShape, BackwardInputTiling, _operands_backward_input, conv2d_backward_input_reference, macs=_macs)
def conv2d_backward_input(core: Any, dy: int, w: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum over o, kh, kw of dy[n, o, (h + pad - kh) / stride, ...] * w[o, c, kh, kw]."""
    share = dense_parts(core, shape)
    b = open_pipeline(core, backward_plan(core, shape, tiling, 0))
    cores = tiling.tile_cores * tiling.channel_cores
    first = first_part(core, share, cores, tiling.group_cores)
    for part in range(first, last_part(core, share, cores, tiling.group_cores)):
        if part > first:
            barrier(core)  # what lies in L1 is not used any more
        p = backward_plan(core, shape, tiling, part)
        t = Tensors(dy, weights_of(core, shape, share, w, part), dx)
        if p.phases > 1:
            gradient_by_phases(core, p, t, b, no_joined(core))
        else:
            convolve_tiles(core, p, t, b, no_statistics(core), 0)
    close_pipeline(core, b)
