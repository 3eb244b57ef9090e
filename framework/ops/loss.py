"""Softmax cross-entropy with integer labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.array import one_hot, reshape
from framework.ops.batching import folding
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.reduction import reduce_sum
from framework.ops.shapes import require
from framework.ops.softmax import softmax, softmax_of

_LABELS = Arg((3,), "int32", high=5)


def _check(name: str, logits: TensorType, labels: TensorType) -> None:
    require(
        logits.ndim == 2 and logits.dtype.is_float, f"{name}: logits {logits} must be floats of shape [m, n]"
    )
    require(
        labels.shape == logits.shape[:1] and not labels.dtype.is_float,
        f"{name}: labels {labels} must be integers of shape [{logits.shape[0]}], one per row of {logits}",
    )


def _infer(logits: TensorType, labels: TensorType, /) -> TensorType:
    _check("softmax_cross_entropy", logits, labels)
    return logits.with_shape(logits.shape[:1])


def _evaluate(logits: Array, labels: Array) -> Array:
    wide = logits.astype(accumulator(logits.dtype), copy=False)
    shifted = wide - wide.max(axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, labels[:, np.newaxis].astype(np.int64), axis=1)[:, 0]
    loss = np.log(np.exp(shifted).sum(axis=1)) - chosen
    return np.asarray(loss).astype(logits.dtype, copy=False)


def _vjp(call: Call, dloss: Any) -> tuple[Any, ...]:
    logits, labels = call.inputs
    return softmax_cross_entropy_grad(logits, labels, dloss.astype(logits.dtype)), None


softmax_cross_entropy = Op(
    "softmax_cross_entropy",
    "mn,m->m",
    _infer,
    _evaluate,
    _vjp,
    lowering=lowering.softmax_cross_entropy,
    samples=(sample((3, 5), _LABELS),),
    batch=folding("softmax_cross_entropy"),
)


def _grad_infer(logits: TensorType, labels: TensorType, dloss: TensorType, /) -> TensorType:
    _check("softmax_cross_entropy_grad", logits, labels)
    require(
        dloss == logits.with_shape(logits.shape[:1]),
        f"softmax_cross_entropy_grad: dloss {dloss} must be {logits.with_shape(logits.shape[:1])}",
    )
    return logits


def _grad_evaluate(logits: Array, labels: Array, dloss: Array) -> Array:
    probability = softmax_of(logits, axis=1)
    hot = (labels[:, np.newaxis] == np.arange(logits.shape[1])).astype(probability.dtype)
    scaled = (probability - hot) * dloss.astype(probability.dtype)[:, np.newaxis]
    return np.asarray(scaled).astype(logits.dtype, copy=False)


def _grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    logits, labels, dloss = call.inputs
    m, n = logits.shape
    probability = softmax(logits, 1)
    scaled = d * reshape(dloss, (m, 1)) * probability
    dlogits = scaled - probability * reduce_sum(scaled, 1, True)
    return dlogits, None, reduce_sum(d * (probability - one_hot(labels, n, logits.dtype.name)), 1)


softmax_cross_entropy_grad = Op(
    "softmax_cross_entropy_grad",
    "mn,m,m->mn",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    lowering=lowering.softmax_cross_entropy_grad,
    samples=(sample((3, 5), _LABELS, (3,)),),
    batch=folding("softmax_cross_entropy_grad"),
)
