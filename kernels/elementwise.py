"""Element-wise arithmetic: two sources with broadcasting, and one source.

Tiles come to UB, the vector unit works, tiles leave, each hand-off with `slots` buffers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    FP16,
    FP32,
    INT32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_scale,
    flat_unary,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vector_dup,
    vmax,
)
from kernels.lang.broadcast import COLUMN, NUMBER, ROW, SAME, any_binary
from kernels.lang.flat import ABS, ADD, DIV, EXP, LN, MAX, MIN, MUL, REC, RELU, RSQRT, SQRT, SUB
from kernels.rules import item_bytes, require, require_dtype
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
NEG = RELU + 1
LINE = 256


@dataclass(frozen=True)
class BinaryShape(Shape):
    """n elements; `pattern` 0: b like a, 1: b[1], 2: b[n/rows] for a[rows, n/rows], 3: b[rows]."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("pattern",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37}, {"n": 9000}, {"n": 9000, "dtype": FP32}, {"n": 9000, "pattern": NUMBER},
        {"n": 40 * 10, "rows": 40, "pattern": ROW}, {"n": 9 * 1001, "rows": 9, "pattern": COLUMN},
        {"n": 9 * 1001, "rows": 9, "pattern": ROW, "dtype": FP32},
        {"n": 600 * 160, "rows": 600, "pattern": ROW}, {"n": 3000, "rows": 300, "pattern": COLUMN},
    )  # fmt: skip
    n: int
    rows: int = 1
    pattern: int = SAME
    dtype: int = FP16

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return 4 * item_bytes(self.dtype)

    @property
    def a_shape(self) -> tuple[int, ...]:
        """The shape of a and c."""
        return (self.n,) if self.pattern in (SAME, NUMBER) else (self.rows, self.n // self.rows)

    @property
    def b_shape(self) -> tuple[int, ...]:
        """The shape of b."""
        lengths = {SAME: self.n, NUMBER: 1, ROW: self.n // self.rows, COLUMN: self.rows}
        return (lengths[self.pattern],)

    def check(self, kernel: str) -> None:
        """Refuse unknown patterns, rows that do not divide n, and types that the instruction lacks."""
        require(kernel, 0 <= self.pattern <= COLUMN, "pattern is 0, 1, 2 or 3", f"pattern={self.pattern}")
        require(kernel, self.n % self.rows == 0, "rows divides n", f"n={self.n}, rows={self.rows}")
        legal = (FP16, FP32) if kernel == "div" else (FP16, FP32, INT32)
        require_dtype(kernel, self.dtype, *legal)


def _binary_operands(shape: BinaryShape) -> tuple[Operand, ...]:
    a, b = Operand("a", shape.a_shape, shape.dtype), Operand("b", shape.b_shape, shape.dtype)
    return a, b, output("c", shape.a_shape, shape.dtype)


def _binary_reference(function: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array]]:
    def reference(shape: BinaryShape, a: Array, b: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return (function(a, b[:, np.newaxis] if shape.pattern == COLUMN else b),)

    return reference


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Callable[..., None]], Any]:
    return kernel(BinaryShape, FlatTiling, _binary_operands, _binary_reference(function))


@_binary(np.add)
def add(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] + b[n]; or b[1], a row or a column by `pattern`."""
    any_binary(core, ADD, a, b, c, shape, tiling)


@_binary(np.subtract)
def sub(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] - b[n]; or b[1], a row or a column by `pattern`."""
    any_binary(core, SUB, a, b, c, shape, tiling)


@_binary(np.multiply)
def mul(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] * b[n]; or b[1], a row or a column by `pattern`."""
    any_binary(core, MUL, a, b, c, shape, tiling)


@_binary(np.divide)
def div(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] / b[n]; or b[1], a row or a column by `pattern`."""
    any_binary(core, DIV, a, b, c, shape, tiling)


@_binary(np.maximum)
def maximum(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = the larger of a[n] and b[n]; or b[1], a row or a column by `pattern`."""
    any_binary(core, MAX, a, b, c, shape, tiling)


@_binary(np.minimum)
def minimum(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = the smaller of a[n] and b[n]; or b[1], a row or a column by `pattern`."""
    any_binary(core, MIN, a, b, c, shape, tiling)


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
def stream_unary(core: Any, op: int, x: int, y: int, n: int, dtype: int, tile: int, slots: int) -> None:
    """Compute y[n] = op(x[n]) for this block's share."""
    size = size_of(core, dtype)
    unit = FAST_BYTES // size
    tile = max(1, tile // unit) * unit
    ub_x, ub_y = alloc(core, UB, slots * tile * size, slots), alloc(core, UB, slots * tile * size, slots)
    is_wide_relu = op == RELU and dtype == FP32
    zero = alloc(core, UB, 32 if is_wide_relu else 0)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    if is_wide_relu:
        vector_dup(core, zero, 1, 0.0, dtype, 32 // size)
    end = share_end(core, n, unit)
    for i in range(share_start(core, n, unit), end, tile):
        count = min(tile, end - i)
        blocks = (count * size + 31) // 32
        taken = ub_x + fill(core, q_in) * tile * size
        data_move(core, taken, x + i * size, 1, blocks)
        filled(core, q_in)
        use(core, q_in)
        made = ub_y + fill(core, q_out) * tile * size
        if op == NEG:
            flat_scale(core, made, taken, count, -1.0, 0.0, dtype)
        elif is_wide_relu:
            wide_relu(core, made, taken, zero, count)
        else:
            flat_unary(core, op, made, taken, count, dtype)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + i * size, made, 1, blocks)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


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
