"""What generated source calls while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from framework.ir.evaluate import CheckFailed, placed
from framework.ir.nodes import Binding, Const
from framework.ir.types import TensorType

Value = Any
"""An array or NumPy scalar; a sequence (a stack), a tuple (an env, or None, which is zero), a function."""


def zeros(type_: TensorType) -> Const:
    """Return the constant zero of a type."""
    return Const.of(np.zeros(type_.shape, type_.dtype.numpy))


def aligned(stacks: Sequence[Sequence[Value]], zero: Sequence[Value]) -> tuple[Sequence[Value], ...]:
    """Return stacks of one length: empty ones beside others are filled with zeros.

    >>> aligned(([1, 2], []), (0, 0.5))
    ([1, 2], [0.5, 0.5])
    """
    turns = max(map(len, stacks))
    return tuple(stack if len(stack) else [each] * turns for stack, each in zip(stacks, zero, strict=True))


def accumulated(a: Value, b: Value) -> Value:
    """Return the sum of two cotangents of one type; an empty stack and None are zero.

    A stack of scalars is an array if machine code has made it, else a list.
    """
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, np.ndarray | np.generic) and np.shape(a) == np.shape(b):
        return a + b
    if len(a) == 0 or len(b) == 0:
        return a if len(b) == 0 else b
    found = [accumulated(x, y) for x, y in zip(a, b, strict=True)]
    return tuple(found) if isinstance(a, tuple) else found


def failed(binding: Binding, *shown: Value) -> CheckFailed:
    """Return the error of a condition that does not hold."""
    return CheckFailed(str(binding.attrs["message"]).format(*shown) + placed(binding))
