"""Comparisons of equal shapes: 1 where they hold and 0 elsewhere, in the type of what is compared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    UB,
    Operand,
    alloc,
    emits,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
    vcmpv_eq,
    vcmpv_ge,
    vcmpv_gt,
    vcmpv_le,
    vcmpv_lt,
    vcmpv_ne,
    vector_dup,
    vsel,
)
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
BLOCK, REPEAT, MAX_REPEAT = 32, 256, 255
ONES = (MAX_REPEAT + 1) * BLOCK // 2
"""Where the block of ones begins behind the bits, 16 bytes a repeat; that of zeros follows."""
EQ, NE, LT, LE, GT, GE = range(6)


@dataclass(frozen=True)
class CompareShape(FlatShape):
    """n numbers of a and of b."""

    LIVE: ClassVar[int] = 3


@emits
def compare(core: Any, op: int, bits: int, a: int, b: int, repeat: int, dtype: int) -> None:
    """Write a bit per lane of contiguous repeats."""
    if op == EQ:
        vcmpv_eq(core, bits, a, b, repeat, dtype)
    elif op == NE:
        vcmpv_ne(core, bits, a, b, repeat, dtype)
    elif op == LT:
        vcmpv_lt(core, bits, a, b, repeat, dtype)
    elif op == LE:
        vcmpv_le(core, bits, a, b, repeat, dtype)
    elif op == GT:
        vcmpv_gt(core, bits, a, b, repeat, dtype)
    else:
        vcmpv_ge(core, bits, a, b, repeat, dtype)


@emits
def compare_tile(core: Any, op: int, made: int, a: int, b: int, bits: int, n: int, dtype: int) -> None:
    """Set made[n] to 1 or 0; behind the bits lie a block of ones and one of zeros."""
    lanes, ones = REPEAT // size_of(core, dtype), bits + ONES
    done = 0
    while done < n:
        repeat = max(1, min(MAX_REPEAT, (n - done) // lanes))
        at, mask = done // lanes * REPEAT, min(lanes, n - done)
        compare(core, op, bits, a + at, b + at, repeat, dtype)
        vsel(core, made + at, ones, ones + BLOCK, repeat, bits, dtype, mask, 1, 0, 0, 8, 0, 0)
        done += repeat * lanes


@emits
def stream_compare(core: Any, op: int, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """Compare this block's share, tile by tile."""
    size = size_of(core, shape.dtype)
    s, unit = open_stream(core, 2, tiling.tile, size, tiling.slots, 1), FAST_BYTES // size
    bits = alloc(core, UB, ONES + 2 * BLOCK)
    for number in range(2):
        vector_dup(core, bits + ONES + number * BLOCK, 1, 1 - number, shape.dtype, BLOCK // size)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, s.tile):
        count = min(s.tile, end - i)
        taken = bring(core, s, a, b, b, i, count)
        made = room(core, s)
        compare_tile(core, op, made, taken, taken + s.pitch, bits, count, shape.dtype)
        release(core, s)
        send(core, s, c, made, i, count)
    close_stream(core, s)


def _comparison(function: Callable[[Array, Array], Array]) -> Callable[[Callable[..., None]], Any]:
    def operands(shape: CompareShape) -> tuple[Operand, ...]:
        given = (Operand(name, (shape.n,), shape.dtype, between=(0, 5), is_whole=True) for name in "ab")
        return *given, output("c", (shape.n,), shape.dtype)

    def reference(shape: CompareShape, a: Array, b: Array) -> tuple[Array]:
        return (function(a, b).astype(a.dtype),)

    return kernel(CompareShape, FlatTiling, operands, reference)


@_comparison(np.equal)
def equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] == b[n], 0 elsewhere."""
    stream_compare(core, EQ, a, b, c, shape, tiling)


@_comparison(np.not_equal)
def not_equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] != b[n], 0 elsewhere."""
    stream_compare(core, NE, a, b, c, shape, tiling)


@_comparison(np.less)
def less(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] < b[n], 0 elsewhere."""
    stream_compare(core, LT, a, b, c, shape, tiling)


@_comparison(np.less_equal)
def less_equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] <= b[n], 0 elsewhere."""
    stream_compare(core, LE, a, b, c, shape, tiling)


@_comparison(np.greater)
def greater(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] > b[n], 0 elsewhere."""
    stream_compare(core, GT, a, b, c, shape, tiling)


@_comparison(np.greater_equal)
def greater_equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] >= b[n], 0 elsewhere."""
    stream_compare(core, GE, a, b, c, shape, tiling)
