"""Folding: many repeats of fp32 lanes combined to few, by sum, product, maximum or minimum."""

import math
from typing import Any

from davinci_sim.isa import FP32, vadd, vaxpy_mixed, vmax, vmin, vmul
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX, MAX_REPEAT, MUL

BLOCK = 32
LOWEST = -3.4028234663852886e38
"""The lowest finite fp32: a start of maxima that may be subtracted from each other."""
INFINITE = math.inf
ADD_HALF = 16
"""The operation that adds fp16 to fp32, 64 numbers a repeat."""


@emits
def start_of(core: Any, op: int) -> float:
    """Return the number that changes nothing when it is combined with others."""
    if op == ADD:
        return 0.0
    if op == MUL:
        return 1.0
    return -INFINITE if op == MAX else INFINITE


@emits
def fold(core: Any, op: int, dst: int, src: int, repeat: int, mask: int, dst_rep: int, src_rep: int) -> None:
    """Combine each repeat of src with one of dst, by the operation `op`.

    With a dst_rep of 0, all are combined with the same one.
    """
    for done in range(0, repeat, MAX_REPEAT):
        count = min(MAX_REPEAT, repeat - done)
        to, other = dst + done * dst_rep * BLOCK, src + done * src_rep * BLOCK
        if op == ADD_HALF:
            vaxpy_mixed(core, to, other, count, 1.0, mask, 1, 1, dst_rep, src_rep)
        elif op == ADD:
            vadd(core, to, to, other, count, FP32, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
        elif op == MUL:
            vmul(core, to, to, other, count, FP32, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
        elif op == MAX:
            vmax(core, to, to, other, count, FP32, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
        else:
            vmin(core, to, to, other, count, FP32, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)


@emits
def fold_lanes(core: Any, op: int, kept: int, repeat: int, lanes: int) -> None:
    """Fold the 64 lanes of each of `repeat` lines onto its first `lanes` (8, 16, 32 or 64)."""
    half = 32
    while half >= lanes:
        fold(core, op, kept, kept + half * 4, repeat, half, 8, 8)
        half = half // 2
