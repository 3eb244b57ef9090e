"""What loops in machine code share; only they import it, since Numba takes long to import."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Array = np.ndarray[Any, Any]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def grown(array: Array) -> Array:
    """Return a longer array that starts as this one does."""
    longer = np.empty(2 * array.size + 16, array.dtype)
    longer[: array.size] = array
    return longer


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def grown_ranges(ranges: Array) -> Array:
    """Return more ranges that start as these do."""
    longer = np.empty((2 * ranges.shape[0] + 16, 2), np.int64)
    longer[: ranges.shape[0]] = ranges
    return longer


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def extended(array: Array, used: int, source: Array, start: int, stop: int) -> Array:
    """Return the array, or a longer one, with a part of another after what is used."""
    count = stop - start
    while used + count > array.size:
        array = grown(array)
    for at in range(count):
        array[used + at] = source[start + at]
    return array


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def summed(a: Array, a_start: int, a_stop: int, b: Array, b_start: int) -> Array:
    """Return the sums of two parts of one length."""
    total = np.empty(a_stop - a_start, a.dtype)
    for at in range(total.size):
        total[at] = a[a_start + at] + b[b_start + at]
    return total


@intrinsic  # type: ignore[untyped-decorator]
def loop_at(_: Any, address: Any, args: Any, counts: Any, steps: Any, data: Any) -> Any:
    """Call a loop of a ufunc by its address: `void (char **args, intp *counts, intp *steps, void *data)`."""

    def generate(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 4)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(each, pointer) for each in arguments[1:]])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def unary(loop: Array, values: Array, x: Any) -> Any:
    """Return a ufunc of one value; `values` is room for two of its dtype."""
    values[0] = x
    size, start = values.itemsize, values.ctypes.data
    args = np.array([start, start + size])
    once = np.array([1, size, size])
    loop_at(loop[0], args.ctypes.data, once.ctypes.data, once[1:].ctypes.data, loop[1])
    return values[1]


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def binary(loop: Array, values: Array, x: Any, y: Any) -> Any:
    """Return a ufunc of two values; `values` is room for three of their dtype."""
    values[0], values[1] = x, y
    size, start = values.itemsize, values.ctypes.data
    args = np.array([start, start + size, start + 2 * size])
    once = np.array([1, size, size, size])
    loop_at(loop[0], args.ctypes.data, once.ctypes.data, once[1:].ctypes.data, loop[1])
    return values[2]
