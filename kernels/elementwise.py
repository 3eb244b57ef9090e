"""Element-wise arithmetic: two sources with broadcasting, and one source.

Tiles come to UB, the vector unit works, tiles leave, each hand-off with `slots` buffers.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FAST_BYTES,
    FP16,
    FP32,
    INT32,
    UB,
    Operand,
    Shape,
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
from kernels.pieces.broadcast import AXES, COLUMN, NUMBER, ROW, SAME, any_binary
from kernels.pieces.broadcast_axes import LEAST_PLANE, Axes, Sources, axes_binary
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.rules import item_bytes, require, require_dtype
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
NEG, SQUARE, NOT = RELU + 1, RELU + 2, RELU + 3
BLOCK, LINE = 32, 256


@dataclass(frozen=True)
class BinaryShape(Shape):
    """n elements; `pattern` 0: b like a, 1: b[1], 2: b[n/rows] for a[rows, n/rows], 3: b[rows].

    With pattern 4, c is [d0, d1, d2, rows, the rest of n]; a lacks the axes i for which bit 2**i of `lacks`
    is set, and b those for which bit 2**(5 + i) is (`kernels.tiling.broadcast` finds the keys of any shapes).
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ("pattern", "lacks")
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37}, {"n": 9000}, {"n": 9000, "dtype": FP32}, {"n": 9000, "pattern": NUMBER},
        {"n": 40 * 10, "rows": 40, "pattern": ROW}, {"n": 9 * 1001, "rows": 9, "pattern": COLUMN},
        {"n": 9 * 1001, "rows": 9, "pattern": ROW, "dtype": FP32},
        {"n": 600 * 160, "rows": 600, "pattern": ROW}, {"n": 3000, "rows": 300, "pattern": COLUMN},
        {"n": 3 * 20 * 70, "pattern": AXES, "d2": 3, "rows": 20, "lacks": 0b10100 << 5},
        {"n": 50 * 37, "pattern": AXES, "rows": 50, "lacks": 0b10000 | 0b01000 << 5},
        {"n": 2 * 7 * 3000, "pattern": AXES, "d2": 2, "rows": 7, "lacks": 0b01000, "dtype": FP32},
    )  # fmt: skip
    n: int
    rows: int = 1
    pattern: int = SAME
    dtype: int = FP16
    d0: int = 1
    d1: int = 1
    d2: int = 1
    lacks: int = 0

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return (8 if self.pattern == AXES else 4) * item_bytes(self.dtype)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The axes of pattern 4."""
        planes = self.d0 * self.d1 * self.d2
        return self.d0, self.d1, self.d2, self.rows, self.n // max(1, planes * self.rows)

    @property
    def a_shape(self) -> tuple[int, ...]:
        """The shape of a."""
        if self.pattern == AXES:
            return self._without(self.lacks)
        return (self.n,) if self.pattern in (SAME, NUMBER) else (self.rows, self.n // self.rows)

    @property
    def b_shape(self) -> tuple[int, ...]:
        """The shape of b."""
        if self.pattern == AXES:
            return self._without(self.lacks >> 5)
        lengths = {SAME: self.n, NUMBER: 1, ROW: self.n // self.rows, COLUMN: self.rows}
        return (lengths[self.pattern],)

    @property
    def c_shape(self) -> tuple[int, ...]:
        """The shape of c."""
        return self.lengths if self.pattern == AXES else self.a_shape

    def __str__(self) -> str:
        """Print the five axes only where the pattern uses them."""
        text = super().__str__()
        return text if self.pattern == AXES else text.partition(",d0=")[0]

    def _without(self, lacking: int) -> tuple[int, ...]:
        return tuple(1 if lacking >> axis & 1 else length for axis, length in enumerate(self.lengths))

    def check(self, kernel: str) -> None:
        """Refuse unknown patterns, lengths that do not make n, and types that the instruction lacks."""
        require(kernel, 0 <= self.pattern <= AXES, "pattern is 0, 1, 2, 3 or 4", f"pattern={self.pattern}")
        require(kernel, self.n % self.rows == 0, "rows divides n", f"n={self.n}, rows={self.rows}")
        if self.pattern == AXES:
            numbers = f"n={self.n}, axes d0 to d2 and rows make {math.prod(self.lengths[:4])}"
            require(kernel, self.n == math.prod(self.lengths), "the axes divide n", numbers)
            is_known = 0 <= self.lacks < 1024 and self.lacks & self.lacks >> 5 & 31 == 0
            require(kernel, is_known, "a or b has each of five axes", f"lacks={self.lacks}")
        else:
            numbers = f"pattern={self.pattern}, lacks={self.lacks}"
            require(kernel, self.lacks == 0, "pattern 4 alone names axes", numbers)
        legal = (FP16, FP32) if kernel == "div" else (FP16, FP32, INT32)
        require_dtype(kernel, self.dtype, *legal)


def _binary_operands(shape: BinaryShape) -> tuple[Operand, ...]:
    a, b = Operand("a", shape.a_shape, shape.dtype), Operand("b", shape.b_shape, shape.dtype)
    return a, b, output("c", shape.c_shape, shape.dtype)


def _binary_reference(function: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array]]:
    def reference(shape: BinaryShape, a: Array, b: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return (function(a, b[:, np.newaxis] if shape.pattern == COLUMN else b),)

    return reference


@emits
def two_sources(core: Any, op: int, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """Compute c = a op b by the shape's pattern."""
    if shape.pattern == AXES:
        tile = max(1, tiling.tile // 128) * 128
        rest = shape.n // (shape.d0 * shape.d1 * shape.d2 * shape.rows)
        axes = Axes(shape.d0, shape.d1, shape.d2, shape.rows, rest, shape.dtype)
        axes_binary(core, Sources(op, a, b, c, tile, tiling.slots), axes, shape.lacks)
    else:
        any_binary(core, op, a, b, c, shape, tiling)


@dataclass(frozen=True)
class BinaryTiling(FlatTiling):
    """Like FlatTiling; planes of a few bytes are one core's work."""

    def blocks(self, shape: BinaryShape, platform: Platform) -> int:
        """Return one core per KiB, as many as there are."""
        if shape.pattern == AXES and math.prod(shape.lengths[3:]) * item_bytes(shape.dtype) < LEAST_PLANE:
            return 1
        return super().blocks(shape, platform)


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Callable[..., None]], Any]:
    return kernel(BinaryShape, BinaryTiling, _binary_operands, _binary_reference(function))


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


@_binary(np.divide)
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
