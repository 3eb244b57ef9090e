"""What loops in machine code share; only they import it, since Numba takes long to import."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Array = np.ndarray[Any, Any]
_on_stack: Any = cgutils.alloca_once


@njit(error_model="numpy", cache=True)
def grown(array: Array) -> Array:
    """Return a longer array that starts as this one does."""
    longer = np.empty(2 * array.size + 16, array.dtype)
    longer[: array.size] = array
    return longer


@njit(error_model="numpy", cache=True)
def grown_ranges(ranges: Array) -> Array:
    """Return more ranges that start as these do."""
    longer = np.empty((2 * ranges.shape[0] + 16, 2), np.int64)
    longer[: ranges.shape[0]] = ranges
    return longer


@njit(error_model="numpy", cache=True)
def extended(array: Array, used: int, source: Array, start: int, stop: int) -> Array:
    """Return the array, or a longer one, with a part of another after what is used."""
    count = stop - start
    while used + count > array.size:
        array = grown(array)
    for at in range(count):
        array[used + at] = source[start + at]
    return array


@njit(error_model="numpy", cache=True)
def summed(a: Array, a_start: int, a_stop: int, b: Array, b_start: int) -> Array:
    """Return the sums of two parts of one length."""
    total = np.empty(a_stop - a_start, a.dtype)
    for at in range(total.size):
        total[at] = a[a_start + at] + b[b_start + at]
    return total


def _called(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the call of a ufunc's inner loop for one element, its operands on the stack.

    The loop is `void (char **operands, intp *counts, intp *steps, void *data)`. All steps are zero, as NumPy
    passes them for 0-d arrays: some loops (power) compute otherwise, to the last bit, when they are not.
    """
    address, data, *values = arguments
    pointer, size = ir.IntType(8).as_pointer(), ir.IntType(64)
    slots = [_on_stack(builder, each.type) for each in (*values, values[0])]
    operands = _on_stack(builder, pointer, size=len(slots))
    count, steps = _on_stack(builder, size), _on_stack(builder, size, size=len(slots))
    builder.store(size(1), count)
    for at, slot in enumerate(slots):
        builder.store(builder.bitcast(slot, pointer), builder.gep(operands, [size(at)]))
        builder.store(size(0), builder.gep(steps, [size(at)]))
    for value, slot in zip(values, slots, strict=False):
        builder.store(value, slot)
    kind = ir.FunctionType(ir.VoidType(), [operands.type, count.type, steps.type, pointer])
    function = builder.inttoptr(address, kind.as_pointer())
    builder.call(function, [operands, count, steps, builder.inttoptr(data, pointer)])
    return builder.load(slots[-1])


@intrinsic
def unary(_: Any, address: Any, data: Any, x: Any) -> Any:
    """Return a ufunc of one value, by the address of its loop and of the loop's data."""
    return x(types.int64, types.int64, x), _called


@intrinsic
def binary(_: Any, address: Any, data: Any, x: Any, y: Any) -> Any:
    """Return a ufunc of two values of one type."""
    return x(types.int64, types.int64, x, x), _called


@intrinsic
def is_interrupted(_: Any, address: Any) -> Any:
    """Call `int PyOS_InterruptOccurred(void)` by its address: whether the user has asked to stop."""

    def called(__: Any, builder: Any, ___: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])

    return types.int32(types.int64), called
