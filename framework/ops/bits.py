"""Operators on the bits of integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.ir.types import TensorType
from framework.ops.batching import elementwise
from framework.ops.elementwise import keeping, meeting
from framework.ops.op import Arg, Array, NoGradient, Op, sample

_A, _B = Arg((3, 4), "int32", high=16), Arg((4,), "int32", high=5)


def _require_integers(name: str, x: TensorType) -> None:
    if x.dtype.is_float:
        raise DavinciError(
            f"{name}: {x} has no bits\n  rule: integers and booleans have\n  next: cast it to int32"
        )


def _infer(name: str) -> Callable[[TensorType, TensorType], TensorType]:
    met = meeting(name)

    def infer(a: TensorType, b: TensorType, /) -> TensorType:
        _require_integers(name, a)
        return met(a, b)

    return infer


def _bitwise(name: str, function: Callable[..., Any], checked: int | None = None) -> Op:
    return Op(
        name, "...,...->...", _infer(name), keeping(function), NoGradient("it gives integers"),
        samples=(sample(_A, _B), sample(_B, Arg((), "int32", high=3))), promotes=True,
        counts=checked is not None, batch=elementwise(name), checked=checked,
    )  # fmt: skip


def _shift(name: str, function: Callable[..., Any]) -> Op:
    """Return a shift; as in Python it goes by a number of bits that is not negative."""

    def shifted(a: Array, b: Array) -> Any:
        if b.size and b.min() < 0:
            raise DavinciError(
                f"{name}: by {b.min()} bits\n  rule: the number of bits is not negative\n"
                "  next: shift the other way"
            )
        return function(a, b)

    return _bitwise(name, shifted, checked=1)


def _not_infer(x: TensorType, /) -> TensorType:
    _require_integers("bitwise_not", x)
    return x


bitwise_and = _bitwise("bitwise_and", np.bitwise_and)
bitwise_or = _bitwise("bitwise_or", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor)
left_shift = _shift("left_shift", np.left_shift)
right_shift = _shift("right_shift", np.right_shift)
bitwise_not = Op(
    "bitwise_not",
    "...->...",
    _not_infer,
    keeping(np.invert),
    NoGradient("it gives integers"),
    samples=(sample(_A),),
    batch=elementwise("bitwise_not"),
)
