"""Instructions of two sources, each with strides of its own: arithmetic, and comparisons that give 1 or 0.

`op` is a number of `kernels.lang.flat` (ADD, SUB ...), or what `comparison` returns.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import (
    FP32,
    vadd,
    vcmpv_eq,
    vcmpv_ge,
    vcmpv_gt,
    vcmpv_le,
    vcmpv_lt,
    vcmpv_ne,
    vdiv,
    vector_dup,
    vmax,
    vmin,
    vmul,
    vrec,
    vsel,
    vsub,
)
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, DIV, MAX, MAX_REPEAT, MUL, SUB, flat_binary, size_of
from kernels.lang.lacking import VDIV, lacks

EQ, NE, LT, LE, GT, GE = range(6)
FIRST_TEST, TESTS = 8, 16
"""From the first of these on operations are comparisons; their rest by the second says which."""
BLOCK, REPEAT = 32, 256
TRUE, FALSE = (MAX_REPEAT + 1) * BLOCK // 2, (MAX_REPEAT + 3) * BLOCK // 2
"""Where the blocks of ones and zeros lie behind the bits, which are 16 bytes a repeat at the most."""


class Side(NamedTuple):
    """A source in UB: its handle, block stride, repeat stride, and bytes for each 256 of the result."""

    at: int
    blk: int
    rep: int
    step: int


class Lanes(NamedTuple):
    """What the repeats of an instruction against single blocks have in common; strides are in blocks."""

    dtype: int
    mask: int
    pitch: int
    b_rep: int


@emits
def comparison(core: Any, test: int, dtype: int) -> int:
    """Return the operation that writes 1 where a test (EQ to GE) holds and 0 elsewhere.

    It keeps where in UB its bits lie, and behind them a block of ones and one of zeros.
    """
    room = alloc(core, UB, FALSE + BLOCK)
    vector_dup(core, room + TRUE, 1, 1.0, dtype, BLOCK // size_of(core, dtype))
    vector_dup(core, room + FALSE, 1, 0.0, dtype, BLOCK // size_of(core, dtype))
    return int(room * TESTS + FIRST_TEST + test)


@emits
def read_behind(core: Any, op: int) -> int:
    """Return the bytes behind a source that an operation reads: comparisons take whole repeats."""
    return REPEAT if op >= FIRST_TEST else 0


@emits
def compare_sides(core: Any, op: int, dst: int, a: Side, b: Side, repeat: int, s: Lanes) -> None:
    """Compute dst = 1 or 0, each source with strides of its own."""
    test, bits = op % TESTS - FIRST_TEST, op // TESTS
    if test == EQ:
        vcmpv_eq(core, bits, a.at, b.at, repeat, s.dtype, a.blk, b.blk, a.rep, b.rep)
    elif test == NE:
        vcmpv_ne(core, bits, a.at, b.at, repeat, s.dtype, a.blk, b.blk, a.rep, b.rep)
    elif test == LT:
        vcmpv_lt(core, bits, a.at, b.at, repeat, s.dtype, a.blk, b.blk, a.rep, b.rep)
    elif test == LE:
        vcmpv_le(core, bits, a.at, b.at, repeat, s.dtype, a.blk, b.blk, a.rep, b.rep)
    elif test == GT:
        vcmpv_gt(core, bits, a.at, b.at, repeat, s.dtype, a.blk, b.blk, a.rep, b.rep)
    else:
        vcmpv_ge(core, bits, a.at, b.at, repeat, s.dtype, a.blk, b.blk, a.rep, b.rep)
    vsel(core, dst, bits + TRUE, bits + FALSE, repeat, bits, s.dtype, s.mask, 1, 0, 0, s.pitch, 0, 0)


@emits
def strided_sides(core: Any, op: int, dst: int, a: Side, b: Side, repeat: int, s: Lanes) -> None:
    """Compute dst = a op b, each source with strides of its own; dst's rows are `s.pitch` blocks apart."""
    if op >= FIRST_TEST:
        compare_sides(core, op, dst, a, b, repeat, s)
    elif op == ADD:
        vadd(core, dst, a.at, b.at, repeat, s.dtype, s.mask, 1, a.blk, b.blk, s.pitch, a.rep, b.rep)
    elif op == SUB:
        vsub(core, dst, a.at, b.at, repeat, s.dtype, s.mask, 1, a.blk, b.blk, s.pitch, a.rep, b.rep)
    elif op == MUL:
        vmul(core, dst, a.at, b.at, repeat, s.dtype, s.mask, 1, a.blk, b.blk, s.pitch, a.rep, b.rep)
    elif op == DIV and s.dtype == FP32 and lacks(core, VDIV, s.dtype) != 0:  # as `binary` does
        vrec(core, dst, b.at, repeat, s.dtype, s.mask, 1, b.blk, s.pitch, b.rep)
        vmul(core, dst, a.at, dst, repeat, s.dtype, s.mask, 1, a.blk, 1, s.pitch, a.rep, s.pitch)
    elif op == DIV:
        vdiv(core, dst, a.at, b.at, repeat, s.dtype, s.mask, 1, a.blk, b.blk, s.pitch, a.rep, b.rep)
    elif op == MAX:
        vmax(core, dst, a.at, b.at, repeat, s.dtype, s.mask, 1, a.blk, b.blk, s.pitch, a.rep, b.rep)
    else:
        vmin(core, dst, a.at, b.at, repeat, s.dtype, s.mask, 1, a.blk, b.blk, s.pitch, a.rep, b.rep)


@emits
def strided_binary(core: Any, op: int, dst: int, a: int, b: int, repeat: int, s: Lanes) -> None:
    """Compute dst = a op b, where each repeat meets one block of b."""
    strided_sides(core, op, dst, Side(a, 1, s.pitch, REPEAT), Side(b, 0, s.b_rep, 0), repeat, s)


@emits
def flat_sides(core: Any, op: int, dst: int, a: int, b: int, n: int, dtype: int) -> None:
    """Compute dst[n] = a[n] op b[n], contiguous in UB."""
    if op < FIRST_TEST:
        flat_binary(core, op, dst, a, b, n, dtype)
        return
    lanes, done = REPEAT // size_of(core, dtype), 0
    while done < n:
        repeat, at = max(1, min(MAX_REPEAT, (n - done) // lanes)), done // lanes * REPEAT
        left, right = Side(a + at, 1, 8, REPEAT), Side(b + at, 1, 8, REPEAT)
        compare_sides(core, op, dst + at, left, right, repeat, Lanes(dtype, min(lanes, n - done), 8, 8))
        done += repeat * lanes
