"""Folding: many repeats of fp32 or int32 lanes combined to few, by sum, product, maximum or minimum."""

import math
from typing import Any

from davinci_sim.isa import FP32, INT32, UINT16, vadd, vaxpy_mixed, vmax, vmin, vmul, vnot
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX, MAX_REPEAT, MIN, MUL, flat_dup

BLOCK = 32
LOWEST = -3.4028234663852886e38
"""The lowest finite fp32: a start of maxima that may be subtracted from each other."""
INFINITE = math.inf
ADD_HALF = 16
"""The operation that adds fp16 to fp32, 64 numbers a repeat."""
INTEGERS = 32
"""What is added to an operation that combines int32."""
LEAST = -2147483648.0
"""The least int32."""
LANES = 64


@emits
def start_of(core: Any, op: int) -> float:
    """Return the number that changes nothing when it is combined with others."""
    if op == ADD:
        return 0.0
    if op == MUL:
        return 1.0
    return -INFINITE if op == MAX else INFINITE


@emits
def start_lines(core: Any, op: int, dst: int, n: int) -> None:
    """Set dst[n] to the number that changes nothing when it is combined with others, by whole repeats."""
    how = op - INTEGERS
    if how < 0:
        flat_dup(core, dst, start_of(core, op), n, FP32)
        return
    flat_dup(core, dst, LEAST if how in (MAX, MIN) else start_of(core, how), n, INT32)
    for done in range(0, n if how == MIN else 0, MAX_REPEAT * LANES):  # all its bits turned: the greatest
        repeat = min(MAX_REPEAT, (n - done + LANES - 1) // LANES)
        vnot(core, dst + done * 4, dst + done * 4, repeat, UINT16, 2 * LANES)


@emits
def fold(core: Any, op: int, dst: int, src: int, repeat: int, mask: int, dst_rep: int, src_rep: int) -> None:
    """Combine each repeat of src with one of dst, by the operation `op`.

    With a dst_rep of 0, all are combined with the same one.
    """
    kind, how = (INT32, op - INTEGERS) if op >= INTEGERS else (FP32, op)
    for done in range(0, repeat, MAX_REPEAT):
        count = min(MAX_REPEAT, repeat - done)
        to, other = dst + done * dst_rep * BLOCK, src + done * src_rep * BLOCK
        if op == ADD_HALF:
            vaxpy_mixed(core, to, other, count, 1.0, mask, 1, 1, dst_rep, src_rep)
        elif how == ADD:
            vadd(core, to, to, other, count, kind, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
        elif how == MUL:
            vmul(core, to, to, other, count, kind, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
        elif how == MAX:
            vmax(core, to, to, other, count, kind, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
        else:
            vmin(core, to, to, other, count, kind, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)


@emits
def fold_lanes(core: Any, op: int, kept: int, repeat: int, lanes: int) -> None:
    """Fold the 64 lanes of each of `repeat` lines onto its first `lanes` (8, 16, 32 or 64)."""
    half = 32
    while half >= lanes:
        fold(core, op, kept, kept + half * 4, repeat, half, 8, 8)
        half = half // 2
