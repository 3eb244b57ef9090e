"""Element-wise arithmetic: two sources with broadcasting, one source, selection and conversion.

All are streams: tiles come to UB, the vector unit works, tiles leave, each hand-off with `slots` buffers. A
tile of 20 KB or more hides the head of a transfer; small problems are cut so that every core gets one tile.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
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
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_convert,
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
    vcmpv_gt,
    vcmpv_ne,
    vector_dup,
    vmax,
    vsel,
)
from kernels.lang.broadcast import COLUMN, NUMBER, ROW, SAME, any_binary
from kernels.lang.flat import ABS, ADD, DIV, EXP, LN, MAX, MIN, MUL, REC, RELU, RSQRT, SQRT, SUB
from kernels.rules import require, require_dtype

Array = npt.NDArray[Any]
NAMES = ("fp16", "fp32", "int32")
NUMPY = (np.float16, np.float32, np.int32)
NEG = RELU + 1
MIN_SHARE_BYTES, LONG_TILE_BYTES = 1024, 26 * 1024
MIN_TILE, LINE = 128, 256


def item_bytes(dtype: int) -> int:
    """Return the size of an element of type code `dtype`."""
    return 2 if dtype == FP16 else 4


@dataclass(frozen=True)
class FlatShape(Shape):
    """n elements of type `dtype`."""

    LIVE: ClassVar[int] = 2
    """Arrays of `dtype` that a tile needs in UB."""
    n: int
    dtype: int = FP16

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return self.LIVE * item_bytes(self.dtype)

    def check(self, kernel: str) -> None:
        """Refuse types that the vector unit cannot compute with."""
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class BinaryShape(Shape):
    """n elements; `pattern` 0: b like a, 1: b[1], 2: b[n/rows] for a[rows, n/rows], 3: b[rows]."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("pattern",)
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


@dataclass(frozen=True)
class CastShape(Shape):
    """n elements of type `dtype` become type `out_dtype` (codes: 0 fp16, 1 fp32, 2 int32)."""

    n: int
    dtype: int = FP16
    out_dtype: int = FP32

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return item_bytes(self.dtype) + item_bytes(self.out_dtype) + 2  # half a float of scratch per slot

    def check(self, kernel: str) -> None:
        """Refuse types that the vector unit does not convert."""
        known = {self.dtype, self.out_dtype} <= {FP16, FP32, INT32}
        rule = "dtype and out_dtype are codes 0 (fp16), 1 (fp32) or 2 (int32)"
        require(kernel, known, rule, f"dtype={self.dtype}, out_dtype={self.out_dtype}")


@dataclass(frozen=True)
class SelectShape(FlatShape):
    """n elements, up to three inputs."""

    LIVE: ClassVar[int] = 4


