"""Max pooling of x[n, c, h, w] without padding; `argmax` says which tap of the window won."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.batching import folding, more
from framework.ops.conv import IMAGE, Two, Window
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.shapes import pair, require


def _normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    kernel = pair(attrs["kernel"])
    stride = kernel if attrs["stride"] is None else pair(attrs["stride"])
    return {**attrs, "kernel": kernel, "stride": stride}


def _window(stride: Any) -> Window:
    return Window(stride, (0, 0, 0, 0), (1, 1))


def _pooled(name: str, shape: tuple[int, ...], kernel: Any, stride: Any) -> tuple[int, ...]:
    require(len(shape) == IMAGE, f"{name}: x{list(shape)} must be [n, c, h, w]")
    h, w = _window(stride).output(shape[2], shape[3], kernel)
    require(h > 0 and w > 0, f"{name}: the window {kernel} is larger than the image x{list(shape)}")
    return (shape[0], shape[1], h, w)


def _infer(
    x: TensorType, /, kernel: int | Two, stride: int | Two | None = None
) -> tuple[TensorType, TensorType]:
    y = x.with_shape(_pooled("max_pool_with_argmax", x.shape, kernel, stride))
    return y, y


def _taps(x: Array, kernel: Two, stride: Two) -> Array:
    """Return the windows of x as [kh kw, n, c, ho, wo], taps in row-major order."""
    window = _window(stride)
    out = window.output(x.shape[2], x.shape[3], kernel)
    return np.stack([x[:, :, *window.tap(i, j, out)] for i in range(kernel[0]) for j in range(kernel[1])])


def _evaluate(x: Array, kernel: Two, stride: Two) -> tuple[Array, Array]:
    taps = _taps(x, kernel, stride)
    best, chosen = taps[0].copy(), np.zeros(taps.shape[1:], dtype=np.int8 if len(taps) <= 127 else np.int32)
    for index in range(1, len(taps)):
        wins = taps[index] > best
        np.copyto(best, taps[index], where=wins)
        chosen[wins] = index
    return best, chosen.astype(x.dtype)


def _vjp(call: Call, dy: Any, _: Any) -> tuple[Any, ...]:
    (x,) = call.inputs
    dy = dy.astype(x.dtype)
    return (max_pool_grad(dy, call.outputs[1], x.shape, call.attrs["kernel"], call.attrs["stride"]),)


max_pool_with_argmax = Op(
    "max_pool_with_argmax",
    "nchw->nchw,nchw",
    _infer,
    _evaluate,
    _vjp,
    normalize=_normalize,
    lowering=lowering.max_pool,
    samples=(sample((2, 2, 4, 4), kernel=2), sample((1, 2, 5, 6), kernel=(3, 2), stride=(1, 2))),
    batch=folding("max_pool_with_argmax"),
)


def _grad_infer(
    dy: TensorType,
    argmax: TensorType,
    /,
    input_shape: tuple[int, ...],
    kernel: int | Two,
    stride: int | Two | None = None,
) -> TensorType:
    wanted = dy.with_shape(_pooled("max_pool_grad", input_shape, kernel, stride))
    require(dy == argmax == wanted, f"max_pool_grad: dy {dy} and argmax {argmax} must be {wanted}")
    return dy.with_shape(input_shape)


def _grad_evaluate(dy: Array, argmax: Array, input_shape: tuple[int, ...], kernel: Two, stride: Two) -> Array:
    window = _window(stride)
    dx = np.zeros(input_shape, dtype=accumulator(dy.dtype))
    out = (dy.shape[2], dy.shape[3])
    for index in range(kernel[0] * kernel[1]):
        i, j = divmod(index, kernel[1])
        dx[:, :, *window.tap(i, j, out)] += np.where(argmax == index, dy, dy.dtype.type(0))
    return dx.astype(dy.dtype, copy=False)


def _grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    dy, chosen = call.inputs
    return max_pool_take(d.astype(dy.dtype), chosen, call.attrs["kernel"], call.attrs["stride"]), None


max_pool_grad = Op(
    "max_pool_grad",
    "nchw,nchw->nchw",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    normalize=_normalize,
    lowering=lowering.max_pool_grad,
    samples=(sample((1, 2, 2, 2), Arg((1, 2, 2, 2), low=0.0, high=0.0), input_shape=(1, 2, 4, 4), kernel=2),),
    batch=folding("max_pool_grad", more("input_shape")),
)


def _take_infer(
    x: TensorType, argmax: TensorType, /, kernel: int | Two, stride: int | Two | None = None
) -> TensorType:
    wanted = x.with_shape(_pooled("max_pool_take", x.shape, kernel, stride))
    require(argmax == wanted, f"max_pool_take: argmax {argmax} must be {wanted}")
    return wanted


def _take(x: Array, argmax: Array, kernel: Two, stride: Two) -> Array:
    taps = _taps(x, kernel, stride)
    return np.asarray(np.take_along_axis(taps, argmax[np.newaxis].astype(np.int64), axis=0)[0])


def _take_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    x, chosen = call.inputs
    return max_pool_grad(d.astype(x.dtype), chosen, x.shape, call.attrs["kernel"], call.attrs["stride"]), None


max_pool_take = Op(
    "max_pool_take",
    "nchw,nchw->nchw",
    _take_infer,
    _take,
    _take_vjp,
    normalize=_normalize,
    samples=(sample((1, 2, 4, 4), Arg((1, 2, 2, 2), low=0.0, high=0.0), kernel=2),),
    batch=folding("max_pool_take"),
)
