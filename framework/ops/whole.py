"""Operators that know whole numbers: division with a remainder, powers, rounding, signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.ir.types import TensorType
from framework.ops.batching import elementwise
from framework.ops.elementwise import equal, keeping, log, meeting, select
from framework.ops.op import Arg, Array, Call, NoGradient, Op, sample
from framework.ops.shapes import sum_to

_STEPS = "its output is constant between its steps"
_DIVISOR = Arg((4,), low=0.6, high=1.7)

floor_div = Op(
    "floor_div",
    "...,...->...",
    meeting("floor_div"),
    keeping(np.floor_divide),
    NoGradient(_STEPS),
    samples=(sample((3, 4), _DIVISOR), sample(Arg((3, 4), "int32", high=9), Arg((), "int32", high=3))),
    promotes=True,
    counts=True,
    batch=elementwise("floor_div"),
)


def _mod_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    a, b = call.inputs
    return sum_to(dy, a.shape), sum_to(-(dy * floor_div(a, b)), b.shape)


mod = Op(
    "mod",
    "...,...->...",
    meeting("mod"),
    keeping(np.mod),
    _mod_vjp,
    samples=(sample((3, 4), _DIVISOR), sample((3, 1), Arg((2,), low=-2.3, high=-1.1))),
    promotes=True,
    counts=True,
    batch=elementwise("mod"),
)


def _pow(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu" and b.size and b.min() < 0:
        raise DavinciError(
            f"pow: an integer {TensorType.of(a)} is raised to {b.min()}\n"
            "  rule: integers have integers as powers\n  next: cast the base to a float"
        )
    return np.asarray(np.power(a, b)).astype(a.dtype, copy=False)


def _pow_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Return b a^(b-1) and log(a) a^b; where b or a is zero, what these tend to."""
    a, b = call.inputs
    less_one = select(equal(b, 0), b * 0 + 1, b - 1)
    da = dy * b * power(a, less_one)
    db = dy * call.outputs[0] * log(select(equal(a, 0), a * 0 + 1, a))
    return sum_to(da, a.shape), sum_to(db, b.shape)


power = Op(
    "pow",
    "...,...->...",
    meeting("pow"),
    _pow,
    _pow_vjp,
    samples=(
        sample(Arg((3, 4), low=0.5), (4,)),
        sample(Arg((), low=0.5), (2, 3)),
        sample(Arg((3,), "int32", high=5), Arg((2, 1), "int32", high=4)),
    ),
    promotes=True,
    counts=True,
    batch=elementwise("pow"),
    checked=1,
)


def _same(x: TensorType, /) -> TensorType:
    return x


def _step(name: str, function: Callable[..., Any]) -> Op:
    """Return an operator that is constant but for steps."""
    return Op(
        name, "...->...", _same, keeping(function), NoGradient(_STEPS),
        samples=(sample((3, 4)), sample(Arg((3,), "int32", high=5))), counts=True, batch=elementwise(name),
    )  # fmt: skip


def _whole(function: Callable[..., Any]) -> Callable[[Array], Array]:
    """Return a rounding that leaves integers as they are."""
    return lambda x: np.asarray(function(x)) if x.dtype.kind not in "biu" else x


floor = _step("floor", _whole(np.floor))
ceil = _step("ceil", _whole(np.ceil))
round = _step("round", _whole(np.rint))
sign = _step("sign", np.sign)
