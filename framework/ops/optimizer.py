"""Updates of weights, and what is asked of all gradients at once: norms, and whether they are finite.

Weights, gradients and moments have one type; learning rates and powers are scalars that change from step to
step, all else is an attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from framework import dtypes
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.batching import all_batched
from framework.ops.op import Arg, Array, Batch, Call, NoGradient, Op, sample
from framework.ops.reduction import reduce_sum
from framework.ops.shapes import require

_RATE, _POWER = Arg((), low=0.1, high=0.5), Arg((), low=0.8, high=0.9)
_POSITIVE = Arg((3, 4), low=0.0, high=2.0)
_LAST = NoGradient("the step of an optimiser is the end of what is differentiated")


def _check(name: str, full: tuple[TensorType, ...], scalars: tuple[TensorType, ...]) -> None:
    """Refuse weights, moments and gradients of several types, and numbers with axes."""
    types = ", ".join(map(str, full))
    require(len(set(full)) == 1, f"{name}: weight, moments and gradient must have one type, not {types}")
    require(full[0].dtype.is_float, f"{name}: {full[0]} must be floats")
    for each in scalars:
        require(each.shape == (), f"{name}: the learning rate {each} must be a scalar")


def _update_batch(name: str, full: int) -> Batch:
    """Return the rule that updates all weights of a batch at once; rates of their own go one by one."""

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym] | None:
        if any(is_batched[full:]):
            return None
        found = _BY_ELEMENT[name](
            *all_batched(inputs[:full], is_batched[:full], size), *inputs[full:], **attrs
        )
        return list(found) if isinstance(found, tuple) else [found]

    return rule


def _item_by_item(*_: Any) -> None:
    """Know no way for a batch: what is computed belongs to a whole tensor."""


def _momentum_infer(
    w: TensorType, m: TensorType, g: TensorType, learning_rate: TensorType, /, momentum: float
) -> tuple[TensorType, TensorType]:
    _check("apply_momentum", (w, m, g), (learning_rate,))
    return w, m


def _momentum_evaluate(
    w: Array, m: Array, g: Array, learning_rate: Array, momentum: float
) -> tuple[Array, Array]:
    m_new = m * w.dtype.type(momentum) + g
    return w - learning_rate.astype(w.dtype) * m_new, m_new


def _momentum_vjp(call: Call, dw: Any, dm: Any) -> tuple[Any, ...]:
    learning_rate = call.inputs[3]
    m_total = dm - learning_rate * dw
    return dw, m_total * call.attrs["momentum"], m_total, -reduce_sum(dw * call.outputs[1], None)


apply_momentum = Op(
    "apply_momentum",
    "...,...,...,->...,...",
    _momentum_infer,
    _momentum_evaluate,
    _momentum_vjp,
    lowering=lowering.apply_momentum,
    samples=(sample((3, 4), (3, 4), (3, 4), _RATE, momentum=0.9),),
    batch=_update_batch("apply_momentum", 3),
)


def _decay_infer(
    w: TensorType,
    m: TensorType,
    g: TensorType,
    learning_rate: TensorType,
    /,
    momentum: float,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[TensorType, TensorType]:
    _check("apply_momentum_decay", (w, m, g), (learning_rate,))
    return w, m


def _decay_evaluate(
    w: Array, m: Array, g: Array, learning_rate: Array, momentum: float, weight_decay: float, nesterov: bool
) -> tuple[Array, Array]:
    number = w.dtype.type
    slope = g + number(weight_decay) * w
    m_new = m * number(momentum) + slope
    step = number(momentum) * m_new + slope if nesterov else m_new
    return w - learning_rate.astype(w.dtype) * step, m_new


apply_momentum_decay = Op(
    "apply_momentum_decay",
    "...,...,...,->...,...",
    _decay_infer,
    _decay_evaluate,
    _LAST,
    lowering=lowering.apply_momentum_decay,
    samples=(sample((3, 4), (3, 4), (3, 4), _RATE, momentum=0.9, weight_decay=0.01, nesterov=True),),
    batch=_update_batch("apply_momentum_decay", 3),
)


def _sgd_infer(
    w: TensorType, g: TensorType, learning_rate: TensorType, /, weight_decay: float = 0.0
) -> TensorType:
    _check("apply_sgd", (w, g), (learning_rate,))
    return w


def _sgd_evaluate(w: Array, g: Array, learning_rate: Array, weight_decay: float) -> Array:
    return np.asarray(w - learning_rate.astype(w.dtype) * (g + w.dtype.type(weight_decay) * w))


apply_sgd = Op(
    "apply_sgd",
    "...,...,->...",
    _sgd_infer,
    _sgd_evaluate,
    _LAST,
    lowering=lowering.apply_sgd,
    samples=(sample((3, 4), (3, 4), _RATE, weight_decay=0.01),),
    batch=_update_batch("apply_sgd", 2),
)


def _moved(m: Array, v: Array, g: Array, beta1: float, beta2: float) -> tuple[Array, Array]:
    """Return the next first and second moments."""
    number = g.dtype.type
    return (
        number(beta1) * m + number(1 - beta1) * g,
        number(beta2) * v + number(1 - beta2) * g * g,
    )


def _adam_infer(  # noqa: PLR0913, PLR0917 - an operand each
    w: TensorType,
    m: TensorType,
    v: TensorType,
    g: TensorType,
    beta1_power: TensorType,
    beta2_power: TensorType,
    learning_rate: TensorType,
    /,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    nesterov: bool = False,
) -> tuple[TensorType, TensorType, TensorType]:
    _check("apply_adam", (w, m, v, g), (beta1_power, beta2_power, learning_rate))
    return w, m, v


def _adam_evaluate(  # noqa: PLR0913, PLR0917 - an operand each
    w: Array, m: Array, v: Array, g: Array, beta1_power: Array, beta2_power: Array, learning_rate: Array,
    beta1: float, beta2: float, epsilon: float, nesterov: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    number = w.dtype.type
    first, second = _moved(m, v, g, beta1, beta2)
    rate = (learning_rate * np.sqrt(1 - beta2_power) / (1 - beta1_power)).astype(w.dtype)
    step = number(beta1) * first + number(1 - beta1) * g if nesterov else first
    return w - rate * step / (np.sqrt(second) + number(epsilon)), first, second


apply_adam = Op(
    "apply_adam",
    "...,...,...,...,,,->...,...,...",
    _adam_infer,
    _adam_evaluate,
    _LAST,
    lowering=lowering.apply_adam,
    samples=(sample((3, 4), (3, 4), _POSITIVE, (3, 4), _POWER, _POWER, _RATE),),
    batch=_update_batch("apply_adam", 4),
)


def _adamw_infer(  # noqa: PLR0913, PLR0917 - an operand each
    w: TensorType,
    m: TensorType,
    v: TensorType,
    g: TensorType,
    beta1_power: TensorType,
    beta2_power: TensorType,
    learning_rate: TensorType,
    /,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[TensorType, TensorType, TensorType]:
    _check("apply_adamw", (w, m, v, g), (beta1_power, beta2_power, learning_rate))
    return w, m, v


def _adamw_evaluate(  # noqa: PLR0913, PLR0917 - an operand each
    w: Array, m: Array, v: Array, g: Array, beta1_power: Array, beta2_power: Array, learning_rate: Array,
    weight_decay: float, beta1: float, beta2: float, epsilon: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    kept = w * (1 - learning_rate * weight_decay).astype(w.dtype)
    powers = (beta1_power, beta2_power, learning_rate)
    return _adam_evaluate(kept, m, v, g, *powers, beta1, beta2, epsilon, nesterov=False)


apply_adamw = Op(
    "apply_adamw",
    "...,...,...,...,,,->...,...,...",
    _adamw_infer,
    _adamw_evaluate,
    _LAST,
    lowering=lowering.apply_adamw,
    samples=(sample((3, 4), (3, 4), _POSITIVE, (3, 4), _POWER, _POWER, _RATE),),
    batch=_update_batch("apply_adamw", 4),
)


def _lamb_infer(  # noqa: PLR0913, PLR0917 - an operand each
    w: TensorType,
    m: TensorType,
    v: TensorType,
    g: TensorType,
    beta1_power: TensorType,
    beta2_power: TensorType,
    learning_rate: TensorType,
    /,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-6,
) -> tuple[TensorType, TensorType, TensorType]:
    _check("apply_lamb", (w, m, v, g), (beta1_power, beta2_power, learning_rate))
    return w, m, v


def _lamb_evaluate(  # noqa: PLR0913, PLR0917 - an operand each
    w: Array, m: Array, v: Array, g: Array, beta1_power: Array, beta2_power: Array, learning_rate: Array,
    weight_decay: float, beta1: float, beta2: float, epsilon: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    number = w.dtype.type
    first, second = _moved(m, v, g, beta1, beta2)
    corrected = (number(1) - beta1_power.astype(w.dtype)), (number(1) - beta2_power.astype(w.dtype))
    step = first / corrected[0] / (np.sqrt(second / corrected[1]) + number(epsilon))
    u = step + number(weight_decay) * w
    norms = [np.sqrt(np.square(x, dtype=np.float64).sum()) for x in (w, u)]
    ratio = norms[0] / norms[1] if min(norms) > 0 else 1.0
    return w - (learning_rate * ratio).astype(w.dtype) * u, first, second


apply_lamb = Op(
    "apply_lamb",
    "***,***,***,***,,,->***,***,***",
    _lamb_infer,
    _lamb_evaluate,
    _LAST,
    lowering=lowering.apply_lamb,
    samples=(sample((3, 4), (3, 4), _POSITIVE, (3, 4), _POWER, _POWER, _RATE),),
    batch=_item_by_item,
)

_BY_ELEMENT: dict[str, Op] = {
    op.name: op for op in (apply_momentum, apply_momentum_decay, apply_sgd, apply_adam, apply_adamw)
}


def _total_infer(name: str, dtype: str) -> Callable[..., TensorType]:
    """Return the rule of what makes one number of any number of tensors of floats."""

    def infer(*tensors: TensorType) -> TensorType:
        require(len(tensors) > 0, f"{name}: there must be a tensor")
        for each in tensors:
            require(each.dtype.is_float, f"{name}: {each} must be floats")
        return TensorType((), dtypes.dtype(dtype))

    return infer


_STATUS = np.float32(1).view(np.int32)
"""What the device writes where a number is not finite: the bits of 1.0, which the task scheduler compares."""


def _status_evaluate(*tensors: Array) -> Array:
    is_finite = all(bool(np.isfinite(each).all()) for each in tensors)
    return np.asarray(0 if is_finite else _STATUS, dtype=np.int32)


float_status = Op(
    "float_status",
    "*->",
    _total_infer("float_status", "int32"),
    _status_evaluate,
    NoGradient("whether numbers are finite is no number that moves"),
    lowering=lowering.float_status,
    samples=(sample((3, 4), (5,)), sample((2, 3))),
    batch=_item_by_item,
)
"""0 where all numbers of all tensors are finite, else the bits of 1.0."""


def _norm_evaluate(*tensors: Array) -> Array:
    squares = sum(float(np.square(each, dtype=np.float64).sum()) for each in tensors)
    return np.asarray(np.sqrt(squares), dtype=np.float32)


global_norm = Op(
    "global_norm",
    "*->",
    _total_infer("global_norm", "float32"),
    _norm_evaluate,
    NoGradient("the norm that gradients are clipped by counts as a number"),
    lowering=lowering.global_norm,
    samples=(sample((3, 4), (5,)), sample((2, 3))),
    batch=_item_by_item,
)
"""The root of the sum of the squares of all elements of all tensors."""


def _clip_infer(g: TensorType, norm: TensorType, /, clip_norm: float = 1.0) -> TensorType:
    require(g.dtype.is_float, f"clip_by_norm: {g} must be floats")
    require(norm.shape == (), f"clip_by_norm: the norm {norm} must be a scalar")
    return g


def _clip_evaluate(g: Array, norm: Array, clip_norm: float) -> Array:
    return np.asarray(g * (clip_norm / np.maximum(norm, clip_norm)).astype(g.dtype))


clip_by_norm = Op(
    "clip_by_norm",
    "...,->...",
    _clip_infer,
    _clip_evaluate,
    NoGradient("what is clipped is the gradient itself"),
    lowering=lowering.clip_by_norm,
    samples=(sample((3, 4), Arg((), low=0.5, high=2.0), clip_norm=1.0),),
    batch=_item_by_item,
)
