"""Convolutions on the cube as implicit matrix products: forward, with a bias, and backward to the input.

Feature maps lie as NC1HWC0, weights as FRACTAL_Z. A tile is some rows of one result image; the rows of the
map under it, halo included, come to L1, weights come to L1 by channel groups. load3d unfolds windows into
L0A, so that the cube multiplies a[positions, k] by b[k, channels] with k = (c1, kh, kw, c0), and the result
leaves through UB. The gradient to the input is the same pipeline over dy, whose elements lie `stride` apart
in L1 with zeros between them, with the weights transposed on their way to L0B and read from the last one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.lang import FP16, FP32, M, Operand, V, close, fill, filled, free, kernel, output, queue
from kernels.lang.convolution import (
    SLOTS,
    Step,
    backward_plan,
    begin_tile,
    close_pipeline,
    end_tile,
    fetch_next,
    forward_plan,
    load_bias,
    multiply,
    open_pipeline,
    preset,
    start,
    store,
    tile_fractals,
)
from kernels.tiling.conv2d import BackwardInputTiling, ConvShape, ConvTiling

Array = npt.NDArray[Any]


def conv2d_reference(shape: Any, x: Array, w: Array) -> tuple[Array]:
    """Return y[n, o, oh, ow], accumulated in float32 and rounded once."""
    return (convolve(shape, x, w).astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def conv2d_bias_reference(shape: Any, x: Array, w: Array, bias: Array) -> tuple[Array]:
    """Return y[n, o, oh, ow] + bias[o], accumulated in float32 and rounded once."""
    y = convolve(shape, x, w) + bias.reshape(1, -1, 1, 1)
    return (y.astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def conv2d_backward_input_reference(shape: Any, dy: Array, w: Array) -> tuple[Array]:
    """Return dx[n, c, h, w], accumulated in float32 and rounded once."""
    s, p, d = shape.stride, shape.pad, shape.dilation
    padded = np.zeros((shape.n, shape.c, shape.h + 2 * p, shape.w + 2 * p), np.float32)
    wide, weights = dy.astype(np.float32), w.astype(np.float32)
    for i in range(shape.kh):
        for j in range(shape.kw):
            seen = padded[:, :, i * d :: s, j * d :: s][:, :, : shape.oh, : shape.ow]
            seen += np.einsum("nohw,oc->nchw", wide, weights[:, :, i, j], optimize=True)
    dx = padded[:, :, p : p + shape.h, p : p + shape.w]
    return (dx.astype(np.float32 if shape.out_dtype == FP32 else np.float16),)


def convolve(shape: Any, x: Array, w: Array) -> Array:
    """Return y[n, o, oh, ow] float32."""
    s, p, d = shape.stride, shape.pad, shape.dilation
    padded = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (p, p), (p, p)))
    y = np.zeros((shape.n, shape.o, shape.oh, shape.ow), np.float32)
    for i in range(shape.kh):
        for j in range(shape.kw):
            seen = padded[:, :, i * d :: s, j * d :: s][:, :, : shape.oh, : shape.ow]
            y += np.einsum("nchw,oc->nohw", seen, w[:, :, i, j].astype(np.float32), optimize=True)
    return y


def _operands(shape: ConvShape) -> tuple[Operand, ...]:
    return (
        Operand("x", (shape.n, shape.c, shape.h, shape.w), FP16, "NC1HWC0"),
        Operand("w", (shape.o, shape.c, shape.kh, shape.kw), FP16, "FRACTAL_Z"),
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


@kernel(ConvShape, ConvTiling, _operands, conv2d_reference, macs=_macs)
def conv2d(core: Any, x: int, w: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, o, oh, ow] = sum over c, kh, kw of x[n, c, oh*stride+kh-pad, ...] * w[o, c, kh, kw]."""
    p = forward_plan(core, shape, tiling)
    b = open_pipeline(core, p, x, w, y)
    start(core, p, b)
    for tile in range(p.first, p.last):
        begin_tile(core, p, b, tile)
        for n in range(p.n_start, p.n_end, p.n0):
            for m in range(0, tile_fractals(core, p, tile), p.m0):
                slot = fill(core, b.qc)
                for chunk in range((p.groups + p.chunk - 1) // p.chunk):
                    fetch_next(core, p, b, Step(tile, n, m, chunk))
                    multiply(core, p, b, Step(tile, n, m, chunk), slot, 0)
                filled(core, b.qc)
                store(core, p, b, tile, n, m)
        end_tile(core, p, b)
    close_pipeline(core, p, b)


@kernel(ConvShape, ConvTiling, _operands_with_bias, conv2d_bias_reference, macs=_macs)
def conv2d_bias(core: Any, x: int, w: int, bias: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, o, oh, ow] = bias[o] + sum over c, kh, kw of x[n, c, oh*stride+kh-pad, ...] * w[o, c, kh, kw]."""
    p = forward_plan(core, shape, tiling)
    b = open_pipeline(core, p, x, w, y)
    start(core, p, b)
    biases = load_bias(core, p, bias, shape.o)
    q = queue(core, V, M, SLOTS)
    before = Step(-1, 0, 0, 0)  # stored one output tile late, so that V presets the next one first
    for tile in range(p.first, p.last):
        begin_tile(core, p, b, tile)
        for n in range(p.n_start, p.n_end, p.n0):
            for m in range(0, tile_fractals(core, p, tile), p.m0):
                preset(core, p, b, q, biases, Step(tile, n, m, 0))
                slot = fill(core, b.qc)
                for chunk in range((p.groups + p.chunk - 1) // p.chunk):
                    fetch_next(core, p, b, Step(tile, n, m, chunk))
                    multiply(core, p, b, Step(tile, n, m, chunk), slot, 1)
                filled(core, b.qc)
                free(core, q)
                if before.tile >= 0:
                    store(core, p, b, before.tile, before.n, before.m)
                before = Step(tile, n, m, 0)
        end_tile(core, p, b)
    if before.tile >= 0:
        store(core, p, b, before.tile, before.n, before.m)
    close(core, q)
    close_pipeline(core, p, b)


@kernel(ConvShape, BackwardInputTiling, _operands_backward_input, conv2d_backward_input_reference, macs=_macs)
def conv2d_backward_input(core: Any, dy: int, w: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum over o, kh, kw of dy[n, o, (h + pad - kh) / stride, ...] * w[o, c, kh, kw]."""
    p = backward_plan(core, shape, tiling)
    b = open_pipeline(core, p, dy, w, dx)
    start(core, p, b)
    for tile in range(p.first, p.last):
        begin_tile(core, p, b, tile)
        for n in range(p.n_start, p.n_end, p.n0):
            for m in range(0, tile_fractals(core, p, tile), p.m0):
                slot = fill(core, b.qc)
                for chunk in range((p.groups + p.chunk - 1) // p.chunk):
                    fetch_next(core, p, b, Step(tile, n, m, chunk))
                    multiply(core, p, b, Step(tile, n, m, chunk), slot, 0)
                filled(core, b.qc)
                store(core, p, b, tile, n, m)
        end_tile(core, p, b)
    close_pipeline(core, p, b)
