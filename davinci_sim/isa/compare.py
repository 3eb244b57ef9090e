"""Compare, select, reduce and permute on the vector unit."""

import numpy as np

from davinci_sim.isa.fields import In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import jit
from davinci_sim.isa.lanes import (
    REPEAT_BYTES,
    highest_lane,
    item_bytes,
    lane_is_on,
    lanes_region,
    load_floats,
    store_floats,
)
from davinci_sim.isa.machine import at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region, region
from davinci_sim.isa.vector import FLOATS, Binary, vector_cycles
from davinci_sim.memory.spaces import Space

(EQ, NE, LT, LE, GT, GE) = range(6)
(SUM, MAXIMUM, MINIMUM) = range(3)
(WHOLE, BLOCK, PAIR) = (0, 4, 8)
"""What is combined: all the lanes of a repeat, each block of 32 bytes, or neighbours."""


@jit
def _holds(op, a, b):
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


@jit
def _compare(i, memory, op):
    """Write one bit per lane of every repeat, lane 0 in the lowest bit."""
    lanes = REPEAT_BYTES // item_bytes(i.dtype)
    a, b = np.empty(128, dtype=np.float32), np.empty(128, dtype=np.float32)
    for repeat in range(i.repeat):
        load_floats(memory, i.dtype, at(memory, i.src0) + repeat * i.src0_rep * 32, i.src0_blk, lanes, a)
        load_floats(memory, i.dtype, at(memory, i.src1) + repeat * i.src1_rep * 32, i.src1_blk, lanes, b)
        d = at(memory, i.dst) + repeat * lanes // 8
        for byte in range(lanes // 8):
            bits = 0
            for bit in range(8):
                if _holds(op, a[byte * 8 + bit], b[byte * 8 + bit]):
                    bits |= 1 << bit
            memory.local[d + byte] = np.uint8(bits)


@jit
def _compare_accesses(i):
    size = item_bytes(i.dtype)
    lanes = REPEAT_BYTES // size
    return (
        region(1, i.dst, i.repeat * lanes // 8),
        lanes_region(0, i.src0, lanes, size, i.src0_blk, i.src0_rep, i.repeat),
        lanes_region(0, i.src1, lanes, size, i.src1_blk, i.src1_rep, i.repeat),
    )


class Compare:
    """Operands of the comparisons: bits of `dst` follow each other, 128 or 64 a repeat."""

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    repeat = Size(255, low=1)
    src0_blk = Size(255, default=1)
    src1_blk = Size(255, default=1)
    src0_rep = Size(255, default=8)
    src1_rep = Size(255, default=8)
    cycles = vector_cycles
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


@jit
def _select_accesses(i):
    size = item_bytes(i.dtype)
    lanes = REPEAT_BYTES // size
    used = highest_lane(i.mask_lo, i.mask_hi, lanes) + 1
    return (
        lanes_region(1, i.dst, used, size, i.dst_blk, i.dst_rep, i.repeat),
        lanes_region(0, i.src0, used, size, i.src0_blk, i.src0_rep, i.repeat),
        lanes_region(0, i.src1, used, size, i.src1_blk, i.src1_rep, i.repeat),
        region(0, i.sel, i.repeat * lanes // 8),
    )


@instruction(Pipe.V, FLOATS)
class vsel(Binary):
    """dst = src0 where the bit of `sel` is 1, src1 elsewhere; `sel` is what a comparison wrote."""

    sel = In(Space.UB)
    accesses = _select_accesses

    def execute(i, memory):
        """Select lane by lane."""
        lanes = REPEAT_BYTES // item_bytes(i.dtype)
        used = highest_lane(i.mask_lo, i.mask_hi, lanes) + 1
        a, b = np.empty(128, dtype=np.float32), np.empty(128, dtype=np.float32)
        for repeat in range(i.repeat):
            load_floats(memory, i.dtype, at(memory, i.src0) + repeat * i.src0_rep * 32, i.src0_blk, used, a)
            load_floats(memory, i.dtype, at(memory, i.src1) + repeat * i.src1_rep * 32, i.src1_blk, used, b)
            bits = at(memory, i.sel) + repeat * lanes // 8
            for lane in range(used):
                if (memory.local[bits + lane // 8] >> (lane % 8)) & 1 == 0:
                    a[lane] = b[lane]
            d = at(memory, i.dst) + repeat * i.dst_rep * 32
            store_floats(memory, i.dtype, d, i.dst_blk, used, i.mask_lo, i.mask_hi, a)


@jit
def _combine(op, a, b):
    """Return the sum, maximum or minimum of two numbers."""
    if op == SUM:
        return a + b
    if op == MAXIMUM:
        return a if a > b or a != a else b
    return a if a < b or a != a else b


@jit
def _tree(op, values, n):
    """Return values[:n] combined as a binary tree of neighbours (float32)."""
    while n > 1:
        half = n // 2
        for index in range(half):
            values[index] = _combine(op, values[2 * index], values[2 * index + 1])
        if n % 2 == 1:
            values[half] = values[n - 1]
            half += 1
        n = half
    return values[0]


@jit
def _group_lanes(variant, size):
    """Return how many lanes are combined to one element."""
    if variant >= PAIR:
        return 2
    return 32 // size if variant >= BLOCK else REPEAT_BYTES // size


@jit
def _reduce(i, memory, variant):
    """Combine the masked lanes of each group; groups without a lane are left alone."""
    size = item_bytes(i.dtype)
    lanes = REPEAT_BYTES // size
    op, group = variant % 4, _group_lanes(variant, size)
    a, kept = np.empty(128, dtype=np.float32), np.empty(128, dtype=np.float32)
    for repeat in range(i.repeat):
        load_floats(memory, i.dtype, at(memory, i.src) + repeat * i.src_rep * 32, i.src_blk, lanes, a)
        for index in range(lanes // group):
            n = 0
            for lane in range(index * group, (index + 1) * group):
                if lane_is_on(i.mask_lo, i.mask_hi, lane):
                    kept[n] = a[lane]
                    n += 1
            if n > 0:
                kept[0] = _tree(op, kept, n)
                d = at(memory, i.dst) + (repeat * i.dst_rep + index) * size
                store_floats(memory, i.dtype, d, 1, 1, 1, 0, kept)


@jit
def _reduce_accesses(i, variant):
    size = item_bytes(i.dtype)
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    group = _group_lanes(variant, size)
    groups = (lanes + group - 1) // group
    return (
        Region(1, i.dst, groups * size, i.repeat, i.dst_rep * size, 1, 0),
        lanes_region(0, i.src, lanes, size, i.src_blk, i.src_rep, i.repeat),
    )


class Reduction:
    """Operands of the reductions; `dst_rep` counts elements between the results of two repeats."""

    dst = Out(Space.UB, align=2)
    src = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    src_blk = Size(255, default=1)
    src_rep = Size(255, default=8)
    dst_rep = Size(65535, default=1)
    cycles = vector_cycles
    accesses = _reduce_accesses
    execute = _reduce


@instruction(Pipe.V, FLOATS)
class vcadd(Reduction):
    """dst = sum of the masked lanes of each repeat, in float32 as a tree of neighbours, rounded once."""

    variant = WHOLE + SUM


@instruction(Pipe.V, ("fp16",))
class vcmax(Reduction):
    """dst = largest of the masked lanes of each repeat (the index that the real one adds is left out)."""

    variant = WHOLE + MAXIMUM


@instruction(Pipe.V, ("fp16",))
class vcmin(Reduction):
    """dst = smallest of the masked lanes of each repeat (the index that the real one adds is left out)."""

    variant = WHOLE + MINIMUM


@instruction(Pipe.V, ("fp16",))
class vcgadd(Reduction):
    """dst = sum of each block, eight elements a repeat."""

    variant = BLOCK + SUM


@instruction(Pipe.V, ("fp16",))
class vcgmax(Reduction):
    """dst = largest of each block, eight elements a repeat."""

    variant = BLOCK + MAXIMUM


@instruction(Pipe.V, ("fp16",))
class vcgmin(Reduction):
    """dst = smallest of each block, eight elements a repeat."""

    variant = BLOCK + MINIMUM


@instruction(Pipe.V, ("fp16",))
class vcpadd(Reduction):
    """dst = sums of neighbouring lanes, half as many elements."""

    variant = PAIR + SUM


@instruction(Pipe.V, ("fp16", "int16", "uint16"))
class vnchwconv:
    """Transpose 16 rows of 16 two-byte elements: dst row j, lane i = src row i, lane j, for every repeat.

    Rows are blocks of 32 bytes, `*_row` blocks apart; a source row stride of 0 spreads each lane of one
    block over a whole row. Four-byte numbers are transposed as pairs of halves.
    Source: vnchwconv in the vendor's intrinsic list (16-bit types on the first generation).
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    dst_row = Size(65535, default=1)
    src_row = Size(65535, default=1)
    dst_rep = Size(65535, default=16)
    src_rep = Size(65535, default=16)
    cycles = vector_cycles

    def accesses(i):
        """Return the rows written and read."""
        return (
            Region(1, i.dst, 32, 16, i.dst_row * 32, i.repeat, i.dst_rep * 32),
            Region(0, i.src, 32, 16, i.src_row * 32, i.repeat, i.src_rep * 32),
        )

    def execute(i, memory):
        """Transpose repeat by repeat."""
        tile = np.empty((16, 16), dtype=np.uint16)
        for repeat in range(i.repeat):
            s, d = at(memory, i.src) // 2 + repeat * i.src_rep * 16, at(memory, i.dst) // 2 + repeat * i.dst_rep * 16
            for row in range(16):
                for lane in range(16):
                    tile[lane, row] = memory.u16[s + row * i.src_row * 16 + lane]
            for row in range(16):
                for lane in range(16):
                    memory.u16[d + row * i.dst_row * 16 + lane] = tile[row, lane]
