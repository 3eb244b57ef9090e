"""Max pooling of x[n, c, h, w]; `argmax` says which tap of the window won, and padding never wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.batching import folding, more
from framework.ops.conv import IMAGE, Four, Two, Window, padded, sides, unpadded
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.shapes import pair, require


def normalize_pooling(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with kernel and stride as (h, w) and pad as (top, bottom, left, right)."""
    kernel = pair(attrs["kernel"])
    stride = kernel if attrs["stride"] is None else pair(attrs["stride"])
    return {**attrs, "kernel": kernel, "stride": stride, "pad": sides(attrs["pad"])}


def window_of(stride: Any, pad: Any) -> Window:
    """Return how windows move."""
    return Window(stride, pad, (1, 1))


def pooled(
    name: str, shape: tuple[int, ...], kernel: Any, stride: Any, pad: Any
) -> tuple[int, int, int, int]:
    """Return the shape of the result, after checks."""
    require(len(shape) == IMAGE, f"{name}: x{list(shape)} must be [n, c, h, w]")
    top, bottom, left, right = pad
    h, w = window_of(stride, pad).output(shape[2], shape[3], kernel)
    require(h > 0 and w > 0, f"{name}: the window {kernel} is larger than the image x{list(shape)}")
    require(
        min(pad) >= 0 and max(top, bottom) < kernel[0] and max(left, right) < kernel[1],
        f"{name}: pad {pad} must be less than the window {kernel}, so that every window sees the image",
    )
    return (shape[0], shape[1], h, w)


def _infer(
    x: TensorType, /, kernel: int | Two, stride: int | Two | None = None, pad: int | Two | Four = 0
) -> tuple[TensorType, TensorType]:
    y = x.with_shape(pooled("max_pool_with_argmax", x.shape, kernel, stride, pad))
    return y, y


def taps_of(x: Array, kernel: Two, window: Window, value: float = 0) -> Iterator[Array]:
    """Yield what every tap of the windows sees, [n, c, ho, wo] each, in row-major order."""
    out = window.output(x.shape[2], x.shape[3], kernel)
    wide = padded(x, window, value)
    return (wide[:, :, *window.tap(i, j, out)] for i in range(kernel[0]) for j in range(kernel[1]))


def _evaluate(x: Array, kernel: Two, stride: Two, pad: Four) -> tuple[Array, Array]:
    lowest = -np.inf if accumulator(x.dtype).kind == "f" else np.iinfo(x.dtype).min
    taps = taps_of(x, kernel, window_of(stride, pad), lowest)
    best = next(taps).copy()
    chosen = np.zeros(best.shape, dtype=np.int8 if kernel[0] * kernel[1] <= 127 else np.int32)
    for index, tap in enumerate(taps, 1):
        wins = tap > best
        np.copyto(best, tap, where=wins)
        chosen[wins] = index
    return best, chosen.astype(x.dtype)


def _window_attrs(call: Call) -> dict[str, Any]:
    return {key: call.attrs[key] for key in ("kernel", "stride", "pad")}


def _vjp(call: Call, dy: Any, _: Any) -> tuple[Any, ...]:
    (x,) = call.inputs
    return (max_pool_grad(dy.astype(x.dtype), call.outputs[1], x.shape, **call.attrs),)


max_pool_with_argmax = Op(
    "max_pool_with_argmax",
    "nchw->nchw,nchw",
    _infer,
    _evaluate,
    _vjp,
    normalize=normalize_pooling,
    lowering=lowering.max_pool,
    samples=(
        sample((2, 2, 4, 4), kernel=2),
        sample((1, 2, 5, 6), kernel=(3, 2), stride=(1, 2)),
        sample((1, 2, 4, 5), kernel=3, stride=2, pad=(1, 0, 1, 2)),
    ),
    batch=folding("max_pool_with_argmax"),
)


def _grad_infer(
    dy: TensorType,
    argmax: TensorType,
    /,
    input_shape: tuple[int, ...],
    kernel: int | Two,
    stride: int | Two | None = None,
    pad: int | Two | Four = 0,
) -> TensorType:
    wanted = dy.with_shape(pooled("max_pool_grad", input_shape, kernel, stride, pad))
    require(dy == argmax == wanted, f"max_pool_grad: dy {dy} and argmax {argmax} must be {wanted}")
    return dy.with_shape(input_shape)


def _grad_evaluate(
    dy: Array, argmax: Array, input_shape: tuple[int, ...], kernel: Two, stride: Two, pad: Four
) -> Array:
    taps = range(kernel[0] * kernel[1])
    parts = (np.where(argmax == index, dy, dy.dtype.type(0)) for index in taps)
    dx = np.zeros(input_shape, accumulator(dy.dtype))
    return scattered(dx, parts, kernel, window_of(stride, pad)).astype(dy.dtype, copy=False)


def scattered(x: Array, parts: Iterable[Array], kernel: Two, window: Window) -> Array:
    """Return images x to which every tap of the windows has added its part[n, c, ho, wo]."""
    out = window.output(x.shape[2], x.shape[3], kernel)
    wide = padded(x, window)
    for index, part in enumerate(parts):
        i, j = divmod(index, kernel[1])
        wide[:, :, *window.tap(i, j, out)] += part
    return unpadded(wide, window)


def _grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    dy, chosen = call.inputs
    return max_pool_take(d.astype(dy.dtype), chosen, **_window_attrs(call)), None


max_pool_grad = Op(
    "max_pool_grad",
    "nchw,nchw->nchw",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    normalize=normalize_pooling,
    lowering=lowering.max_pool_grad,
    samples=(
        sample((1, 2, 2, 2), Arg((1, 2, 2, 2), low=0.0, high=0.0), input_shape=(1, 2, 4, 4), kernel=2),
        sample(
            (1, 1, 2, 2),
            Arg((1, 1, 2, 2), low=4.0, high=4.0),
            input_shape=(1, 1, 3, 3),
            kernel=3,
            stride=2,
            pad=1,
        ),
    ),
    batch=folding("max_pool_grad", more("input_shape")),
)


def _take_infer(
    x: TensorType,
    argmax: TensorType,
    /,
    kernel: int | Two,
    stride: int | Two | None = None,
    pad: int | Two | Four = 0,
) -> TensorType:
    wanted = x.with_shape(pooled("max_pool_take", x.shape, kernel, stride, pad))
    require(argmax == wanted, f"max_pool_take: argmax {argmax} must be {wanted}")
    return wanted


def _take(x: Array, argmax: Array, kernel: Two, stride: Two, pad: Four) -> Array:
    taps = np.stack(list(taps_of(x, kernel, window_of(stride, pad))))
    return np.asarray(np.take_along_axis(taps, argmax[np.newaxis].astype(np.int64), axis=0)[0])


def _take_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    x, chosen = call.inputs
    return max_pool_grad(d.astype(x.dtype), chosen, x.shape, **call.attrs), None


max_pool_take = Op(
    "max_pool_take",
    "nchw,nchw->nchw",
    _take_infer,
    _take,
    _take_vjp,
    normalize=normalize_pooling,
    samples=(sample((1, 2, 4, 4), Arg((1, 2, 2, 2), low=0.0, high=0.0), kernel=2),),
    batch=folding("max_pool_take"),
)
