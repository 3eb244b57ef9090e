"""Batch normalisation of images x[n, c, h, w] by channel: in training with its gradient, and in inference.

Sums and statistics are kept as wide as sums of x are; gamma, beta and the moving averages are vectors [c].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.types import TensorType
from framework.ops.array import reshape
from framework.ops.batching import all_batched, folded, listed, to_front, unfolded
from framework.ops.conv import IMAGE
from framework.ops.elementwise import rsqrt
from framework.ops.lowering import batch_norm as lowering
from framework.ops.op import Arg, Array, Batch, Call, Op, sample
from framework.ops.reduction import reduce_sum
from framework.ops.shapes import require

POSITIONS = (0, 2, 3)
"""The axes that the numbers of a channel lie along."""
_VARIANCE = Arg((3,), low=0.5, high=2.0)


def _check(name: str, x: TensorType, *vectors: TensorType) -> None:
    require(
        len(x.shape) == IMAGE and x.dtype.is_float and x.size > 0,
        "{}: x {} must be floats [n, c, h, w], of at least one position", name, x,
    )  # fmt: skip
    for each in vectors:
        require(
            each.shape == x.shape[1:2] and each.dtype.is_float and each == vectors[0],
            "{}: the numbers by channel of x {} must be floats [{}] of one dtype, found {}",
            name, x, x.shape[1], each,
        )  # fmt: skip


def _count(x: Any) -> int:
    """Return how many numbers a channel has."""
    return int(x.size // x.shape[1])


def _unbiased(x: Any) -> float:
    """Return what makes of a variance of these numbers one of all that they are drawn from."""
    return _count(x) / max(1, _count(x) - 1)


def _wide(x: Array) -> Array:
    return x.astype(accumulator(x.dtype), copy=False)


def _along(vector: Array) -> Array:
    """Return v[c] as [c, 1, 1]."""
    return vector[:, np.newaxis, np.newaxis]


def _channels(vector: Any) -> Any:
    """Return v[c] as [1, c, 1, 1]."""
    return reshape(vector, (1, vector.shape[0], 1, 1))


def _by_channel(name: str, are_images: tuple[bool, ...]) -> Batch:
    """Return the rule for batches: channels are apart from each other anyway, those of all items, too."""

    def joined(x: Sym) -> Sym:
        if x.ndim <= IMAGE:
            return folded(x)  # size c -> size_c
        moved = to_front(x, 1)  # size n c h w -> n size c h w
        n, size, c, h, w = moved.shape
        found: Sym = reshape(moved, (n, size * c, h, w))
        return found

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
        given = [joined(x) for x in all_batched(inputs, is_batched, size)]
        found = listed(operator(name)(*given, **attrs))
        return [
            unfolded(y, size, axis=1 if is_image else 0)
            for y, is_image in zip(found, are_images, strict=True)
        ]

    return rule


def _infer(
    x: TensorType, gamma: TensorType, beta: TensorType, moving_mean: TensorType, moving_variance: TensorType,
    /, momentum: float = 0.9, eps: float = 1e-5,
) -> tuple[TensorType, ...]:  # fmt: skip
    _check("batch_norm", x, gamma, beta, moving_mean, moving_variance)
    return x, gamma, gamma, gamma, gamma


def _evaluate(
    x: Array, gamma: Array, beta: Array, moving_mean: Array, moving_variance: Array,
    momentum: float, eps: float,
) -> tuple[Array, ...]:  # fmt: skip
    wide = _wide(x)
    mean = wide.mean(axis=POSITIONS)
    apart = wide - _along(mean)
    variance = np.square(apart).mean(axis=POSITIONS)
    inverse = 1 / np.sqrt(variance + eps)
    y = apart * _along(_wide(gamma) * inverse) + _along(_wide(beta))
    factor = 1 - momentum
    new_mean = moving_mean + factor * (mean - moving_mean)
    new_variance = moving_variance + factor * (variance * _unbiased(x) - moving_variance)
    numbers = (each.astype(gamma.dtype) for each in (new_mean, new_variance, mean, inverse))
    return y.astype(x.dtype, copy=False), *numbers


def _vjp(call: Call, dy: Any, *dnumbers: Any) -> tuple[Any, ...]:
    """Return what batch_norm_grad gives, and what comes by way of the statistics when these are used."""
    x, gamma = call.inputs[:2]
    mean, inverse = call.outputs[3:]
    dnew_mean, dnew_variance, dmean, dinverse = dnumbers
    momentum = call.attrs["momentum"]
    factor = 1 - momentum
    dx, dgamma, dbeta = batch_norm_grad(dy.astype(x.dtype), x, gamma, mean, inverse)
    dmean = (dmean + dnew_mean * factor) * (1 / _count(x))
    by_inverse = dinverse * inverse * inverse * inverse * -0.5
    dvariance = (by_inverse + dnew_variance * (factor * _unbiased(x))) * (2 / _count(x))
    dx = dx + _channels(dmean) + _channels(dvariance) * (x - _channels(mean))
    return dx, dgamma, dbeta, dnew_mean * momentum, dnew_variance * momentum


batch_norm: Op = Op(
    "batch_norm",
    "nchw,c,c,c,c->nchw,c,c,c,c",
    _infer,
    _evaluate,
    _vjp,
    lowering=lowering.batch_norm,
    samples=(
        sample((2, 3, 4, 2), (3,), (3,), (3,), _VARIANCE, eps=0.1),
        sample((3, 2, 1, 2), (2,), (2,), (2,), Arg((2,), low=0.5), momentum=0.5, eps=0.1),
    ),
    batch=_by_channel("batch_norm", (True, False, False, False, False)),
)


def _grad_infer(
    dy: TensorType, x: TensorType, gamma: TensorType, batch_mean: TensorType, inverse: TensorType, /
) -> tuple[TensorType, ...]:
    _check("batch_norm_grad", x, gamma, batch_mean, inverse)
    require(dy == x, "batch_norm_grad: dy {} and x {} must have one type", dy, x)
    return x, gamma, gamma


def _grad_evaluate(dy: Array, x: Array, gamma: Array, batch_mean: Array, inverse: Array) -> tuple[Array, ...]:
    wide, scale = _wide(dy), _wide(inverse)
    normal = (_wide(x) - _along(_wide(batch_mean))) * _along(scale)
    dbeta, dgamma = wide.sum(axis=POSITIONS), (wide * normal).sum(axis=POSITIONS)
    share = 1 / _count(x)
    rest = wide - _along(dbeta * share) - normal * _along(dgamma * share)
    dx = (rest * _along(_wide(gamma) * scale)).astype(x.dtype, copy=False)
    return dx, dgamma.astype(gamma.dtype), dbeta.astype(gamma.dtype)


def _grad_vjp(call: Call, a: Any, ddgamma: Any, ddbeta: Any) -> tuple[Any, ...]:
    """Differentiate dx = k (dy - dbeta / m - normal dgamma / m) and the two sums, k = gamma inverse.

    The cotangent of dx is a; `along` and `across` are its sums and those of its products with normal.
    """
    dy, x, gamma, mean, inverse = call.inputs
    _, dgamma, dbeta = call.outputs
    share = 1 / _count(x)
    apart = x - _channels(mean)
    normal = apart * _channels(inverse)
    a, dy = a.astype(normal.dtype), dy.astype(normal.dtype)
    along, across = reduce_sum(a, POSITIONS), reduce_sum(a * normal, POSITIONS)
    k = gamma * inverse
    to_dgamma, to_dbeta = ddgamma - k * across * share, ddbeta - k * along * share
    ka = _channels(k) * a
    to_dy = ka + _channels(to_dbeta) + _channels(to_dgamma) * normal
    to_normal = _channels(to_dgamma) * dy - ka * _channels(dgamma * share)
    to_k = reduce_sum(a * dy, POSITIONS) - (along * dbeta + across * dgamma) * share
    to_inverse = reduce_sum(to_normal * apart, POSITIONS) + to_k * gamma
    to_x = to_normal * _channels(inverse)
    return to_dy, to_x, to_k * inverse, -reduce_sum(to_x, POSITIONS), to_inverse


batch_norm_grad: Op = Op(
    "batch_norm_grad",
    "nchw,nchw,c,c,c->nchw,c,c",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    lowering=lowering.batch_norm_grad,
    samples=(sample((2, 3, 2, 2), (2, 3, 2, 2), (3,), (3,), _VARIANCE),),
    batch=_by_channel("batch_norm_grad", (True, False, False)),
)


def _inference_infer(
    x: TensorType, gamma: TensorType, beta: TensorType, mean: TensorType, variance: TensorType, /,
    eps: float = 1e-5,
) -> TensorType:  # fmt: skip
    _check("batch_norm_inference", x, gamma, beta, mean, variance)
    return x


def _inference_evaluate(
    x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, eps: float
) -> Array:
    scale = _wide(gamma) / np.sqrt(_wide(variance) + eps)
    y = (_wide(x) - _along(_wide(mean))) * _along(scale) + _along(_wide(beta))
    return np.asarray(y).astype(x.dtype, copy=False)


def _inference_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    x, gamma, _, mean, variance = call.inputs
    inverse = rsqrt(variance + call.attrs["eps"])
    apart = x - _channels(mean)
    scale = gamma * inverse
    wide = dy.astype(apart.dtype)
    dbeta, by_scale = reduce_sum(wide, POSITIONS), reduce_sum(wide * apart, POSITIONS)
    dvariance = by_scale * scale * inverse * inverse * -0.5
    return dy * _channels(scale), by_scale * inverse, dbeta, -(dbeta * scale), dvariance


batch_norm_inference: Op = Op(
    "batch_norm_inference",
    "nchw,c,c,c,c->nchw",
    _inference_infer,
    _inference_evaluate,
    _inference_vjp,
    lowering=lowering.batch_norm_inference,
    samples=(sample((2, 3, 2, 2), (3,), (3,), (3,), _VARIANCE, eps=0.1),),
    batch=_by_channel("batch_norm_inference", (True,)),
)