@dataclass(frozen=True)
class FlatTiling(Tiling):
    """Elements of a tile (rounded down to a multiple of 128) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape: Any, platform: Platform) -> Self:
        """Return the tiling that cuts a core's share into few equal tiles, at least two of a long one."""
        return cls.of_slots(shape, platform, 2)

    @classmethod
    def of_slots(cls, shape: Any, platform: Platform, slots: int) -> Self:
        """Return the tiling for a number of buffers."""
        size = item_bytes(shape.dtype)
        limit = int(platform.ub_bytes) * 9 // 10 // (slots * shape.live_bytes)
        limit = min(limit, LONG_TILE_BYTES // size) // MIN_TILE * MIN_TILE
        share = -(-shape.n // cls._cores(shape, platform))
        steps = max(-(-share // limit), 2 if share * size >= 40 * 1024 else 1)
        tile = -(-share // steps)
        return cls(max(MIN_TILE, -(-tile // MIN_TILE) * MIN_TILE), slots)

    @classmethod
    def space(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, halves of it, and one without double buffering."""
        first = cls.default(shape, platform)
        yield first
        for part in (2, 4):
            if first.tile // part >= MIN_TILE:
                yield cls(first.tile // part // MIN_TILE * MIN_TILE)
        yield cls(first.tile, 1)

    @staticmethod
    def _cores(shape: Any, platform: Platform) -> int:
        kibibytes = -(-shape.n * item_bytes(shape.dtype) // MIN_SHARE_BYTES)
        return min(int(platform.ai_cores), int(kibibytes))

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return one core per KiB, as many as there are."""
        return self._cores(shape, platform)


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


class Choice(NamedTuple):
    """Buffers of a choice in UB: y is an array (y_blk 1) or a block of equal numbers (y_blk 0)."""

    test: int
    x: int
    y: int
    y_blk: int
    zero: int
    bits: int


@emits
def choose(core: Any, dst: int, c: Any, positive: int, n: int, dtype: int) -> None:
    """Set dst[n] = x where test > 0 (`positive`) or test != 0, else y; whole repeats are computed."""
    lanes = LINE // size_of(core, dtype)
    for done in range(0, n, 255 * lanes):
        repeat = min(255, (n - done + lanes - 1) // lanes)
        at = done // lanes * LINE
        if positive != 0:
            vcmpv_gt(core, c.bits, c.test + at, c.zero, repeat, dtype, 1, 0, 8, 0)
        else:
            vcmpv_ne(core, c.bits, c.test + at, c.zero, repeat, dtype, 1, 0, 8, 0)
        y, y_rep = c.y + at * c.y_blk, 8 * c.y_blk
        vsel(core, dst + at, c.x + at, y, repeat, c.bits, dtype, lanes, 1, 1, c.y_blk, 8, 8, y_rep)


@emits
def stream_choice(
    core: Any, test: int, x: int, y: int, z: int, positive: int, shape: Any, tiling: Any
) -> None:
    """Set z[n] = x[n] where the test holds, else y[n]; y is taken as zero when `positive`."""
    size, slots = size_of(core, shape.dtype), tiling.slots
    unit = FAST_BYTES // size
    tile = max(1, tiling.tile // unit) * unit
    pitch = tile * size
    zero, bits = alloc(core, UB, 32), alloc(core, UB, 255 * 16)
    ub_test, ub_x = alloc(core, UB, slots * pitch, slots), alloc(core, UB, slots * pitch, slots)
    ub_y = zero if positive != 0 else alloc(core, UB, slots * pitch, slots)
    ub_z = alloc(core, UB, slots * pitch, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    vector_dup(core, zero, 1, 0.0, shape.dtype, 32 // size)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, tile):
        count = min(tile, end - i)
        blocks, taken = (count * size + 31) // 32, fill(core, q_in) * pitch
        data_move(core, ub_test + taken, test + i * size, 1, blocks)
        data_move(core, ub_x + taken, x + i * size, 1, blocks)
        if positive == 0:
            data_move(core, ub_y + taken, y + i * size, 1, blocks)
        filled(core, q_in)
        use(core, q_in)
        made = ub_z + fill(core, q_out) * pitch
        other = zero if positive != 0 else ub_y + taken
        choice = Choice(ub_test + taken, ub_x + taken, other, 1 - positive, zero, bits)
        choose(core, made, choice, positive, count, shape.dtype)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, z + i * size, made, 1, blocks)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


def _relu_grad_operands(shape: FlatShape) -> tuple[Operand, ...]:
    n, dtype = (shape.n,), shape.dtype
    return Operand("dy", n, dtype), Operand("y", n, dtype), output("dx", n, dtype)


def _relu_grad_reference(shape: FlatShape, dy: Array, y: Array) -> tuple[Array]:
    return (np.where(y > 0, dy, 0).astype(dy.dtype),)


@kernel(SelectShape, FlatTiling, _relu_grad_operands, _relu_grad_reference)
def relu_grad(core: Any, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] where y[n] > 0, else 0; y is the result or the argument of relu."""
    stream_choice(core, y, dy, dy, dx, 1, shape, tiling)


def _select_operands(shape: FlatShape) -> tuple[Operand, ...]:
    n, dtype = (shape.n,), shape.dtype
    return Operand("cond", n, dtype), Operand("x", n, dtype), Operand("y", n, dtype), output("z", n, dtype)


def _select_reference(shape: FlatShape, cond: Array, x: Array, y: Array) -> tuple[Array]:
    return (np.where(cond != 0, x, y).astype(x.dtype),)


@kernel(SelectShape, FlatTiling, _select_operands, _select_reference)
def select(core: Any, cond: int, x: int, y: int, z: int, shape: Any, tiling: Any) -> None:
    """z[n] = x[n] where cond[n] is not 0, else y[n]; cond holds numbers of the same type."""
    stream_choice(core, cond, x, y, z, 0, shape, tiling)


@emits
def convert(core: Any, dst: int, to: int, src: int, dtype: int, n: int, scratch: int) -> None:
    """Set dst[n] (type `to`) = src[n] (type `dtype`); between fp16 and int32 the way leads through fp32."""
    if dtype == to:
        data_move(core, dst, src, 1, (n * size_of(core, dtype) + 31) // 32)
    elif dtype + to == FP16 + INT32 and dtype != FP32:
        flat_convert(core, scratch, FP32, src, dtype, n)
        flat_convert(core, dst, to, scratch, FP32, n)
    else:
        flat_convert(core, dst, to, src, dtype, n)


def _cast_reference(shape: CastShape, x: Array) -> tuple[Array]:
    if shape.out_dtype != INT32 or shape.dtype == INT32:
        way = np.float32 if shape.dtype != shape.out_dtype else x.dtype
        with np.errstate(over="ignore"):
            return (x.astype(way).astype(NUMPY[shape.out_dtype]),)
    limits = np.iinfo(np.int32)
    whole = np.clip(np.rint(np.nan_to_num(x.astype(np.float64))), limits.min, limits.max)
    return (whole.astype(np.int32),)


def _cast_operands(shape: CastShape) -> tuple[Operand, ...]:
    return Operand("x", (shape.n,), shape.dtype), output("y", (shape.n,), shape.out_dtype)


@kernel(CastShape, FlatTiling, _cast_operands, _cast_reference)
def cast(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] (out_dtype) = x[n] (dtype), to nearest even; integers saturate."""
    size, to_size = size_of(core, shape.dtype), size_of(core, shape.out_dtype)
    unit, slots = FAST_BYTES // min(size, to_size), tiling.slots
    tile = max(1, tiling.tile // unit) * unit
    ub_x, ub_y = alloc(core, UB, slots * tile * size, slots), alloc(core, UB, slots * tile * to_size, slots)
    scratch = alloc(core, UB, tile * 4)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, tile):
        n = min(tile, end - i)
        taken = ub_x + fill(core, q_in) * tile * size
        data_move(core, taken, x + i * size, 1, (n * size + 31) // 32)
        filled(core, q_in)
        use(core, q_in)
        made = ub_y + fill(core, q_out) * tile * to_size
        convert(core, made, shape.out_dtype, taken, shape.dtype, n, scratch)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + i * to_size, made, 1, (n * to_size + 31) // 32)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
