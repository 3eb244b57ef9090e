"""Folding: many repeats of fp32 lanes combined to few, by sum or maximum."""

from typing import Any

from davinci_sim.isa import FP32, vadd, vmax
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX_REPEAT

BLOCK = 32
LOWEST = -3.4028234663852886e38
"""The start of a maximum: the lowest finite fp32, so that rows of nothing but -inf answer with this."""


@emits
def fold(core: Any, op: int, dst: int, src: int, repeat: int, mask: int, dst_rep: int, src_rep: int) -> None:
    """Combine (ADD or MAX) each repeat of src with one of dst; with a dst_rep of 0, all with the same one."""
    for done in range(0, repeat, MAX_REPEAT):
        count = min(MAX_REPEAT, repeat - done)
        to, other = dst + done * dst_rep * BLOCK, src + done * src_rep * BLOCK
        if op == ADD:
            vadd(core, to, to, other, count, FP32, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
        else:
            vmax(core, to, to, other, count, FP32, mask, 1, 1, 1, dst_rep, dst_rep, src_rep)
