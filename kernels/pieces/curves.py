"""Curves of one argument over contiguous arrays in UB: activations and their derivatives.

Every curve is finite or the right limit at -inf and inf, and NaN at NaN. Arguments are bounded before they
reach a product with zero, exponentials may overflow to infinity where their reciprocal is wanted.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, vector_dup
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import (
    ABS,
    ADD,
    EXP,
    LN,
    MAX,
    MIN,
    MUL,
    REC,
    SUB,
    flat_binary,
    flat_scale,
    flat_unary,
    size_of,
)
from kernels.lang.lacking import VEXP, lacks
from kernels.pieces.broadcast import block_binary
from kernels.pieces.where import BITS_BYTES, GREATER, LESS, NOT_LESS, Pick, where

(
    RELU6, HSIGMOID, HSWISH, LEAKY_RELU, RELU6_SLOPE, HSIGMOID_SLOPE, HSWISH_SLOPE, LEAKY_RELU_SLOPE,
    SIGMOID, TANH, GELU, GELU_ERF, SWISH, ELU, SOFTPLUS, SIGMOID_SLOPE, TANH_SLOPE, GELU_SLOPE,
    GELU_ERF_SLOPE, SWISH_SLOPE, ELU_SLOPE,
) = range(21)  # fmt: skip
"""Curves, and their derivatives; those of sigmoid, tanh and elu are functions of the curve's value.

