"""What the vector unit computes: loops over lanes held as float32 or int64, one `op` at a time."""

import numpy as np

from davinci_sim.isa.fields import UINT8, UINT16
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import Floats, Ints, item_bytes

(ADD, SUB, MUL, DIV, MAX, MIN, AND, OR, ADD_RELU, SUB_RELU, MLA, MADD, MADD_RELU) = range(13)
"""Two sources; the last three also read the destination."""
(EXP, LN, REC, RSQRT, SQRT, ABS, RELU, NOT, COPY) = range(9)
(ADDS, MULS, MAXS, MINS, LRELU, AXPY, SHL, SHR) = range(9, 17)
"""One source and a constant; AXPY also reads the destination."""
(NEAREST, EVEN, AWAY, FLOOR, CEIL, TRUNC, ODD) = range(7)
"""How a conversion rounds: the intrinsics' suffixes none, r, a, f, c, z and o."""

_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer, which then stands in the low bits
_MAGIC_BITS = 0x4338000000000000
_HALF_ROOT_BITS = 0x3FE6A09E667F3BCD  # of sqrt(1/2)


@inner
def _sums(op: int, a: Floats, b: Floats, n: int) -> None:
    """Replace a[:n] by what adds or subtracts two numbers."""
    if op == ADD:
        for lane in range(n):
            a[lane] = a[lane] + b[lane]
    elif op == SUB:
        for lane in range(n):
            a[lane] = a[lane] - b[lane]
    else:
        sign = np.float32(1.0) if op == ADD_RELU else np.float32(-1.0)
        for lane in range(n):
            total = a[lane] + sign * b[lane]
            a[lane] = total if not total <= 0 else np.float32(0.0)


@inner
def _products(op: int, a: Floats, b: Floats, c: Floats, n: int) -> None:
    """Replace a[:n] by what multiplies; `c` is what the destination held. Products are rounded to float32."""
    if op == MUL:
        for lane in range(n):
            a[lane] = a[lane] * b[lane]
    elif op == DIV:
        for lane in range(n):
            a[lane] = a[lane] / b[lane]
    elif op == MLA:
        for lane in range(n):
            a[lane] = c[lane] + a[lane] * b[lane]
    else:
        for lane in range(n):
            total = a[lane] * c[lane] + b[lane]
            a[lane] = np.float32(0.0) if op == MADD_RELU and total <= 0 else total


@inner
def binary_floats(op: int, a: Floats, b: Floats, c: Floats, n: int) -> None:
    """Replace a[:n] by `a op b`; `c` is what the destination held."""
    if op == MAX:
        for lane in range(n):
            a[lane] = a[lane] if a[lane] > b[lane] or np.isnan(a[lane]) else b[lane]
    elif op == MIN:
        for lane in range(n):
            a[lane] = a[lane] if a[lane] < b[lane] or np.isnan(a[lane]) else b[lane]
    elif op in (MUL, DIV, MLA, MADD, MADD_RELU):
        _products(op, a, b, c, n)
    else:
        _sums(op, a, b, n)


@inner
def binary_ints(op: int, a: Ints, b: Ints, n: int) -> None:
    """Replace a[:n] by `a op b`; what does not fit the element type is cut off when it is stored."""
    if op == ADD:
        for lane in range(n):
            a[lane] = a[lane] + b[lane]
    elif op == SUB:
        for lane in range(n):
            a[lane] = a[lane] - b[lane]
    elif op == OR:
        for lane in range(n):
            a[lane] = a[lane] | b[lane]
    else:
        for lane in range(n):
            a[lane] = _binary_int(op, a[lane], b[lane])


@inner
def _binary_int(op: int, a: int, b: int) -> int:
    """Return `a op b` for the less frequent ones."""
    if op == MUL:
        return a * b
    if op == AND:
        return a & b
    if op == MAX:
        return max(a, b)
    if op == MIN:
        return min(a, b)
    return max(0, a + b if op == ADD_RELU else a - b)


