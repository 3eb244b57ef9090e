"""GELU: x times the probability that a standard normal number is below it, exactly or in the tanh form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.batching import elementwise, together
from framework.ops.elementwise import exp, floating
from framework.ops.functions import erf_of, tanh
from framework.ops.op import Array, Call, Op, sample
from framework.ops.shapes import require

RATE, CUBIC = math.sqrt(2 / math.pi), 0.044715
"""gelu(x) is about x / 2 * (1 + tanh(RATE * (x + CUBIC * x ** 3))).

Source: Hendrycks and Gimpel, "Gaussian error linear units", arXiv 1606.08415.
"""
_SAMPLES: tuple[dict[str, bool], ...] = ({}, {"approximate": True})


def _infer(x: TensorType, /, approximate: bool = False) -> TensorType:
    return floating("gelu")(x)


def _evaluate(x: Array, approximate: bool) -> Array:
    wide = x.astype(accumulator(x.dtype), copy=False)
    inner = np.tanh(RATE * (wide + CUBIC * wide**3)) if approximate else erf_of(wide * math.sqrt(0.5))
    return np.asarray(0.5 * wide * (1 + inner)).astype(x.dtype, copy=False)


def _vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    (x,) = call.inputs
    return (gelu_grad(dy.astype(x.dtype), x, **call.attrs),)


gelu: Op = Op(
    "gelu",
    "...->...",
    _infer,
    _evaluate,
    _vjp,
    lowering=lowering.gelu,
    samples=tuple(sample((3, 4), **attrs) for attrs in _SAMPLES),
    floats=True,
    batch=elementwise("gelu"),
)


def _grad_infer(dy: TensorType, x: TensorType, /, approximate: bool = False) -> TensorType:
    require(dy == x, "gelu_grad: dy {} and x {} must have one type", dy, x)
    return floating("gelu_grad")(x)


def _grad_evaluate(dy: Array, x: Array, approximate: bool) -> Array:
    wide = x.astype(accumulator(x.dtype), copy=False)
    if approximate:
        inner = np.tanh(RATE * (wide + CUBIC * wide**3))
        rate = RATE * (1 + 3 * CUBIC * wide * wide)
        slope = 0.5 * (1 + inner) + 0.5 * wide * (1 - inner * inner) * rate
    else:
        density = np.exp(-0.5 * wide * wide) / math.sqrt(2 * math.pi)
        slope = 0.5 * (1 + erf_of(wide * math.sqrt(0.5))) + wide * density
    return np.asarray(dy.astype(wide.dtype, copy=False) * slope).astype(x.dtype, copy=False)


def _bend(x: Any, approximate: bool) -> Any:
    """Return the second derivative of gelu."""
    square = x * x
    if not approximate:
        return exp(square * -0.5) * (2 - square) * (1 / math.sqrt(2 * math.pi))
    inner = tanh((x + square * x * CUBIC) * RATE)
    rate, left = (square * (3 * CUBIC) + 1) * RATE, 1 - inner * inner
    return left * (rate + x * (x * (3 * CUBIC * RATE) - inner * rate * rate))


def _grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    dy, x = call.inputs
    return gelu_grad(d.astype(x.dtype), x, **call.attrs), d * dy * _bend(x, call.attrs["approximate"])


gelu_grad: Op = Op(
    "gelu_grad",
    "...,...->...",
    _grad_infer,
    _grad_evaluate,
    _grad_vjp,
    lowering=lowering.gelu_grad,
    samples=tuple(sample((3, 4), (3, 4), **attrs) for attrs in _SAMPLES),
    batch=together("gelu_grad"),
)
