"""Reductions; half precision is summed in float32 and rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.array import broadcast_to, reshape, transpose
from framework.ops.batching import next_axes, next_axis, together
from framework.ops.creation import filled
from framework.ops.elementwise import equal
from framework.ops.joining import concat, part
from framework.ops.op import Array, Call, Op, Rule, sample
from framework.ops.shapes import normalize_axes, normalize_axis, require

_SAMPLES = (sample((3, 4), axes=1), sample((2, 3, 4), axes=(0, -1), keepdims=True), sample((3, 4), axes=None))


def _infer(x: TensorType, /, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> TensorType:
    dropped = axes or ()
    if keepdims:
        return x.with_shape(tuple(1 if axis in dropped else size for axis, size in enumerate(x.shape)))
    return x.with_shape(tuple(size for axis, size in enumerate(x.shape) if axis not in dropped))


def _reduction(name: str, function: Callable[..., Any], vjp: Rule, **kinds: bool) -> Op:
    """Return a reduction; `kinds` says what becomes of integers and of truths."""

    def evaluate(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        wide = x.astype(accumulator(x.dtype), copy=False)
        return np.asarray(function(wide, axis=axes, keepdims=keepdims)).astype(x.dtype, copy=False)

    return Op(
        name,
        "*->*",
        _infer,
        evaluate,
        vjp,
        normalize=normalize_axes,
        lowering=lowering.reduction(name),
        samples=_SAMPLES,
        batch=together(name, next_axes),
        **kinds,
    )


def _spread(call: Call, reduced: Any) -> Any:
    """Return a value of the reduced shape repeated over the axes that were reduced."""
    (x,) = call.inputs
    kept = tuple(1 if axis in call.attrs["axes"] else size for axis, size in enumerate(x.shape))
    return broadcast_to(reshape(reduced, kept), x.shape)


def _mean_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    (x,) = call.inputs
    (y,) = call.outputs
    return (_spread(call, dy * (y.size / x.size)),)


def _max_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Return dy shared equally by the elements that are the maximum, or the minimum."""
    (x,) = call.inputs
    (y,) = call.outputs
    is_max = equal(x, _spread(call, y)).astype(x.dtype)
    return (is_max * _spread(call, dy / reduce_sum(is_max, call.attrs["axes"], call.attrs["keepdims"])),)


reduce_sum = _reduction("reduce_sum", np.sum, lambda call, dy: (_spread(call, dy),), integers=True)
reduce_mean = _reduction("reduce_mean", np.mean, _mean_vjp, floats=True)
reduce_max = _reduction("reduce_max", np.max, _max_vjp)
reduce_min = _reduction("reduce_min", np.min, _max_vjp)


def _prod_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Return dy times the product of the other elements, which zeros do not disturb."""
    (x,) = call.inputs
    axes = call.attrs["axes"]
    if x.size == 0:
        return (_spread(call, dy),)
    order = (*(axis for axis in range(x.ndim) if axis not in axes), *axes)
    rows = transpose(x, order)
    others = _others(reshape(rows, (-1, math.prod(x.shape[axis] for axis in axes))))
    back = transpose(reshape(others, rows.shape), tuple(order.index(axis) for axis in range(x.ndim)))
    return (back * _spread(call, dy),)


def _others(x: Any) -> Any:
    """Return for each element of x[m, n] the product of the others in its row, from halves of the row."""
    m, n = x.shape
    if n <= 1:
        return filled(x.builder, x.type, 1)
    half = -(-n // 2)
    a, b = part(x, 1, 0, half), part(x, 1, half, n)
    if n % 2:
        b = concat(b, filled(x.builder, x.type.with_shape((m, 1)), 1), axis=1)
    others = _others(a * b)
    return part(concat(others * b, others * a, axis=1), 1, 0, n)


reduce_prod = _reduction("reduce_prod", np.prod, _prod_vjp, integers=True)


def _cumsum_infer(x: TensorType, /, axis: int = -1, reverse: bool = False) -> TensorType:
    require(x.ndim > 0, f"cumsum: {x} has no axis to sum along")
    return x


def _cumsum(x: Array, axis: int, reverse: bool) -> Array:
    wide = x.astype(accumulator(x.dtype), copy=False)
    given = np.flip(wide, axis) if reverse else wide
    summed = np.cumsum(given, axis=axis, dtype=wide.dtype)
    return np.ascontiguousarray(np.flip(summed, axis) if reverse else summed).astype(x.dtype, copy=False)


cumsum: Op = Op(
    "cumsum",
    "*->*",
    _cumsum_infer,
    _cumsum,
    lambda call, dy: (cumsum(dy, call.attrs["axis"], not call.attrs["reverse"]),),
    normalize=normalize_axis,
    samples=(sample((3, 4)), sample((3, 4), axis=0, reverse=True)),
    batch=together("cumsum", next_axis),
    integers=True,
)