@inner
def _exp(a: Floats, n: int) -> None:
    """Replace a[:n] by powers of e: in float64 to less than one unit in the last place, then rounded once.

    e**x = 2**k * e**r with |r| <= ln(2) / 2, and the Taylor polynomial of degree 13 for e**r.
    """
    for lane in range(n):
        value = a[lane]
        x = float(np.float64(value))
        x = x if x < 100.0 else 100.0  # beyond float32 on both sides; a NaN is put back below
        x = x if x > -120.0 else -120.0
        t = x * _LOG2_E + _MAGIC
        k = t - _MAGIC
        r = (x - k * _LN2_HIGH) - k * _LN2_LOW
        p = 1.0 / 6227020800.0
        p = p * r + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = (p * r * r + r) + 1.0
        scale = ((np.float64(t).view(np.int64) + 1023) << 52) & 0x7FF0000000000000
        a[lane] = np.float32(p * np.int64(scale).view(np.float64)) if value == value else value  # noqa: PLR0124


@inner
def _ln(a: Floats, n: int) -> None:
    """Replace a[:n] by natural logarithms: in float64 to about one unit in the last place, then rounded once.

    x = 2**k * m with m near 1, and ln(m) = 2 artanh((m - 1) / (m + 1)) as a polynomial.
    """
    for lane in range(n):
        value = a[lane]
        bits = np.float64(value).view(np.int64)
        k = (bits - _HALF_ROOT_BITS) >> 52
        m = np.int64(bits - (k << 52)).view(np.float64)
        exponent = np.int64(k + _MAGIC_BITS).view(np.float64) - _MAGIC
        f = (m - 1.0) / (m + 1.0)
        s = f * f
        p = 1.0 / 21.0
        p = p * s + 1.0 / 19.0
        p = p * s + 1.0 / 17.0
        p = p * s + 1.0 / 15.0
        p = p * s + 1.0 / 13.0
        p = p * s + 1.0 / 11.0
        p = p * s + 1.0 / 9.0
        p = p * s + 1.0 / 7.0
        p = p * s + 0.2
        p = p * s + 1.0 / 3.0
        result = np.float32(exponent * _LN2_HIGH + (2.0 * f + (2.0 * f * s * p + exponent * _LN2_LOW)))
        result = result if value < np.inf else value  # infinity and NaN stay
        result = result if value != 0 else np.float32(-np.inf)
        a[lane] = np.float32(np.nan) if value < 0 else result


@inner
def _roots(op: int, a: Floats, n: int) -> None:
    """Replace a[:n] by roots or reciprocals, rounded once."""
    if op == REC:
        for lane in range(n):
            a[lane] = np.float32(1.0) / a[lane]
    elif op == SQRT:
        for lane in range(n):
            a[lane] = np.sqrt(a[lane])
    else:
        for lane in range(n):
            a[lane] = np.float32(1.0 / np.sqrt(np.float64(a[lane])))


@inner
def unary_floats(op: int, a: Floats, c: Floats, value: np.float32, n: int) -> None:
    """Replace a[:n] by `op(a, value)`; `c` is what the destination held."""
    if op == EXP:
        _exp(a, n)
    elif op == LN:
        _ln(a, n)
    elif op in (REC, SQRT, RSQRT):
        _roots(op, a, n)
    elif op == ABS:
        for lane in range(n):
            a[lane] = abs(a[lane])
    elif op == RELU:
        for lane in range(n):
            a[lane] = a[lane] if not a[lane] <= 0 else np.float32(0.0)
    elif op != COPY:
        _with_constant(op, a, c, value, n)


