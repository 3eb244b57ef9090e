"""Layer normalisation along the last axis, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator, dtype
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.array import broadcast_to, reshape
from framework.ops.batching import all_batched
from framework.ops.creation import filled
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.reduction import reduce_mean, reduce_sum
from framework.ops.shapes import require


def _numbers(x: TensorType) -> TensorType:
    """Return the type of one number per row, as wide as sums are."""
    return TensorType(x.shape[:-1], dtype(accumulator(x.dtype)))


def _sums(x: TensorType) -> TensorType:
    """Return the type of one sum per column."""
    return TensorType(x.shape[-1:], dtype(accumulator(x.dtype)))


def _check(name: str, x: TensorType, *vectors: TensorType) -> None:
    require(x.dtype.is_float and x.ndim > 0, "{}: {} must be a float tensor with an axis", name, x)
    for each in vectors:
        wanted = x.with_shape(x.shape[-1:])
        require(each == wanted, "{}: gamma and beta must be {} for {}, found {}", name, wanted, x, each)


def _infer(
    x: TensorType, gamma: TensorType, beta: TensorType, /, eps: float = 1e-5
) -> tuple[TensorType, TensorType, TensorType]:
    _check("layer_norm", x, gamma, beta)
    return x, _numbers(x), _numbers(x)


def _wide(*arrays: Array) -> tuple[Array, ...]:
    return tuple(each.astype(accumulator(each.dtype), copy=False) for each in arrays)


def _evaluate(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    wide, scale, shift = _wide(x, gamma, beta)
    mean = wide.mean(axis=-1, keepdims=True)
    centred = wide - mean
    rstd = (1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)).astype(wide.dtype)
    y = (centred * rstd * scale + shift).astype(x.dtype, copy=False)
    return y, mean[..., 0], rstd[..., 0]


def _vjp(call: Call, dy: Any, dmean: Any, drstd: Any) -> tuple[Any, ...]:
    """Return what layer_norm_grad gives, and what comes by way of mean and rstd where these are used."""
    x, gamma, _ = call.inputs
    _, mean, rstd = call.outputs
    dx, dgamma, dbeta = layer_norm_grad(dy.astype(x.dtype), x, mean, rstd, gamma)
    by_rstd = _column(drstd * rstd * rstd * rstd) * (_column(mean) - x)
    by_mean = broadcast_to(_column(dmean), x.shape)
    return dx + (by_rstd + by_mean) * (1 / x.shape[-1]), dgamma, dbeta


def _column(numbers: Any) -> Any:
    """Return numbers[...] as [..., 1]."""
    return reshape(numbers, (*numbers.shape, 1))


def _batch(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
    """Normalise the rows of all items at once; then comes what gamma and beta of their own do."""
    if not any(is_batched[1:]):
        return list(layer_norm(*inputs, **attrs))
    x, gamma, beta = all_batched(inputs, is_batched, size)
    one, zero = (filled(x.builder, x.type.with_shape(x.shape[-1:]), number) for number in (1, 0))
    y, mean, rstd = layer_norm(x, one, zero, **attrs)
    vectors = (size, *(1,) * (x.ndim - 2), x.shape[-1])
    return [y * reshape(gamma, vectors) + reshape(beta, vectors), mean, rstd]


layer_norm: Op = Op(
    "layer_norm",
    "*n,n,n->*n,*,*",
    _infer,
    _evaluate,
    _vjp,
    lowering=lowering.layer_norm,
    samples=(sample((3, 4), (4,), (4,)), sample((2, 3, 5), (5,), (5,), eps=0.1)),
    batch=_batch,
)


def _grad_infer(
    dy: TensorType, x: TensorType, mean: TensorType, rstd: TensorType, gamma: TensorType, /
) -> tuple[TensorType, TensorType, TensorType]:
    _check("layer_norm_grad", x, gamma)
    require(dy == x, "layer_norm_grad: dy {} and x {} must have one type", dy, x)
    is_per_row = mean == rstd and mean.shape == x.shape[:-1] and mean.dtype.is_float
    message = "layer_norm_grad: mean {} and rstd {} must be floats, one per row of {}"
    require(is_per_row, message, mean, rstd, x)
    return x, _sums(x), _sums(x)


def _grad_evaluate(dy: Array, x: Array, mean: Array, rstd: Array, gamma: Array) -> tuple[Array, Array, Array]:
    wide_dy, wide_x, scale, mean, rstd = _wide(dy, x, gamma, mean, rstd)
    xhat = (wide_x - mean[..., np.newaxis]) * rstd[..., np.newaxis]
    g = wide_dy * scale
    rest = g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True)
    rows = tuple(range(x.ndim - 1))
    dx = (rstd[..., np.newaxis] * rest).astype(x.dtype, copy=False)
    return dx, np.asarray((wide_dy * xhat).sum(axis=rows)), np.asarray(wide_dy.sum(axis=rows))


def _mean_of(x: Any) -> Any:
    """Return the means of the rows of x as a column."""
    return reduce_mean(x, -1, True)


def _grad_vjp(call: Call, ddx: Any, ddgamma: Any, ddbeta: Any) -> tuple[Any, ...]:
    """Differentiate dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) and the two sums, g = dy * gamma."""
    dy, x, mean, rstd, gamma = call.inputs
    centred, scale = x - _column(mean), _column(rstd)
    xhat, g, a = centred * scale, dy * gamma, ddx * scale
    across, along = _mean_of(g * xhat), _mean_of(a * xhat)
    dg = a - _mean_of(a) - xhat * along
    dxhat = ddgamma * dy - (a * across + g * along)
    drstd = reduce_sum(ddx * (g - _mean_of(g) - xhat * across) + dxhat * centred, -1)
    moved = dxhat * scale
    rows = tuple(range(x.ndim - 1))
    ddy = dg * gamma + ddgamma * xhat + ddbeta
    return ddy, moved, -reduce_sum(moved, -1), drstd, reduce_sum(dg * dy, rows)


def _grad_batch(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
    """Compute with other operators: each item has sums of its own."""
    dy, x, mean, rstd, gamma = all_batched(inputs, is_batched, size)
    gamma = reshape(gamma, (size, *(1,) * (x.ndim - 2), gamma.shape[-1]))
    xhat, g = (x - _column(mean)) * _column(rstd), dy * gamma
    dx = _column(rstd) * (g - _mean_of(g) - xhat * _mean_of(g * xhat))
    rows = tuple(range(1, x.ndim - 1))
    return [dx.astype(x.dtype), reduce_sum(dy * xhat, rows), reduce_sum(dy, rows).astype(mean.dtype)]


layer_norm_grad: Op = Op(
    "layer_norm_grad",
    "*n,*n,*,*,n->*n,n,n",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    lowering=lowering.layer_norm_grad,
    samples=(
        sample((3, 4), (3, 4), (3,), Arg((3,), low=0.5), (4,)),
        sample((2, 2, 3), (2, 2, 3), (2, 2), Arg((2, 2), low=0.5), (3,)),
    ),
    batch=_grad_batch,
)
