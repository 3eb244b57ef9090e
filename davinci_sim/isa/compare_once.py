"""Compare one repeat into the compare-mask register of the vector unit."""

from typing import Any

import numpy as np

from davinci_sim.isa.banks import nothing, reads, unit_of, vector_time
from davinci_sim.isa.compare import EQ, GE, GT, LE, LT, NE, holds
from davinci_sim.isa.fields import Declaration, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    REPEAT_BYTES,
    Rows,
    block_count,
    item_bytes,
    lane_is_on,
    lane_regions,
    load_floats,
)
from davinci_sim.isa.lanewise import (
    lanes_used,
)
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region
from davinci_sim.isa.vector import FLOATS
from davinci_sim.memory.spaces import Space

REGISTER_BYTES = 16


@inner
def _compare_once(i: Any, memory: Memory, variant: int) -> None:
    """Write the bits of the masked lanes, zeros elsewhere, 128 in all."""
    lanes = REPEAT_BYTES // item_bytes(i.dtype)
    blocks = block_count(lanes, item_bytes(i.dtype))
    a, b = np.empty(128, dtype=np.float32), np.empty(128, dtype=np.float32)
    load_floats(memory, i.dtype, Rows(at(memory, i.src0), i.src0_blk, 0, 1), blocks, a)
    load_floats(memory, i.dtype, Rows(at(memory, i.src1), i.src1_blk, 0, 1), blocks, b)
    for byte in range(REGISTER_BYTES):
        bits = 0
        for lane in range(byte * 8, min(byte * 8 + 8, lanes)):
            if lane_is_on(i.mask_lo, i.mask_hi, lane) and holds(variant, a[lane], b[lane]):
                bits |= 1 << (lane & 7)
        memory.local[at(memory, i.dst) + byte] = np.uint8(bits)


@inner
def _compare_once_accesses(i: Any) -> tuple[Region, ...]:
    """Return the register written and the lanes read."""
    size = item_bytes(i.dtype)
    lanes = lanes_used(i.mask_lo, i.mask_hi, size)
    src0 = lane_regions(READ, i.src0, lanes, size, i.src0_blk, 0, 1)
    src1 = lane_regions(READ, i.src1, lanes, size, i.src1_blk, 0, 1)
    return region(WRITTEN, i.dst, REGISTER_BYTES), src0[0], src1[0], src0[1], src1[1]


@inner
def _compare_once_cycles(i: Any, costs: Costs) -> int:
    """Count one repeat."""
    size = item_bytes(i.dtype)
    blocks = block_count(lanes_used(i.mask_lo, i.mask_hi, size), size)
    left, right = reads(i.src0, i.src0_blk, 0, blocks), reads(i.src1, i.src1_blk, 0, blocks)
    unit = unit_of(costs.vector_cycles[i.opcode, i.dtype], costs)
    return vector_time(nothing(), left, right, 1, unit)


class CompareOnce(Declaration):
    """Operands of the comparisons of one repeat into the compare-mask register.

    Model: the register is 16 bytes of UB that the kernel names, so that the checks see who writes and who
    reads it; bits of lanes outside of the mask become 0 (the real ones are not published).
    Source: Ascend C Compare without a destination (one repeat, result in the CMPMASK register).
    """

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    mask = Mask()
    src0_blk = Size(255, default=1)
    src1_blk = Size(255, default=1)
    cycles = _compare_once_cycles
    accesses = _compare_once_accesses
    execute = _compare_once


@instruction(Pipe.V, FLOATS)
class vcmp_eq(CompareOnce):
    """The compare mask = (src0 == src1)."""

    variant = EQ


@instruction(Pipe.V, FLOATS)
class vcmp_ne(CompareOnce):
    """The compare mask = (src0 != src1)."""

    variant = NE


@instruction(Pipe.V, FLOATS)
class vcmp_lt(CompareOnce):
    """The compare mask = (src0 < src1)."""

    variant = LT


@instruction(Pipe.V, FLOATS)
class vcmp_le(CompareOnce):
    """The compare mask = (src0 <= src1)."""

    variant = LE


@instruction(Pipe.V, FLOATS)
class vcmp_gt(CompareOnce):
    """The compare mask = (src0 > src1)."""

    variant = GT


@instruction(Pipe.V, FLOATS)
class vcmp_ge(CompareOnce):
    """The compare mask = (src0 >= src1)."""

    variant = GE