@inner
def _with_constant(op: int, a: Floats, c: Floats, value: np.float32, n: int) -> None:
    """Replace a[:n] by `a op value`."""
    if op == ADDS:
        for lane in range(n):
            a[lane] = a[lane] + value
    elif op == MULS:
        for lane in range(n):
            a[lane] = a[lane] * value
    elif op == AXPY:
        for lane in range(n):
            a[lane] = c[lane] + a[lane] * value
    elif op == LRELU:
        for lane in range(n):
            a[lane] = a[lane] * value if a[lane] < 0 else a[lane]
    elif op == MAXS:
        for lane in range(n):
            a[lane] = value if a[lane] < value or np.isnan(value) else a[lane]
    else:
        for lane in range(n):
            a[lane] = value if a[lane] > value or np.isnan(value) else a[lane]


@inner
def _unary_int(op: int, a: int, value: int) -> int:
    """Return `op(a, value)` of integers."""
    if op == NOT:
        return ~a
    if op in (SHL, SHR):
        return a << value if op == SHL else a >> value
    if op in (ADDS, MULS):
        return a + value if op == ADDS else a * value
    if op in (MAXS, MINS):
        return max(a, value) if op == MAXS else min(a, value)
    if op == RELU:
        return max(a, 0)
    return abs(a) if op == ABS else a


@inner
def unary_ints(op: int, a: Ints, value: int, n: int) -> None:
    """Replace a[:n] by `op(a, value)`; what does not fit the element type is cut off when it is stored."""
    for lane in range(n):
        a[lane] = _unary_int(op, a[lane], value)


@inner
def limits(dtype: int) -> tuple[int, int]:
    """Return the smallest and the largest number of an integer type."""
    bits = 8 * item_bytes(dtype)
    if dtype in (UINT8, UINT16):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


@inner
def _integral(rounding: int, x: float) -> float:
    """Return a number below 2**50 rounded to an integer."""
    nearest = (x + _MAGIC) - _MAGIC
    if rounding == FLOOR:
        return nearest - 1.0 if nearest > x else nearest
    if rounding == CEIL:
        return nearest + 1.0 if nearest < x else nearest
    size = abs(x) + 0.5 if rounding == AWAY else abs(x)
    whole = (size + _MAGIC) - _MAGIC
    whole = whole - 1.0 if whole > size else whole
    return -whole if x < 0 else whole


@inner
def floats_to_ints(rounding: int, dtype: int, floats: Floats, ints: Ints, n: int) -> None:
    """Round n numbers to integers within the range of a type; a NaN gives 0."""
    low, high = limits(dtype)
    least, largest = np.float64(low), np.float64(high)
    for lane in range(n):
        x = np.float64(floats[lane])
        x = x if x > least - 1.0 else least - 1.0
        x = x if x < largest + 1.0 else largest + 1.0
        t = (x if rounding in (NEAREST, EVEN) else _integral(rounding, x)) + _MAGIC
        whole = np.float64(t).view(np.int64) - _MAGIC_BITS
        whole = np.int64(min(max(whole, np.int64(low)), np.int64(high)))
        ints[lane] = whole if floats[lane] == floats[lane] else 0


@inner
def saturate(dtype: int, ints: Ints, n: int) -> None:
    """Bring n integers into the range of a type."""
    low, high = limits(dtype)
    for lane in range(n):
        ints[lane] = min(max(ints[lane], low), high)


@inner
def ints_to_floats(scale: np.float32, ints: Ints, floats: Floats, n: int) -> None:
    """Turn n integers to float32, to the nearest, and multiply by a scale."""
    for lane in range(n):
        floats[lane] = np.float32(ints[lane]) * scale


@inner
def rounded_to_half(rounding: int, value: np.float32, nearest: int, widened: np.float32) -> int:
    """Return the float16 bits that a mode rounds to, given the nearest ones and what they mean.

    To odd: cut off, and set the lowest bit if that lost anything; infinity is not reached.
    """
    if rounding in (NEAREST, EVEN) or np.isnan(value) or widened == value:
        return nearest
    below = nearest - 1 if abs(widened) > abs(value) else nearest  # towards zero
    if rounding == ODD:
        return below | 1
    if rounding == AWAY:
        return nearest
    if rounding == TRUNC or (rounding == FLOOR) == (value > 0):
        return below
    return below + 1
