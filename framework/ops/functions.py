"""Functions of one number: trigonometric, hyperbolic, exponentials near zero, the error function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from framework.dtypes import accumulator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.batching import elementwise
from framework.ops.elementwise import exp, floating, keeping, meeting, rsqrt
from framework.ops.lowering import Lowering
from framework.ops.op import Arg, Array, Call, Op, sample
from framework.ops.op import Rule as Vjp
from framework.ops.shapes import sum_to


def _function(
    name: str,
    function: Callable[[Array], Any],
    vjp: Vjp,
    between: tuple[float, float] = (-2.0, 2.0),
    lowered: Lowering | None = None,
) -> Op:
    """Return a function of floats; half precision is computed in float32 and rounded once."""

    def evaluate(x: Array) -> Array:
        return np.asarray(function(x.astype(accumulator(x.dtype), copy=False))).astype(x.dtype, copy=False)

    low, high = between
    return Op(
        name, "...->...", floating(name), evaluate, vjp, lowering=lowered,
        samples=(sample(Arg((3, 4), low=low, high=high)),), floats=True, batch=elementwise(name),
    )  # fmt: skip


def _of(derivative: Callable[[Any, Any], Any]) -> Vjp:
    """Return the rule for dy/dx = derivative(x, y)."""
    return lambda call, dy: (dy * derivative(call.inputs[0], call.outputs[0]),)


sin = _function("sin", np.sin, _of(lambda x, y: cos(x)))
cos: Op = _function("cos", np.cos, _of(lambda x, y: -sin(x)))
tan = _function("tan", np.tan, _of(lambda x, y: 1 + y * y), (-1.2, 1.2))
asin = _function("asin", np.arcsin, _of(lambda x, y: rsqrt(1 - x * x)), (-0.8, 0.8))
acos = _function("acos", np.arccos, _of(lambda x, y: -rsqrt(1 - x * x)), (-0.8, 0.8))
atan = _function("atan", np.arctan, lambda call, dy: (dy / (1 + call.inputs[0] * call.inputs[0]),))
sinh = _function("sinh", np.sinh, _of(lambda x, y: cosh(x)))
cosh: Op = _function("cosh", np.cosh, _of(lambda x, y: sinh(x)))
tanh = _function("tanh", np.tanh, _of(lambda x, y: 1 - y * y), lowered=lowering.unary("tanh"))
sigmoid = _function(
    "sigmoid",
    lambda x: 1 / (1 + np.exp(-x)),
    _of(lambda x, y: y * (1 - y)),
    lowered=lowering.unary("sigmoid", keeps_zero=False),
)
softplus = _function(
    "softplus",
    lambda x: np.logaddexp(x, 0, dtype=x.dtype),
    lambda call, dy: (dy * sigmoid(call.inputs[0]),),
    lowered=lowering.unary("softplus", keeps_zero=False),
)
log1p = _function("log1p", np.log1p, lambda call, dy: (dy / (1 + call.inputs[0]),), (-0.5, 2.0))
expm1 = _function("expm1", np.expm1, _of(lambda x, y: y + 1))


def erf_of(x: Array) -> Any:
    """Return the error function of an array."""
    from scipy.special import erf as function

    return function(x)


def _erf_derivative(x: Any, y: Any) -> Any:
    return exp(-(x * x)) * (2 / math.sqrt(math.pi))


erf = _function("erf", erf_of, _of(_erf_derivative))


def _square_infer(x: TensorType, /) -> TensorType:
    return x


square = Op(
    "square",
    "...->...",
    _square_infer,
    lambda x: np.asarray(x * x),
    lambda call, dy: (dy * (call.inputs[0] * 2),),
    lowering=lowering.unary("square"),
    samples=(sample((3, 4)),),
    counts=True,
    batch=elementwise("square"),
)


def _atan2_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    y, x = call.inputs
    scaled = d / (x * x + y * y)
    return sum_to(scaled * x, y.shape), sum_to(-(scaled * y), x.shape)


atan2 = Op(
    "atan2",
    "...,...->...",
    meeting("atan2"),
    keeping(np.arctan2),
    _atan2_vjp,
    samples=(sample((3, 4), (4,)), sample((), (2, 3))),
    promotes=True,
    floats=True,
    batch=elementwise("atan2"),
)
