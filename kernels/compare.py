"""Comparisons of equal shapes: 1 where they hold and 0 elsewhere, in the type of what is compared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vcmpv_eq,
    vcmpv_ge,
    vcmpv_gt,
    vcmpv_le,
    vcmpv_lt,
    vcmpv_ne,
    vector_dup,
    vsel,
)
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
    size, n, slots = size_of(core, shape.dtype), shape.n, tiling.slots
    unit = FAST_BYTES // size
    tile = max(1, tiling.tile // unit) * unit
    pitch = tile * size + REPEAT  # a comparison reads whole repeats
    ub_a, ub_b = alloc(core, UB, slots * pitch, slots), alloc(core, UB, slots * pitch, slots)
    ub_c = alloc(core, UB, slots * pitch, slots)
    bits = alloc(core, UB, ONES + 2 * BLOCK)
    for number in range(2):
        vector_dup(core, bits + ONES + number * BLOCK, 1, 1 - number, shape.dtype, BLOCK // size)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    end = share_end(core, n, unit)
    for i in range(share_start(core, n, unit), end, tile):
        count = min(tile, end - i)
        blocks, taken = (count * size + BLOCK - 1) // BLOCK, fill(core, q_in) * pitch
        data_move(core, ub_a + taken, a + i * size, 1, blocks)
        data_move(core, ub_b + taken, b + i * size, 1, blocks)
        filled(core, q_in)
        use(core, q_in)
        made = ub_c + fill(core, q_out) * pitch
        compare_tile(core, op, made, ub_a + taken, ub_b + taken, bits, count, shape.dtype)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, c + i * size, made, 1, blocks)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


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
