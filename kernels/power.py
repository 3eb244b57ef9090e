"""Powers, in fp32, by way of the logarithm of |a|; whole exponents give negative bases their sign back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.activation import ActivationTiling
from kernels.lang import (
    FP16,
    FP32,
    INT32,
    UB,
    Operand,
    alloc,
    emits,
    flat_binary,
    flat_convert,
    flat_scale,
    flat_unary,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
    vector_dup,
)
from kernels.lang.flat import ABS, EXP, LN, MAX, MIN, MUL, SUB
from kernels.pieces.broadcast import NUMBER, SAME, block_binary, spread_number
from kernels.pieces.fold import LOWEST
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.pieces.where import BITS_BYTES, GREATER, LESS, Pick, where
from kernels.rules import item_bytes, require
from kernels.tiling.flat import FlatShape

Array = npt.NDArray[Any]
BLOCK, LINE, EIGHT, FAST = 32, 256, 8, 512
EVEN = float(1 << 24)
"""From here on every number of fp32 is whole and even."""
SPARES = 3


@dataclass(frozen=True)
class PowerShape(FlatShape):
    """n bases, and with `pattern` 0 as many exponents, with 1 a single one."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("pattern",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37}, {"n": 9000, "dtype": FP32}, {"n": 9000, "pattern": NUMBER},
        {"n": 5, "pattern": NUMBER, "dtype": FP32},
    )  # fmt: skip
    pattern: int = SAME

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot, half of the arrays without slots among them."""
        sources, wide = 1 + (self.pattern == SAME), SPARES + 3 * (self.dtype == FP16)
        return (sources + 1) * item_bytes(self.dtype) + wide * 2

    def check(self, kernel: str) -> None:
        """Refuse other types and patterns."""
        super().check(kernel)
        rule = "pattern is 0 (an exponent for each base) or 1 (one for all)"
        require(kernel, self.pattern in (SAME, NUMBER), rule, f"pattern={self.pattern}")


class Exponents(NamedTuple):
    """Bounded exponents, and what the powers of negative bases are multiplied by: 1, -1 or NaN.

    Both are arrays (`step` 1) or blocks full of one number (`step` 0); `spare` has the same length.
    """

    value: int
    sign: int
    spare: int
    step: int


class Bounds(NamedTuple):
    """Blocks full of the lowest and the highest number, of the same for whole ones, of 0 and NaN; bits."""

    low: int
    high: int
    odd_low: int
    odd_high: int
    zero: int
    nan: int
    bits: int


@emits
def bounds_of(core: Any) -> Bounds:
    """Allocate the blocks and fill them."""
    at, bits = alloc(core, UB, 6 * BLOCK), alloc(core, UB, BITS_BYTES)
    found = Bounds(at, at + BLOCK, at + 2 * BLOCK, at + 3 * BLOCK, at + 4 * BLOCK, at + 5 * BLOCK, bits)
    vector_dup(core, found.low, 1, LOWEST, FP32, EIGHT)
    vector_dup(core, found.high, 1, -LOWEST, FP32, EIGHT)
    vector_dup(core, found.odd_low, 1, -EVEN, FP32, EIGHT)
    vector_dup(core, found.odd_high, 1, EVEN, FP32, EIGHT)
    vector_dup(core, found.zero, 1, 0.0, FP32, EIGHT)
    flat_scale(core, found.nan, found.high, EIGHT, 2.0, 0.0, FP32)
    flat_binary(core, SUB, found.nan, found.nan, found.nan, EIGHT, FP32)  # infinity less infinity
    return found


@emits
def rounded(core: Any, dst: int, x: int, n: int) -> None:
    """Set dst[n] = x[n] rounded to whole numbers, which are below 2 ** 31."""
    flat_convert(core, dst, INT32, x, FP32, n)
    flat_convert(core, dst, FP32, dst, INT32, n)


@emits
def know_exponents(core: Any, e: Exponents, k: Bounds, b: int, n: int) -> None:
    """Fill the arrays or blocks for the exponents b[n]."""
    block_binary(core, MAX, e.value, b, k.odd_low, n, FP32)
    block_binary(core, MIN, e.value, e.value, k.odd_high, n, FP32)
    rounded(core, e.sign, e.value, n)
    flat_binary(core, SUB, e.value, e.value, e.sign, n, FP32)
    flat_unary(core, ABS, e.value, e.value, n, FP32)  # 0 where the exponent is whole
    flat_scale(core, e.sign, e.sign, n, 0.5, 0.0, FP32)
    rounded(core, e.spare, e.sign, n)
    flat_binary(core, SUB, e.sign, e.sign, e.spare, n, FP32)  # 0 where it is even, half of 1 or -1 elsewhere
    flat_binary(core, MUL, e.sign, e.sign, e.sign, n, FP32)
    flat_scale(core, e.sign, e.sign, n, -8.0, 1.0, FP32)
    where(core, GREATER, e.sign, e.value, k.zero, Pick(k.nan, 0, e.sign, 1, k.bits), n, FP32)
    block_binary(core, MAX, e.value, b, k.low, n, FP32)
    block_binary(core, MIN, e.value, e.value, k.high, n, FP32)


@emits
def times(core: Any, dst: int, x: int, factor: int, step: int, n: int) -> None:
    """Set dst[n] = x[n] * factor, an array (step 1) or a block (step 0)."""
    if step == 0:
        block_binary(core, MUL, dst, x, factor, n, FP32)
    else:
        flat_binary(core, MUL, dst, x, factor, n, FP32)


@emits
def raise_tile(core: Any, y: int, a: int, e: Exponents, k: Bounds, n: int) -> None:
    """Set y[n] = a[n] to the power of the exponents; logarithms are bounded, so that none times 0 is NaN."""
    flat_unary(core, ABS, y, a, n, FP32)
    flat_unary(core, LN, y, y, n, FP32)
    block_binary(core, MAX, y, y, k.low, n, FP32)
    block_binary(core, MIN, y, y, k.high, n, FP32)
    times(core, y, y, e.value, e.step, n)
    flat_unary(core, EXP, y, y, n, FP32)
    times(core, e.spare, y, e.sign, e.step, n)
    where(core, LESS, y, a, k.zero, Pick(e.spare, 1, y, 1, k.bits), n, FP32)


@emits
def exponents_of(core: Any, b: int, k: Bounds, tile: int, spare: int, shape: Any) -> Exponents:
    """Allocate what the exponents need; a single one is brought, and all about it found out."""
    if shape.pattern == SAME:
        return Exponents(alloc(core, UB, tile * 4), alloc(core, UB, tile * 4), spare, 1)
    found = spread_number(core, b, size_of(core, shape.dtype))
    wide = Exponents(alloc(core, UB, LINE), alloc(core, UB, LINE), spare, 0)  # `where` takes whole repeats
    if shape.dtype == FP16:
        flat_convert(core, spare + LINE, FP32, found, FP16, EIGHT)
        found = spare + LINE
    know_exponents(core, wide, k, found, EIGHT)
    return wide


def _operands(shape: PowerShape) -> tuple[Operand, ...]:
    exponents = shape.n if shape.pattern == SAME else 1
    a = Operand("a", (shape.n,), shape.dtype, between=(0.1, 4.0))
    b = Operand("b", (exponents,), shape.dtype, between=(-3.0, 3.0))
    return a, b, output("c", (shape.n,), shape.dtype)


def _reference(shape: PowerShape, a: Array, b: Array) -> tuple[Array]:
    with np.errstate(all="ignore"):
        made = np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
        is_none = np.isnan(a) | np.isnan(b) | ((a < 0) & (b != np.rint(b)))
    return (np.where(is_none, np.array(np.nan, a.dtype), made),)


@kernel(PowerShape, ActivationTiling, _operands, _reference)
def pow(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = a[n] ** b[n], or b[1] by `pattern`; NaN where a or b is, or where a < 0 and b is not whole."""
    size, is_half = size_of(core, shape.dtype), shape.dtype == FP16
    s = open_stream(core, 2 if shape.pattern == SAME else 1, tiling.tile, size, tiling.slots)
    wide_bytes = s.tile * 4 if is_half else 0
    wide_a, wide_b = alloc(core, UB, wide_bytes), alloc(core, UB, wide_bytes if s.sources > 1 else 0)
    wide_c, k = alloc(core, UB, wide_bytes), bounds_of(core)
    e = exponents_of(core, b, k, s.tile, alloc(core, UB, s.tile * 4), shape)
    end = share_end(core, shape.n, FAST // size)
    for i in range(share_start(core, shape.n, FAST // size), end, s.tile):
        n = min(s.tile, end - i)
        taken = bring(core, s, a, b, b, i, n)
        made = room(core, s)
        if is_half:
            flat_convert(core, wide_a, FP32, taken, FP16, n)
        if is_half and s.sources > 1:
            flat_convert(core, wide_b, FP32, taken + s.pitch, FP16, n)
        if s.sources > 1:
            know_exponents(core, e, k, wide_b if is_half else taken + s.pitch, n)
        raise_tile(core, wide_c if is_half else made, wide_a if is_half else taken, e, k, n)
        if is_half:
            flat_convert(core, made, FP16, wide_c, FP32, n)
        release(core, s)
        send(core, s, c, made, i, n)
    close_stream(core, s)