Those before SIGMOID have straight pieces: fp16 is wide enough for them.
"""

ROOT_8_BY_PI = 1.5957691216057308
"""sqrt(8 / pi): gelu(x) = x * sigmoid(ROOT_8_BY_PI * (x + CUBIC * x ** 3)) in its tanh form."""
CUBIC = 0.044715
ROOT_HALF_BY_PI = 0.3989422804014327
"""1 / sqrt(2 pi), the peak of the normal density."""
SMALL_SQUARE = 0.0036
"""Below this square of x, tanh(x) is x - x ** 3 / 3 to two millionths of it."""


class Curve(NamedTuple):
    """A curve by its number, with its bounds, if it has any, and the slope of its negative half."""

    op: int
    low: float
    high: float
    slope: float


class Bench(NamedTuple):
    """What curves need beside their argument: two arrays, bits, three blocks full of one number each.

    x and t begin in other groups of banks than y and u: products of one of either cost a cycle, not two.
    """

    t: int
    u: int
    bits: int
    low: int
    high: int
    zero: int
    dtype: int
    slope: float


@emits
def work_dtype(core: Any, op: int, dtype: int) -> int:
    """Return the type to compute in: fp32, but for fp16 data with straight pieces fp16.

    The same for other curves, not for their derivatives, on chips without exponentials of fp32.
    """
    if dtype == FP16 and (op < SIGMOID or (op < SIGMOID_SLOPE and lacks(core, VEXP, FP32) != 0)):
        return FP16
    return FP32


@emits
def bench(core: Any, nbytes: int, c: Curve, dtype: int) -> Bench:
    """Allocate what a curve needs for arrays of `nbytes`, and fill the blocks."""
    lanes = 32 // size_of(core, dtype)
    t, u = alloc(core, UB, nbytes), alloc(core, UB, nbytes)
    bits, numbers = alloc(core, UB, BITS_BYTES), alloc(core, UB, 96)
    vector_dup(core, numbers, 1, c.low, dtype, lanes)
    vector_dup(core, numbers + 32, 1, c.high, dtype, lanes)
    vector_dup(core, numbers + 64, 1, 0.0, dtype, lanes)
    return Bench(t, u, bits, numbers, numbers + 32, numbers + 64, dtype, c.slope)


@emits
def logistic(core: Any, y: int, x: int, factor: float, n: int, dtype: int) -> None:
    """y[n] = 1 / (1 + e ** (factor * x[n])); may be in place."""
    flat_scale(core, y, x, n, factor, 0.0, dtype)
    flat_unary(core, EXP, y, y, n, dtype)
    flat_scale(core, y, y, n, 1.0, 1.0, dtype)
    flat_unary(core, REC, y, y, n, dtype)


@emits
def tangent(core: Any, b: Bench, y: int, x: int, n: int, is_fine: int) -> None:
    """Compute y[n], the tangent of x[n], to 1e-7; `is_fine`: to 2e-6 of its value where it is small, too."""
    logistic(core, y, x, -2.0, n, b.dtype)
    flat_scale(core, y, y, n, 2.0, -1.0, b.dtype)
    if is_fine != 0:
        flat_binary(core, MUL, b.t, x, x, n, b.dtype)
        flat_scale(core, b.u, b.t, n, -1.0 / 3.0, 1.0, b.dtype)
        flat_binary(core, MUL, b.u, b.u, x, n, b.dtype)
        where(core, LESS, y, b.t, b.high, Pick(b.u, 1, y, 1, b.bits), n, b.dtype)


@emits
def gelu_exponent(core: Any, y: int, x: int, n: int, dtype: int) -> None:
    """y[n] = -sqrt(8 / pi) * (x + 0.044715 * x ** 3)."""
    flat_binary(core, MUL, y, x, x, n, dtype)
    flat_scale(core, y, y, n, -ROOT_8_BY_PI * CUBIC, -ROOT_8_BY_PI, dtype)
    flat_binary(core, MUL, y, y, x, n, dtype)


@emits
def gated(core: Any, b: Bench, op: int, y: int, x: int, n: int) -> None:
    """y[n] = x * a sigmoid of x: gelu in its tanh form, or swish."""
    block_binary(core, MAX, b.t, x, b.low, n, b.dtype)
    if op == GELU:
        gelu_exponent(core, y, b.t, n, b.dtype)
        logistic(core, y, y, 1.0, n, b.dtype)
    else:
        logistic(core, y, b.t, -1.0, n, b.dtype)
    flat_binary(core, MUL, y, y, b.t, n, b.dtype)


@emits
def gated_slope(core: Any, b: Bench, op: int, y: int, x: int, n: int) -> None:
    """y[n] = s + x * s * (1 - s) * g', the derivative of x * s with s = sigmoid(g(x)); x is overwritten."""
    block_binary(core, MAX, x, x, b.low, n, b.dtype)
    block_binary(core, MIN, x, x, b.high, n, b.dtype)
    if op == GELU_SLOPE:
        gelu_exponent(core, y, x, n, b.dtype)
        logistic(core, y, y, 1.0, n, b.dtype)
        flat_binary(core, MUL, b.u, x, x, n, b.dtype)
        flat_scale(core, b.u, b.u, n, 3.0 * ROOT_8_BY_PI * CUBIC, ROOT_8_BY_PI, b.dtype)
        flat_binary(core, MUL, x, x, b.u, n, b.dtype)
    else:
        logistic(core, y, x, -1.0, n, b.dtype)
    flat_scale(core, b.u, y, n, -1.0, 1.0, b.dtype)
    flat_binary(core, MUL, b.t, b.u, x, n, b.dtype)
    flat_scale(core, b.t, b.t, n, 1.0, 1.0, b.dtype)
    flat_binary(core, MUL, y, y, b.t, n, b.dtype)


@emits
def next_power(core: Any, p: int, x: int, c: float, n: int, dtype: int) -> None:
    """p[n] = p[n] * x[n] + c, a step of Horner's rule."""
    flat_binary(core, MUL, p, p, x, n, dtype)
    flat_scale(core, p, p, n, 1.0, c, dtype)


@emits
def normal_tail(core: Any, b: Bench, y: int, n: int) -> None:
    """Set t[n] = the upper tail of the normal distribution over its density's power, at u[n] >= 0.

    t = e ** (u * u / 2) * erfc(u / sqrt(2)) / 2, a polynomial of 1 / (1 + 0.36 u) without a constant,
    fitted here to 9e-7 of the value for every u; y is overwritten.
    """
    flat_scale(core, y, b.u, n, 0.36, 1.0, b.dtype)
    flat_unary(core, REC, y, y, n, b.dtype)
    flat_scale(core, b.t, y, n, 0.047056599338664004, -0.17976575399970549, b.dtype)
    next_power(core, b.t, y, 0.18095538822130475, n, b.dtype)
    next_power(core, b.t, y, 0.026548459673785708, n, b.dtype)
    next_power(core, b.t, y, 0.13971954338004963, n, b.dtype)
    next_power(core, b.t, y, 0.14177240989085035, n, b.dtype)
    next_power(core, b.t, y, 0.14371304805274518, n, b.dtype)
    flat_binary(core, MUL, b.t, b.t, y, n, b.dtype)


