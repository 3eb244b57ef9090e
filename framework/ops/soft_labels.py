"""Softmax cross-entropy with a probability for every class as the label."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator, dtype
from framework.ir.types import TensorType
from framework.ops.batching import folding
from framework.ops.composed import logsumexp
from framework.ops.lowering import loss as lowering
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.reduction import reduce_sum
from framework.ops.shapes import require

MATRIX = 2  # axes


def _infer(logits: TensorType, labels: TensorType, /) -> tuple[TensorType, TensorType]:
    name = "softmax_cross_entropy_with_logits"
    require(
        logits.ndim == MATRIX and logits.dtype.is_float, "{}: logits {} must be floats [m, n]", name, logits
    )
    require(labels == logits, "{}: labels {} must be probabilities {}", name, labels, logits)
    return TensorType(logits.shape[:1], dtype(accumulator(logits.dtype))), logits


def _evaluate(logits: Array, labels: Array) -> tuple[Array, Array]:
    wide, label = (each.astype(accumulator(each.dtype), copy=False) for each in (logits, labels))
    shifted = wide - wide.max(axis=1, keepdims=True)
    logarithm = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss: Array = -(label * logarithm).sum(axis=1)
    return loss, (np.exp(logarithm) - label).astype(logits.dtype, copy=False)


def _vjp(call: Call, dloss: Any, d: Any) -> tuple[Any, ...]:
    """Return what the loss moves by, dlogits, and what goes through dlogits where that is used."""
    logits, labels = call.inputs
    dlogits = call.outputs[1]
    column = dloss.reshape((dloss.shape[0], 1))
    probability = dlogits + labels
    through = d * probability
    to_logits = column * dlogits + (through - probability * reduce_sum(through, 1, True))
    return to_logits, -(column * (logits - logsumexp(logits, 1, True)) + d)


softmax_cross_entropy_with_logits = Op(
    "softmax_cross_entropy_with_logits",
    "mn,mn->m,mn",
    _infer,
    _evaluate,
    _vjp,
    promotes=True,
    lowering=lowering.softmax_cross_entropy_with_logits,
    samples=(sample((3, 5), Arg((3, 5), low=0.2, high=0.2)),),
    batch=folding("softmax_cross_entropy_with_logits"),
)
"""loss[m] = -sum of labels * ln(softmax(logits)) and dlogits[m, n] = softmax(logits) - labels.

The labels of a row add up to 1.
"""
