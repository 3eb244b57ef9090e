"""Softmax and its logarithm along an axis, and their gradients; half precision is computed in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.batching import next_axis, together
from framework.ops.elementwise import exp
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.reduction import reduce_sum
from framework.ops.shapes import normalize_axis, require


def _infer_as(name: str) -> Callable[..., TensorType]:
    def infer(x: TensorType, /, axis: int = -1) -> TensorType:
        require(x.dtype.is_float and x.ndim > 0, "{}: {} must be a float tensor with an axis", name, x)
        return x

    return infer


def _grad_infer_as(name: str) -> Callable[..., TensorType]:
    def infer(dy: TensorType, y: TensorType, /, axis: int = -1) -> TensorType:
        require(dy == y, "{}: dy {} and y {} must have one type", name, dy, y)
        return _infer_as(name)(y, axis)

    return infer


def softmax_of(x: Array, axis: int) -> Array:
    """Return softmax in the accumulator's dtype."""
    wide = x.astype(accumulator(x.dtype), copy=False)
    powers = np.exp(wide - wide.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def _log_softmax_of(x: Array, axis: int) -> Array:
    wide = x.astype(accumulator(x.dtype), copy=False)
    shifted = wide - wide.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def _forward(name: str, function: Callable[[Array, int], Array], gradient: Callable[[], Op]) -> Op:
    """Return an operator whose gradient needs its result."""

    def vjp(call: Call, dy: Any) -> tuple[Any, ...]:
        (y,) = call.outputs
        return (gradient()(dy.astype(y.dtype), y, **call.attrs),)

    return Op(
        name,
        "mn->mn",
        _infer_as(name),
        lambda x, axis: function(x, axis).astype(x.dtype, copy=False),
        vjp,
        normalize=normalize_axis,
        samples=(sample((3, 4)), sample((3, 4), axis=0)),
        batch=together(name, next_axis),
        lowering=lowering.along_rows(name, 1),
    )


def _backward(name: str, function: Callable[[Array, Array, int], Array], vjp: Any, y: Arg) -> Op:
    """Return the gradient from the cotangent dy and the result y."""

    def evaluate(dy: Array, y: Array, axis: int) -> Array:
        wide = accumulator(y.dtype)
        found = function(dy.astype(wide, copy=False), y.astype(wide, copy=False), axis)
        return found.astype(y.dtype, copy=False)

    return Op(
        name,
        "mn,mn->mn",
        _grad_infer_as(name),
        evaluate,
        vjp,
        normalize=normalize_axis,
        samples=(sample((3, 4), y), sample((3, 4), y, axis=0)),
        batch=together(name, next_axis),
        lowering=lowering.along_rows(name, 2),
    )


softmax: Op = _forward("softmax", softmax_of, lambda: softmax_grad)
log_softmax: Op = _forward("log_softmax", _log_softmax_of, lambda: log_softmax_grad)


def _softmax_grad(dy: Array, y: Array, axis: int) -> Array:
    return np.asarray((dy - (dy * y).sum(axis=axis, keepdims=True)) * y)


def _softmax_grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    dy, y = call.inputs
    axis = call.attrs["axis"]
    along = reduce_sum(dy * y, axis, True)
    return softmax_grad(d.astype(y.dtype), y, axis), d * (dy - along) - dy * reduce_sum(d * y, axis, True)


softmax_grad: Op = _backward("softmax_grad", _softmax_grad, _softmax_grad_vjp, Arg((3, 4), low=0.1, high=1.0))


def _log_softmax_grad(dy: Array, y: Array, axis: int) -> Array:
    return np.asarray(dy - np.exp(y) * dy.sum(axis=axis, keepdims=True))


def _log_softmax_grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    dy, y = call.inputs
    axis = call.attrs["axis"]
    powers = exp(y)
    across = reduce_sum(d * powers, axis, True)
    return d - across, -(d * powers * reduce_sum(dy, axis, True))


log_softmax_grad: Op = _backward(
    "log_softmax_grad", _log_softmax_grad, _log_softmax_grad_vjp, Arg((3, 4), low=-2.0, high=-0.1)
)
