"""The largest and the smallest lane of a repeat, with the lane's number, on the vector unit."""

from typing import Any

import numpy as np

from davinci_sim.isa.fields import FP32
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    block_count,
    item_bytes,
    lane_is_on,
    lane_regions,
    load_floats,
    part,
    store_float,
)
from davinci_sim.isa.lanewise import lanes_used, src_rows
from davinci_sim.isa.machine import Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.reduce import MAXIMUM, MINIMUM, Reduction
from davinci_sim.isa.region import READ, WRITTEN, Region
from davinci_sim.isa.vector import FLOATS


@inner
def _extreme(i: Any, memory: Memory, variant: int) -> None:
    """Write value and lane of the extreme of each repeat."""
    size, dst, src = item_bytes(i.dtype), at(memory, i.dst), src_rows(i, memory)
    lanes = lanes_used(i.mask_lo, i.mask_hi, size)
    a = np.empty(128, dtype=np.float32)
    for repeat in range(i.repeat):
        load_floats(memory, i.dtype, part(src, repeat, 1), block_count(lanes, size), a)
        best = -1
        for lane in range(lanes):
            if lane_is_on(i.mask_lo, i.mask_hi, lane) and (
                best < 0
                or (variant == MAXIMUM and a[lane] > a[best])
                or (variant == MINIMUM and a[lane] < a[best])
                or (np.isnan(a[lane]) and not np.isnan(a[best]))
            ):
                best = lane
        place = dst + repeat * i.dst_rep * 2 * size
        if best >= 0:
            store_float(memory, i.dtype, place, a[best])
            if i.dtype == FP32:
                memory.i32[place // 4 + 1] = np.int32(best)
            else:
                memory.u16[place // 2 + 1] = np.uint16(best)


@inner
def _extreme_accesses(i: Any) -> tuple[Region, Region, Region]:
    """Return the pairs written and the lanes read."""
    size = item_bytes(i.dtype)
    lanes = lanes_used(i.mask_lo, i.mask_hi, size)
    src = lane_regions(READ, i.src, lanes, size, i.src_blk, i.src_rep, i.repeat)
    pair = 2 * size if lanes > 0 else 0
    return Region(WRITTEN, i.dst, pair, i.repeat, i.dst_rep * 2 * size, 1, 0), src[0], src[1]


class Extreme(Reduction):
    """Operands of the extremes of a repeat; `dst_rep` counts pairs of elements."""

    accesses = _extreme_accesses
    execute = _extreme


@instruction(Pipe.V, FLOATS, default_dtype="fp16")
class vcmax(Extreme):
    """dst = (largest of the masked lanes of each repeat, its lane); the first of equal ones, a NaN wins.

    The lane is an unsigned integer as wide as the value. fp32: 310P and later.
    Source: Ascend C WholeReduceMax (order value, index; the destination stride counts two elements).
    """

    variant = MAXIMUM


@instruction(Pipe.V, FLOATS, default_dtype="fp16")
class vcmin(Extreme):
    """dst = (smallest of the masked lanes of each repeat, its lane); the first of equal ones, a NaN wins.

    The lane is an unsigned integer as wide as the value. fp32: 310P and later.
    Source: Ascend C WholeReduceMin (order value, index; the destination stride counts two elements).
    """

    variant = MINIMUM
