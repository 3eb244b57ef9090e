"""What generated source calls while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from framework.ir.evaluate import CheckFailed, placed
from framework.ir.lanes import Envs, added_envs
from framework.ir.nodes import Binding, Const
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]
Evaluate = Callable[..., Array]
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
    if isinstance(a, tuple | Envs):
        return added_envs(a, b, accumulated)
    if isinstance(a, np.ndarray | np.generic) and np.shape(a) == np.shape(b):
        return a + b
    if len(a) == 0 or len(b) == 0:
        return a if len(b) == 0 else b
    return [accumulated(x, y) for x, y in zip(a, b, strict=True)]


def chosen(careful: Evaluate, x: Array, place: Any, *indices: Value) -> Value:
    """Return x[place]; what is outside of x is told with care."""
    try:
        return x[place]
    except IndexError:
        return careful(x, *map(np.asarray, indices))


def index_added(careful: Evaluate, x: Array, y: Value, place: Any, *indices: Value) -> Array:
    """Return x with y added at a place: x itself if nobody else has it."""
    if _is_shared(x) or x.dtype != y.dtype:
        return careful(x, *map(np.asarray, (y, *indices)))
    try:
        x[place] += y
    except IndexError:
        return careful(x, *map(np.asarray, (y, *indices)))
    return x


def index_updated(careful: Evaluate, x: Array, y: Value, place: Any, *indices: Value) -> Array:
    """Return x with y at a place: x itself if nobody else has it."""
    if _is_shared(x) or x.dtype != y.dtype:
        return careful(x, *map(np.asarray, (y, *indices)))
    try:
        x[place] = y
    except IndexError:
        return careful(x, *map(np.asarray, (y, *indices)))
    return x


def _is_shared(x: Array) -> bool:
    """Tell whether anything but the variable that a caller of our caller has it in holds an array.

    Views hold what they show, constants and arguments are held by whoever gave them. The variable is one that
    nothing reads again.
    """
    return sys.getrefcount(x) > _REFERENCES or not x.flags.owndata or not x.flags.writeable


def _references_of_one_variable() -> int:
    """Return what `_is_shared` counts for an array that one variable has: it depends on Python's version."""

    def counted(x: Array) -> int:
        return _count(x)

    def _count(x: Array) -> int:
        return sys.getrefcount(x)

    variable = np.zeros(1)
    return counted(variable)


_REFERENCES = min(4, _references_of_one_variable())
"""At most what they are in Python 3.11: a debugger that looks on while they are counted holds some, too."""


def failed(binding: Binding, *shown: Value) -> CheckFailed:
    """Return the error of a condition that does not hold."""
    return CheckFailed(str(binding.attrs["message"]).format(*shown) + placed(binding))
