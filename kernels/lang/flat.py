"""Vector instructions over any number of contiguous elements: full repeats, then a masked rest."""

from typing import Any

from davinci_sim.isa import (
    FP32,
    INT8,
    INT32,
    UINT8,
    vabs,
    vadd,
    vadds,
    vconv,
    vdiv,
    vector_dup,
    vexp,
    vln,
    vmax,
    vmin,
    vmul,
    vmuls,
    vrec,
    vrelu,
    vrsqrt,
    vsqrt,
    vsub,
)
from kernels.lang.emits import emits
from kernels.lang.lacking import VDIV, VSQRT, lacks

MAX_REPEAT = 255
ADD, SUB, MUL, DIV, MAX, MIN = range(6)
EXP, LN, REC, RSQRT, SQRT, ABS, RELU = range(7)


@emits
def size_of(core: Any, dtype: int) -> int:
    """Return the bytes of one element."""
    if dtype in (FP32, INT32):
        return 4
    return 1 if dtype in (INT8, UINT8) else 2


@emits
def binary(core: Any, op: int, dst: int, a: int, b: int, repeat: int, dtype: int, mask: int) -> None:
    """Emit the two-source instruction numbered `op` on contiguous repeats; dst is neither of the sources.

    A chip without vdiv multiplies by the reciprocal in fp32: two roundings. Not in fp16, whose reciprocals
    are infinite from 2**-16 down.
    """
    if op == ADD:
        vadd(core, dst, a, b, repeat, dtype, mask)
    elif op == SUB:
        vsub(core, dst, a, b, repeat, dtype, mask)
    elif op == MUL:
        vmul(core, dst, a, b, repeat, dtype, mask)
    elif op == DIV and dtype == FP32 and lacks(core, VDIV, dtype) != 0:
        vrec(core, dst, b, repeat, dtype, mask)
        vmul(core, dst, a, dst, repeat, dtype, mask)
    elif op == DIV:
        vdiv(core, dst, a, b, repeat, dtype, mask)
    elif op == MAX:
        vmax(core, dst, a, b, repeat, dtype, mask)
    else:
        vmin(core, dst, a, b, repeat, dtype, mask)


@emits
def unary(core: Any, op: int, dst: int, a: int, repeat: int, dtype: int, mask: int) -> None:
    """Emit the one-source instruction numbered `op` on contiguous repeats.

    A chip without vsqrt inverts the inverse root: two roundings, and right for 0 and infinity, too.
    """
    if op == EXP:
        vexp(core, dst, a, repeat, dtype, mask)
    elif op == LN:
        vln(core, dst, a, repeat, dtype, mask)
    elif op == REC:
        vrec(core, dst, a, repeat, dtype, mask)
    elif op == RSQRT:
        vrsqrt(core, dst, a, repeat, dtype, mask)
    elif op == SQRT and lacks(core, VSQRT, dtype) != 0:
        vrsqrt(core, dst, a, repeat, dtype, mask)
        vrec(core, dst, dst, repeat, dtype, mask)
    elif op == SQRT:
        vsqrt(core, dst, a, repeat, dtype, mask)
    elif op == ABS:
        vabs(core, dst, a, repeat, dtype, mask)
    else:
        vrelu(core, dst, a, repeat, dtype, mask)


@emits
def flat_binary(core: Any, op: int, dst: int, a: int, b: int, n: int, dtype: int) -> None:
    """dst[n] = a[n] op b[n], contiguous in UB."""
    lanes = 256 // size_of(core, dtype)
    done = 0
    while done + lanes <= n:
        repeat = min(MAX_REPEAT, (n - done) // lanes)
        offset = done // lanes * 256
        binary(core, op, dst + offset, a + offset, b + offset, repeat, dtype, lanes)
        done += repeat * lanes
    if done < n:
        offset = done // lanes * 256
        binary(core, op, dst + offset, a + offset, b + offset, 1, dtype, n - done)


@emits
def flat_unary(core: Any, op: int, dst: int, a: int, n: int, dtype: int) -> None:
    """dst[n] = op(a[n]), contiguous in UB."""
    lanes = 256 // size_of(core, dtype)
    done = 0
    while done + lanes <= n:
        repeat = min(MAX_REPEAT, (n - done) // lanes)
        offset = done // lanes * 256
        unary(core, op, dst + offset, a + offset, repeat, dtype, lanes)
        done += repeat * lanes
    if done < n:
        offset = done // lanes * 256
        unary(core, op, dst + offset, a + offset, 1, dtype, n - done)


@emits
def flat_scale(core: Any, dst: int, a: int, n: int, factor: float, addend: float, dtype: int) -> None:
    """dst[n] = a[n] * factor + addend, contiguous in UB; in place a factor of 1 or an addend of 0 is free."""
    lanes = 256 // size_of(core, dtype)
    source, is_copy = a, factor == 1.0 and addend == 0.0 and dst != a
    for part in range(2):
        value = factor if part == 0 else addend
        if (part == 0 and factor == 1.0 and not is_copy) or (part == 1 and addend == 0.0):
            continue
        done = 0
        while done < n:
            repeat = max(1, min(MAX_REPEAT, (n - done) // lanes))
            offset, mask = done // lanes * 256, min(lanes, n - done)
            if part == 0:
                vmuls(core, dst + offset, source + offset, repeat, value, dtype, mask)
            else:
                vadds(core, dst + offset, source + offset, repeat, value, dtype, mask)
            done += repeat * lanes
        source = dst


@emits
def flat_dup(core: Any, dst: int, value: float, n: int, dtype: int) -> None:
    """dst[n] = value, contiguous in UB."""
    lanes = 256 // size_of(core, dtype)
    done = 0
    while done < n:
        repeat = max(1, min(MAX_REPEAT, (n - done) // lanes))
        vector_dup(core, dst + done // lanes * 256, repeat, value, dtype, min(lanes, n - done))
        done += repeat * lanes


@emits
def flat_convert(core: Any, dst: int, to: int, src: int, dtype: int, n: int) -> None:
    """dst[n] (type `to`) = src[n] (type `dtype`), contiguous in UB; equal types are not allowed."""
    wider = max(size_of(core, dtype), size_of(core, to))
    lanes = 256 // wider
    dst_rep, src_rep = lanes * size_of(core, to) // 32, lanes * size_of(core, dtype) // 32
    done = 0
    while done < n:
        repeat = max(1, min(MAX_REPEAT, (n - done) // lanes))
        d, s = dst + done * size_of(core, to), src + done * size_of(core, dtype)
        vconv(core, d, s, to, repeat, dtype, min(lanes, n - done), 1, 1, dst_rep, src_rep)
        done += repeat * lanes