@emits
def bell(core: Any, y: int, x: int, n: int, dtype: int) -> None:
    """y[n] = e ** (-x * x / 2)."""
    flat_binary(core, MUL, y, x, x, n, dtype)
    flat_scale(core, y, y, n, -0.5, 0.0, dtype)
    flat_unary(core, EXP, y, y, n, dtype)


@emits
def gelu_erf(core: Any, b: Bench, y: int, x: int, n: int) -> None:
    """y[n] = x * P(normal < x) = max(x, 0) - |x| * P(normal > |x|)."""
    flat_unary(core, ABS, b.u, x, n, b.dtype)
    block_binary(core, MIN, b.u, b.u, b.high, n, b.dtype)
    normal_tail(core, b, y, n)
    bell(core, y, b.u, n, b.dtype)
    flat_binary(core, MUL, y, y, b.u, n, b.dtype)
    flat_binary(core, MUL, b.t, b.t, y, n, b.dtype)
    block_binary(core, MAX, y, x, b.zero, n, b.dtype)
    flat_binary(core, SUB, y, y, b.t, n, b.dtype)


@emits
def gelu_erf_slope(core: Any, b: Bench, y: int, x: int, n: int) -> None:
    """y[n] = P(normal < x) + x * its density; with 1 - y(-x) = y(x), from |x| alone."""
    flat_unary(core, ABS, b.u, x, n, b.dtype)
    block_binary(core, MIN, b.u, b.u, b.high, n, b.dtype)
    normal_tail(core, b, y, n)
    bell(core, y, b.u, n, b.dtype)
    flat_scale(core, b.u, b.u, n, -ROOT_HALF_BY_PI, 0.0, b.dtype)
    flat_binary(core, ADD, b.t, b.t, b.u, n, b.dtype)
    flat_binary(core, MUL, y, y, b.t, n, b.dtype)
    flat_scale(core, b.t, y, n, -1.0, 1.0, b.dtype)
    where(core, NOT_LESS, y, x, b.zero, Pick(b.t, 1, y, 1, b.bits), n, b.dtype)


@emits
def clamped(core: Any, b: Bench, y: int, x: int, n: int) -> None:
    """y[n] = x between the bounds."""
    block_binary(core, MAX, y, x, b.low, n, b.dtype)
    block_binary(core, MIN, y, y, b.high, n, b.dtype)


@emits
def inside(core: Any, b: Bench, y: int, x: int, ramp: int, step: int, n: int) -> None:
    """y[n] = the array (step 1) or block (step 0) `ramp` where low < x < high, 0 below, ramp or 1 above.

    Above the bounds stands 0 for a block, and for an array what the block t holds.
    """
    no = b.zero if step == 0 else b.t
    where(core, LESS, y, x, b.high, Pick(ramp, step, no, 0, b.bits), n, b.dtype)
    where(core, GREATER, y, x, b.low, Pick(y, 1, b.zero, 0, b.bits), n, b.dtype)


@emits
def hard(core: Any, b: Bench, op: int, y: int, x: int, n: int) -> None:
    """y[n] = one of the curves of straight pieces; their bounds are 0 and 6, 0 and 1, or -3 and 1."""
    if op == RELU6:
        clamped(core, b, y, x, n)
    elif op == HSIGMOID:
        flat_scale(core, y, x, n, 1.0 / 6.0, 0.5, b.dtype)
        clamped(core, b, y, y, n)
    elif op == HSWISH:
        block_binary(core, MAX, b.t, x, b.low, n, b.dtype)
        flat_scale(core, y, b.t, n, 1.0 / 6.0, 0.5, b.dtype)
        block_binary(core, MIN, y, y, b.high, n, b.dtype)
        flat_binary(core, MUL, y, y, b.t, n, b.dtype)
    else:
        flat_scale(core, y, x, n, b.slope, 0.0, b.dtype)
        flat_binary(core, MAX, y, y, x, n, b.dtype)


