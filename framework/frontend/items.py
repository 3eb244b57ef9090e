"""What a `for` goes over: a length and the item of each turn, which may be known at run time only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.frontend.values import Structure, weak_constant
from framework.ir.builder import Builder, Sym
from framework.ir.control import CHECK
from framework.ir.registry import operator
from framework.tensor import Tensor


@dataclass(frozen=True)
class Range(Structure):
    """`range` with a bound that is known at run time."""

    start: Any
    stop: Any
    step: Any


@dataclass(frozen=True)
class Enumerate(Structure):
    """`enumerate` of what may be long or of unknown length."""

    inner: Any
    start: Any


@dataclass(frozen=True)
class Zip(Structure):
    """`zip` of what may be long or of unknown length."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Reversed(Structure):
    """`reversed` of what may be long or of unknown length."""

    inner: Any


@dataclass(frozen=True)
class Unrolled(Structure):
    """What `ops.unroll` gives to a `for`: its turns are written out."""

    inner: Any


LAZY = (Range, Enumerate, Zip, Reversed)


def make_range(builder: Builder, *args: Any) -> Any:
    """Return a range; a bound that is symbolic makes it one of run time."""
    if not any(isinstance(each, Sym) for each in args):
        return range(*args)
    for each in args:
        if isinstance(each, Sym) and (each.type.shape or each.type.dtype.is_float):
            raise DavinciError(f"range: {each.type} is no integer; a bound must be one")
    start, stop, step = (0, *args, 1) if len(args) == 1 else (*args, 1)[:3]
    if isinstance(step, Sym):
        is_legal = operator("not_equal")(step, 0)
        builder.bind(CHECK, [is_legal], {"message": "range() arg 3 must not be zero"})
    return Range(start, stop, step)


def length(value: Any) -> Any:
    """Return how many items there are: a number, or a symbolic one, where less than one means none.

    Raises:
        DavinciError: one cannot go over the value.
    """
    if isinstance(value, Range):
        return _range_length(value)
    if isinstance(value, (Enumerate, Reversed, Unrolled)):
        return length(value.inner)
    if isinstance(value, Zip):
        lengths = [length(each) for each in value.parts]
        unknown = [each for each in lengths if isinstance(each, Sym)]
        fixed = [each for each in lengths if not isinstance(each, Sym)]
        found: Any = min(fixed, default=None)
        for each in unknown:
            found = each if found is None else operator("minimum")(found, each)
        return 0 if found is None else found
    if isinstance(value, (Sym, Tensor)):
        if not value.shape:
            raise DavinciError(f"a tensor {value.type} has no axis to go over")
        return value.shape[0]
    if isinstance(value, (tuple, list, range, str, dict)):
        return len(value)
    raise DavinciError(
        f"a {type(value).__name__} cannot be gone over in compiled code; use range, tensors, tuples, lists, "
        "dicts, enumerate, zip or reversed"
    )


def _range_length(value: Range) -> Any:
    start, stop, step = value.start, value.stop, value.step
    if not isinstance(step, Sym):
        if step == 1:
            return stop - start if not (isinstance(start, int) and start == 0) else stop
        span = stop - start if step > 0 else start - stop
        return (span + (abs(step) - 1)) // abs(step)
    ahead = operator("greater")(step, 0)
    size = operator("abs")(step)
    span = operator("select")(ahead, stop - start, start - stop)
    return (span + size - 1) // size


def is_laid_out(value: Any) -> bool:
    """Tell whether some items are values of the program itself, one by one: those of a tuple or a list."""
    if isinstance(value, (Enumerate, Reversed)):
        return is_laid_out(value.inner)
    if isinstance(value, Zip):
        return any(is_laid_out(each) for each in value.parts)
    return isinstance(value, (tuple, list, str, dict)) and numbers_of(value) is None


def numbers_of(value: Any) -> np.ndarray[Any, Any] | None:
    """Return the items of a tuple or list of two numbers or more, all ints or all floats; else None."""
    if not isinstance(value, (tuple, list)) or len(value) < 2:
        return None
    kinds = {type(each) for each in value}
    return np.asarray(value) if kinds in ({int}, {float}) else None


def item(builder: Builder, value: Any, turn: Any) -> Any:
    """Return the item of a turn, which is a number or a symbolic one."""
    if isinstance(value, Range):
        by_step = turn if isinstance(value.step, int) and value.step == 1 else turn * value.step
        return by_step if isinstance(value.start, int) and value.start == 0 else value.start + by_step
    if isinstance(value, Enumerate):
        number = turn if isinstance(value.start, int) and value.start == 0 else turn + value.start
        return (number, item(builder, value.inner, turn))
    if isinstance(value, Zip):
        return tuple(item(builder, each, turn) for each in value.parts)
    if isinstance(value, Reversed):
        return item(builder, value.inner, length(value.inner) - 1 - turn)
    if isinstance(value, range) and isinstance(turn, Sym):
        return item(builder, Range(value.start, value.stop, value.step), turn)
    if isinstance(value, dict):
        return list(value)[turn]
    if isinstance(turn, Sym) and isinstance(value, (tuple, list)):
        numbers = Sym(builder, builder.constant(np.asarray(value)).atom, weak=True)
        found = operator("index")(numbers, turn, spec=(("at", 0),))
        return Sym(found.builder, found.atom, weak=True)
    if isinstance(value, (Sym, Tensor)):
        if isinstance(turn, Sym):
            return operator("index")(value, turn, spec=(("at", 0),))
        return operator("index")(builder.value(value), spec=(turn,))
    return value[turn]


def laid_out(builder: Builder, value: Any, what: str) -> list[Any]:
    """Return all items, when how many there are is known.

    Raises:
        DavinciError: it is not.
    """
    count = length(value)
    if isinstance(count, Sym):
        raise DavinciError(
            f"{what} goes over a number of items that is known at run time only\n"
            "  rule: its length must be known when compiling\n"
            "  next: write a `for` that updates a tensor: y[i] = ..., or give range known bounds"
        )
    return [item(builder, value, turn) for turn in range(count)]


def counted(builder: Builder, value: Any) -> Any:
    """Return an item with its numbers as numbers of run time, so that equal code serves all."""
    if type(value) in (int, float):
        return weak_constant(builder, value)
    return tuple(counted(builder, each) for each in value) if type(value) is tuple else value
