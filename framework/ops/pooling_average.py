"""Average pooling of x[n, c, h, w], over windows and over whole images."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops.batching import folding, more
from framework.ops.conv import IMAGE, Four, Two
from framework.ops.lowering import pooling as lowering
from framework.ops.op import Array, Call, Op, sample
from framework.ops.pooling import normalize_pooling, pooled, scattered, taps_of, window_of
from framework.ops.shapes import require

IMAGE_AXES = (2, 3)


def _infer(
    x: TensorType,
    /,
    kernel: int | Two,
    stride: int | Two | None = None,
    pad: int | Two | Four = 0,
    include_pad: bool = False,
) -> TensorType:
    require(x.dtype.is_float, "avg_pool: x {} must be floats", x)
    return x.with_shape(pooled("avg_pool", x.shape, kernel, stride, pad))


def _shares(shape: tuple[int, ...], kernel: Two, stride: Two, pad: Four, include_pad: bool) -> Array:
    """Return by how much windows [1, 1, ho, wo] divide: their elements, or those that are not padding."""
    if include_pad:
        return np.full((1, 1, 1, 1), 1 / (kernel[0] * kernel[1]))
    seen = sum(taps_of(np.ones((1, 1, *shape[2:])), kernel, window_of(stride, pad)))
    return np.asarray(1 / np.asarray(seen))


def _evaluate(x: Array, kernel: Two, stride: Two, pad: Four, include_pad: bool) -> Array:
    wide = x.astype(accumulator(x.dtype), copy=False)
    total: Any = sum(taps_of(wide, kernel, window_of(stride, pad)))
    share = _shares(x.shape, kernel, stride, pad, include_pad)
    return np.asarray(total * share.astype(wide.dtype)).astype(x.dtype, copy=False)


avg_pool: Op = Op(
    "avg_pool",
    "nchw->nchw",
    _infer,
    _evaluate,
    lambda call, dy: (avg_pool_grad(dy.astype(call.inputs[0].dtype), call.inputs[0].shape, **call.attrs),),
    normalize=normalize_pooling,
    lowering=lowering.avg_pool,
    samples=(
        sample((2, 2, 4, 4), kernel=2),
        sample((1, 2, 4, 5), kernel=3, stride=2, pad=(1, 0, 1, 2)),
        sample((1, 2, 4, 4), kernel=(3, 2), stride=1, pad=1, include_pad=True),
    ),
    batch=folding("avg_pool"),
)


def _grad_infer(
    dy: TensorType,
    /,
    input_shape: tuple[int, ...],
    kernel: int | Two,
    stride: int | Two | None = None,
    pad: int | Two | Four = 0,
    include_pad: bool = False,
) -> TensorType:
    wanted = dy.with_shape(pooled("avg_pool_grad", input_shape, kernel, stride, pad))
    require(dy == wanted, "avg_pool_grad: dy {} must be {}", dy, wanted)
    return dy.with_shape(input_shape)


def _grad_evaluate(
    dy: Array, input_shape: tuple[int, ...], kernel: Two, stride: Two, pad: Four, include_pad: bool
) -> Array:
    wide = dy.astype(accumulator(dy.dtype), copy=False)
    part = wide * _shares(input_shape, kernel, stride, pad, include_pad).astype(wide.dtype)
    parts = (part for _ in range(kernel[0] * kernel[1]))
    dx = np.zeros(input_shape, wide.dtype)
    return scattered(dx, parts, kernel, window_of(stride, pad)).astype(dy.dtype, copy=False)


def _grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    window = {key: value for key, value in call.attrs.items() if key != "input_shape"}
    return (avg_pool(d.astype(call.inputs[0].dtype), **window),)


avg_pool_grad: Op = Op(
    "avg_pool_grad",
    "nchw->nchw",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    normalize=normalize_pooling,
    lowering=lowering.avg_pool_grad,
    samples=(sample((1, 2, 2, 3), input_shape=(1, 2, 4, 5), kernel=3, stride=2, pad=1),),
    batch=folding("avg_pool_grad", more("input_shape")),
)


def _require_images(name: str, shape: tuple[int, ...]) -> None:
    require(len(shape) == IMAGE, "{}: images are [n, c, h, w], not {}", name, list(shape))


def _global_infer(x: TensorType, /) -> TensorType:
    _require_images("global_avg_pool", x.shape)
    require(x.dtype.is_float, "global_avg_pool: x {} must be floats", x)
    return x.with_shape((*x.shape[:2], 1, 1))


def _global(x: Array) -> Array:
    found: Array = x.mean(axis=IMAGE_AXES, keepdims=True, dtype=accumulator(x.dtype))
    return found.astype(x.dtype, copy=False)


global_avg_pool: Op = Op(
    "global_avg_pool",
    "nchw->nc**",
    _global_infer,
    _global,
    lambda call, dy: (global_avg_pool_grad(dy.astype(call.inputs[0].dtype), call.inputs[0].shape),),
    lowering=lowering.global_avg_pool,
    samples=(sample((2, 3, 2, 4)),),
    batch=folding("global_avg_pool"),
)


def _global_grad_infer(dy: TensorType, /, input_shape: tuple[int, ...]) -> TensorType:
    _require_images("global_avg_pool_grad", input_shape)
    wanted = dy.with_shape((*input_shape[:2], 1, 1))
    require(dy == wanted, "global_avg_pool_grad: dy {} must be {}", dy, wanted)
    return dy.with_shape(input_shape)


def _global_grad(dy: Array, input_shape: tuple[int, ...]) -> Array:
    wide = dy.astype(accumulator(dy.dtype), copy=False)
    share = (wide * (1 / (input_shape[2] * input_shape[3]))).astype(dy.dtype)
    return np.ascontiguousarray(np.broadcast_to(share, input_shape))


global_avg_pool_grad: Op = Op(
    "global_avg_pool_grad",
    "nc**->nchw",
    _global_grad_infer,
    _global_grad,
    lambda call, d: (global_avg_pool(d.astype(call.inputs[0].dtype)),),
    lowering=lowering.global_avg_pool_grad,
    samples=(sample((2, 3, 1, 1), input_shape=(2, 3, 2, 4)),),
    batch=folding("global_avg_pool_grad", more("input_shape")),
)