@emits
def hard_slope(core: Any, b: Bench, op: int, y: int, x: int, n: int) -> None:
    """y[n] = the derivative of a curve of straight pieces at x; at a corner the one of lesser magnitude."""
    lanes = 32 // size_of(core, b.dtype)
    if op == LEAKY_RELU_SLOPE:
        vector_dup(core, b.t, 1, 1.0, b.dtype, lanes)
        vector_dup(core, b.u, 1, b.slope, b.dtype, lanes)
        where(core, GREATER, y, x, b.zero, Pick(b.t, 0, b.u, 0, b.bits), n, b.dtype)
    elif op == HSWISH_SLOPE:
        vector_dup(core, b.t, 1, 1.0, b.dtype, lanes)
        flat_scale(core, b.u, x, n, 1.0 / 3.0, 0.5, b.dtype)
        inside(core, b, y, x, b.u, 1, n)
    else:
        vector_dup(core, b.t, 1, 1.0 if op == RELU6_SLOPE else 1.0 / 6.0, b.dtype, lanes)
        inside(core, b, y, x, b.t, 0, n)


@emits
def soft(core: Any, b: Bench, op: int, y: int, x: int, n: int) -> None:
    """y[n] = elu(x) = max(x, 0) + e ** min(x, 0) - 1, or softplus(x) = max(x, 0) + ln(1 + e ** -|x|)."""
    if op == ELU:
        block_binary(core, MIN, y, x, b.zero, n, b.dtype)
        flat_unary(core, EXP, y, y, n, b.dtype)
        flat_scale(core, y, y, n, 1.0, -1.0, b.dtype)
    else:
        flat_unary(core, ABS, y, x, n, b.dtype)
        flat_scale(core, y, y, n, -1.0, 0.0, b.dtype)
        flat_unary(core, EXP, y, y, n, b.dtype)
        flat_scale(core, y, y, n, 1.0, 1.0, b.dtype)
        flat_unary(core, LN, y, y, n, b.dtype)
    block_binary(core, MAX, b.t, x, b.zero, n, b.dtype)
    flat_binary(core, ADD, y, y, b.t, n, b.dtype)


@emits
def value_slope(core: Any, b: Bench, op: int, y: int, x: int, n: int) -> None:
    """y[n] = the derivative where the curve has the value x: x (1 - x), 1 - x * x, or min(x + 1, 1)."""
    if op == SIGMOID_SLOPE:
        flat_scale(core, y, x, n, -1.0, 1.0, b.dtype)
        flat_binary(core, MUL, y, y, x, n, b.dtype)
    elif op == TANH_SLOPE:
        flat_binary(core, MUL, y, x, x, n, b.dtype)
        flat_scale(core, y, y, n, -1.0, 1.0, b.dtype)
    else:
        flat_scale(core, y, x, n, 1.0, 1.0, b.dtype)
        block_binary(core, MIN, y, y, b.high, n, b.dtype)


@emits
def curve(core: Any, b: Bench, op: int, y: int, x: int, n: int, is_fine: int) -> None:
    """y[n] = the curve `op` at x[n]; x may be overwritten, y is another array."""
    if op == SIGMOID:
        logistic(core, y, x, -1.0, n, b.dtype)
    elif op == TANH:
        tangent(core, b, y, x, n, is_fine)
    elif op in (GELU, SWISH):
        gated(core, b, op, y, x, n)
    elif op in (GELU_SLOPE, SWISH_SLOPE):
        gated_slope(core, b, op, y, x, n)
    elif op == GELU_ERF:
        gelu_erf(core, b, y, x, n)
    elif op == GELU_ERF_SLOPE:
        gelu_erf_slope(core, b, y, x, n)
    elif op in (RELU6, HSIGMOID, HSWISH, LEAKY_RELU):
        hard(core, b, op, y, x, n)
    elif op in (RELU6_SLOPE, HSIGMOID_SLOPE, HSWISH_SLOPE, LEAKY_RELU_SLOPE):
        hard_slope(core, b, op, y, x, n)
    elif op in (ELU, SOFTPLUS):
        soft(core, b, op, y, x, n)
    else:
        value_slope(core, b, op, y, x, n)
