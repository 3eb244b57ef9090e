"""Compare on the vector unit: one bit per lane, lane 0 in the lowest bit of a byte."""

from typing import Any

import numpy as np

from davinci_sim.isa.banks import nothing, reads, unit_of, vector_time
from davinci_sim.isa.fields import Declaration, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    GROUP,
    REPEAT_BYTES,
    SCRATCH,
    Floats,
    are_apart,
    block_count,
    blocks_region,
    item_bytes,
    load_floats,
    part,
    span_bytes,
)
from davinci_sim.isa.lanewise import (
    src0_rows,
    src1_rows,
)
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region
from davinci_sim.isa.vector import FLOATS
from davinci_sim.memory.spaces import Space

(EQ, NE, LT, LE, GT, GE) = range(6)


@inner
def holds(op: int, a: float, b: float) -> bool:
    """Tell whether `a op b`; comparisons with NaN are false but for inequality."""
    if op == EQ:
        return a == b
    if op == NE:
        return a != b
    if op == LT:
        return a < b
    if op == LE:
        return a <= b
    if op == GT:
        return a > b
    return a >= b


@inner
def write_bits(memory: Memory, op: int, a: Floats, b: Floats, start: int, count: int) -> None:
    """Write `count` bytes of bits from byte `start` of `local`."""
    for byte in range(count):
        bits = 0
        for bit in range(8):
            if holds(op, a[byte * 8 + bit], b[byte * 8 + bit]):
                bits |= 1 << bit
        memory.local[start + byte] = np.uint8(bits)


@inner
def _compare(i: Any, memory: Memory, variant: int) -> None:
    """Write one bit per lane of every repeat."""
    lanes, dst, group = REPEAT_BYTES // item_bytes(i.dtype), at(memory, i.dst), 1
    left, right = src0_rows(i, memory), src1_rows(i, memory)
    bits_bytes = i.repeat * lanes // 8
    if are_apart(dst, bits_bytes, left.start, span_bytes(left, 8)) and are_apart(
        dst, bits_bytes, right.start, span_bytes(right, 8)
    ):
        group = GROUP
    blocks = block_count(lanes, item_bytes(i.dtype))
    a, b = np.empty(SCRATCH, dtype=np.float32), np.empty(SCRATCH, dtype=np.float32)
    for repeat in range(0, i.repeat, group):
        n = min(group, i.repeat - repeat)
        load_floats(memory, i.dtype, part(left, repeat, n), blocks, a)
        load_floats(memory, i.dtype, part(right, repeat, n), blocks, b)
        write_bits(memory, variant, a, b, dst + repeat * lanes // 8, n * lanes // 8)


@inner
def _compare_accesses(i: Any) -> tuple[Region, Region, Region]:
    """Return the bits written and the blocks read."""
    return (
        region(WRITTEN, i.dst, i.repeat * (REPEAT_BYTES // item_bytes(i.dtype)) // 8),
        blocks_region(READ, i.src0, 8, i.src0_blk, i.src0_rep, i.repeat),
        blocks_region(READ, i.src1, 8, i.src1_blk, i.src1_rep, i.repeat),
    )


@inner
def _compare_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats."""
    left, right = reads(i.src0, i.src0_blk, i.src0_rep, 8), reads(i.src1, i.src1_blk, i.src1_rep, 8)
    unit = unit_of(costs.vector_cycles[i.opcode, i.dtype], costs)
    return vector_time(nothing(), left, right, i.repeat, unit)


class Compare(Declaration):
    """Operands of the comparisons: bits of `dst` follow each other, 128 or 64 a repeat.

    Model: writing the bits takes no bank time.
    """

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    repeat = Size(255, low=1)
    src0_blk = Size(255, default=1)
    src1_blk = Size(255, default=1)
    src0_rep = Size(255, default=8)
    src1_rep = Size(255, default=8)
    cycles = _compare_cycles
    accesses = _compare_accesses
    execute = _compare


@instruction(Pipe.V, FLOATS)
class vcmpv_eq(Compare):
    """Bits of dst = (src0 == src1)."""

    variant = EQ


@instruction(Pipe.V, FLOATS)
class vcmpv_ne(Compare):
    """Bits of dst = (src0 != src1)."""

    variant = NE


@instruction(Pipe.V, FLOATS)
class vcmpv_lt(Compare):
    """Bits of dst = (src0 < src1)."""

    variant = LT


@instruction(Pipe.V, FLOATS)
class vcmpv_le(Compare):
    """Bits of dst = (src0 <= src1)."""

    variant = LE


@instruction(Pipe.V, FLOATS)
class vcmpv_gt(Compare):
    """Bits of dst = (src0 > src1)."""

    variant = GT


@instruction(Pipe.V, FLOATS)
class vcmpv_ge(Compare):
    """Bits of dst = (src0 >= src1)."""

    variant = GE
