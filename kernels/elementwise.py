"""Element-wise arithmetic: two sources with broadcasting, and one source.

Tiles come to UB, the vector unit works, tiles leave, each hand-off with `slots` buffers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    FP32,
    UB,
    Operand,
    alloc,
    emits,
    flat_binary,
    flat_scale,
    flat_unary,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
    vector_dup,
    vmax,
)
from kernels.lang.flat import ABS, ADD, DIV, EXP, LN, MAX, MIN, MUL, REC, RELU, RSQRT, SQRT, SUB
from kernels.pieces.broadcast_axes import two_sources
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.tiling.binary import BinaryShape, BinaryTiling, FloatBinaryShape
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
NEG, SQUARE, NOT = RELU + 1, RELU + 2, RELU + 3
BLOCK, LINE = 32, 256


def _binary_operands(shape: BinaryShape) -> tuple[Operand, ...]:
    a, b = Operand("a", shape.a_shape, shape.dtype), Operand("b", shape.b_shape, shape.dtype)
    return a, b, output("c", shape.c_shape, shape.dtype)


def _binary_reference(function: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array]]:
    def reference(shape: BinaryShape, a: Array, b: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return (function(a, shape.aligned(b)),)

    return reference


def _binary(
    function: Callable[[Array, Array], Array], shape: type[BinaryShape] = BinaryShape
) -> Callable[[Callable[..., None]], Any]:
    return kernel(shape, BinaryTiling, _binary_operands, _binary_reference(function))


@_binary(np.add)
def add(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] + b[n]; or b[1], a row or a column by `pattern`."""
    two_sources(core, ADD, a, b, c, shape, tiling)


@_binary(np.subtract)
def sub(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] - b[n]; or b[1], a row or a column by `pattern`."""
    two_sources(core, SUB, a, b, c, shape, tiling)


@_binary(np.multiply)
def mul(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] * b[n]; or b[1], a row or a column by `pattern`."""
    two_sources(core, MUL, a, b, c, shape, tiling)


@_binary(np.divide, FloatBinaryShape)
def div(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] / b[n]; or b[1], a row or a column by `pattern`."""
    two_sources(core, DIV, a, b, c, shape, tiling)


@_binary(np.maximum)
def maximum(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = the larger of a[n] and b[n]; or b[1], a row or a column by `pattern`."""
    two_sources(core, MAX, a, b, c, shape, tiling)


@_binary(np.minimum)
def minimum(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = the smaller of a[n] and b[n]; or b[1], a row or a column by `pattern`."""
    two_sources(core, MIN, a, b, c, shape, tiling)


@emits
def wide_relu(core: Any, dst: int, x: int, zero: int, n: int) -> None:
    """dst[n] = max(x[n], 0) in fp32, of which gen-1 chips have no vrelu; zero is a block of zeros."""
    lanes, done = LINE // 4, 0
    while done < n:
        repeat, at = max(1, min(255, (n - done) // lanes)), done * 4
        mask = min(lanes, n - done)
        vmax(core, dst + at, x + at, zero, repeat, FP32, mask, 1, 1, 0, 8, 8, 0)
        done += repeat * lanes


@emits
def one_source(core: Any, op: int, made: int, x: int, zero: int, n: int, dtype: int) -> None:
    """Set made[n] = op(x[n]) in UB; zero is a block of zeros where `wide_relu` needs one."""
    if op == NEG:
        flat_scale(core, made, x, n, -1.0, 0.0, dtype)
    elif op == NOT:
        flat_scale(core, made, x, n, -1.0, 1.0, dtype)
    elif op == SQUARE:
        flat_binary(core, MUL, made, x, x, n, dtype)
    elif op == RELU and dtype == FP32:
        wide_relu(core, made, x, zero, n)
    else:
        flat_unary(core, op, made, x, n, dtype)


@emits
def stream_unary(core: Any, op: int, x: int, y: int, n: int, dtype: int, tile: int, slots: int) -> None:
    """Compute y[n] = op(x[n]) for this block's share."""
    size, zero_bytes = size_of(core, dtype), BLOCK if op == RELU and dtype == FP32 else 0
    s, unit = open_stream(core, 1, tile, size, slots), FAST_BYTES // size
    zero = alloc(core, UB, zero_bytes)
    if zero_bytes > 0:
        vector_dup(core, zero, 1, 0.0, dtype, BLOCK // size)
    end = share_end(core, n, unit)
    for i in range(share_start(core, n, unit), end, s.tile):
        count = min(s.tile, end - i)
        taken = bring(core, s, x, x, x, i, count)
        made = room(core, s)
        one_source(core, op, made, taken, zero, count, dtype)
        release(core, s)
        send(core, s, y, made, i, count)
    close_stream(core, s)


def _unary(function: Callable[[Array], Array]) -> Callable[[Callable[..., None]], Any]:
    def reference(shape: FlatShape, x: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return (function(x.astype(np.float64)).astype(x.dtype),)

    def operands(shape: FlatShape) -> tuple[Operand, ...]:
        return Operand("x", (shape.n,), shape.dtype), output("y", (shape.n,), shape.dtype)

    return kernel(FlatShape, FlatTiling, operands, reference)


@_unary(lambda x: np.maximum(x, 0))
def relu(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = max(x[n], 0)."""
    stream_unary(core, RELU, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(np.exp)
def exp(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = e ** x[n]."""
    stream_unary(core, EXP, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(np.log)
def log(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = natural logarithm of x[n]."""
    stream_unary(core, LN, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(np.negative)
def neg(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = -x[n]."""
    stream_unary(core, NEG, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(np.abs)
def abs(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = |x[n]|."""
    stream_unary(core, ABS, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(np.sqrt)
def sqrt(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = square root of x[n]."""
    stream_unary(core, SQRT, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(lambda x: 1 / np.sqrt(x))
def rsqrt(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = 1 / square root of x[n]."""
    stream_unary(core, RSQRT, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(lambda x: 1 / x)
def reciprocal(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = 1 / x[n]."""
    stream_unary(core, REC, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(np.square)
def square(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] * x[n]."""
    stream_unary(core, SQUARE, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)


@_unary(lambda x: 1 - x)
def logical_not(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = 1 - x[n]: of truths, which are 1 or 0; `minimum` is their and, `maximum` their or."""
    stream_unary(core, NOT, x, y, shape.n, shape.dtype, tiling.tile, tiling.slots)
