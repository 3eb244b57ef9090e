"""Compare, select, reduce and permute on the vector unit."""

from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.fields import Declaration, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    GROUP,
    REPEAT_BYTES,
    SCRATCH,
    Rows,
    are_apart,
    block_count,
    highest_lane,
    item_bytes,
    lane_is_on,
    lanes_region,
    load_floats,
    may_group,
    part,
    span_bytes,
    store_float,
    store_floats,
)
from davinci_sim.isa.machine import Memory, at, transpose
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region, region
from davinci_sim.isa.vector import FLOATS, Binary, vector_cycles
from davinci_sim.memory.spaces import Space

(EQ, NE, LT, LE, GT, GE) = range(6)
(SUM, MAXIMUM, MINIMUM) = range(3)
(WHOLE, BLOCK, PAIR) = (0, 4, 8)
"""What is combined: all the lanes of a repeat, each block of 32 bytes, or neighbours."""


@inner
def _holds(op: int, a: float, b: float) -> bool:
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
def _compare(i: Any, memory: Memory, op: int) -> None:
    """Write one bit per lane of every repeat, lane 0 in the lowest bit."""
    lanes, dst, group = REPEAT_BYTES // item_bytes(i.dtype), at(memory, i.dst), 1
    left = Rows(at(memory, i.src0), i.src0_blk, i.src0_rep, i.repeat)
    right = Rows(at(memory, i.src1), i.src1_blk, i.src1_rep, i.repeat)
    bits_bytes = i.repeat * lanes // 8
    if are_apart(dst, bits_bytes, left.start, span_bytes(left, 8)) and are_apart(
        dst, bits_bytes, right.start, span_bytes(right, 8)
    ):
        group = GROUP
    a, b = np.empty(SCRATCH, dtype=np.float32), np.empty(SCRATCH, dtype=np.float32)
    for repeat in range(0, i.repeat, group):
        n = min(group, i.repeat - repeat)
        load_floats(memory, i.dtype, part(left, repeat, n), 8, a)
        load_floats(memory, i.dtype, part(right, repeat, n), 8, b)
        for byte in range(n * lanes // 8):
            bits = 0
            for bit in range(8):
                if _holds(op, a[byte * 8 + bit], b[byte * 8 + bit]):
                    bits |= 1 << bit
            memory.local[dst + repeat * lanes // 8 + byte] = np.uint8(bits)


@inner
def _compare_accesses(i: Any) -> tuple[Region, Region, Region]:
    """Return the bits written and the blocks read."""
    size = item_bytes(i.dtype)
    lanes = REPEAT_BYTES // size
    return (
        region(1, i.dst, i.repeat * lanes // 8),
        lanes_region(0, i.src0, lanes, size, i.src0_blk, i.src0_rep, i.repeat),
        lanes_region(0, i.src1, lanes, size, i.src1_blk, i.src1_rep, i.repeat),
    )


class Compare(Declaration):
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


@inner
def _select_accesses(i: Any) -> tuple[Region, Region, Region, Region]:
    """Return the blocks written and read, and the bits read."""
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

    def execute(i: Any, memory: Memory) -> None:
        """Select lane by lane, one repeat or many at a time."""
        dst = Rows(at(memory, i.dst), i.dst_blk, i.dst_rep, i.repeat)
        left = Rows(at(memory, i.src0), i.src0_blk, i.src0_rep, i.repeat)
        right = Rows(at(memory, i.src1), i.src1_blk, i.src1_rep, i.repeat)
        size, sel, group = item_bytes(i.dtype), at(memory, i.sel), 1
        used = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
        blocks, row = block_count(used, size), REPEAT_BYTES // size // 8  # bytes of bits per repeat
        is_apart = are_apart(dst.start, span_bytes(dst, blocks), sel, i.repeat * row)
        if is_apart and may_group(dst, left, blocks) and may_group(dst, right, blocks):
            group = GROUP
        pitch = blocks * 32 // size
        a, b = np.empty(SCRATCH, dtype=np.float32), np.empty(SCRATCH, dtype=np.float32)
        for repeat in range(0, i.repeat, group):
            n = min(group, i.repeat - repeat)
            load_floats(memory, i.dtype, part(left, repeat, n), blocks, a)
            load_floats(memory, i.dtype, part(right, repeat, n), blocks, b)
            for index in range(n):
                for lane in range(pitch):
                    bits = memory.local[sel + (repeat + index) * row + lane // 8]
                    if (bits >> (lane & 7)) & 1 == 0:
                        a[index * pitch + lane] = b[index * pitch + lane]
            store_floats(memory, i.dtype, part(dst, repeat, n), used, (i.mask_lo, i.mask_hi), a)


@inner
def _combine(op: int, a: float, b: float) -> float:
    """Return the sum, maximum or minimum of two numbers."""
    if op == SUM:
        return a + b
    if op == MAXIMUM:
        return a if a > b or np.isnan(a) else b
    return a if a < b or np.isnan(a) else b


@inner
def _tree(op: int, values: npt.NDArray[np.float32], n: int) -> np.float32:
    """Return values[:n] combined as a binary tree of neighbours."""
    while n > 1:
        half = n // 2
        for index in range(half):
            values[index] = _combine(op, values[2 * index], values[2 * index + 1])
        if n % 2 == 1:
            values[half] = values[n - 1]
            half += 1
        n = half
    return np.float32(values[0])


@inner
def _group_lanes(variant: int, size: int) -> int:
    """Return how many lanes are combined to one element."""
    if variant >= PAIR:
        return 2
    return 32 // size if variant >= BLOCK else REPEAT_BYTES // size


@inner
def _reduce(i: Any, memory: Memory, variant: int) -> None:
    """Combine the masked lanes of each group; groups without a lane are left alone."""
    size = item_bytes(i.dtype)
    lanes = REPEAT_BYTES // size
    op, combined, dst = variant % 4, _group_lanes(variant, size), at(memory, i.dst)
    src = Rows(at(memory, i.src), i.src_blk, i.src_rep, i.repeat)
    groups = (highest_lane(i.mask_lo, i.mask_hi, lanes) + combined) // combined
    to_bytes, together = ((i.repeat - 1) * i.dst_rep + groups) * size, 1
    if are_apart(dst, to_bytes, src.start, span_bytes(src, 8)):
        together = GROUP
    a, kept = np.empty(SCRATCH, dtype=np.float32), np.empty(128, dtype=np.float32)
    for repeat in range(i.repeat):
        row = repeat % together
        if row == 0:
            load_floats(memory, i.dtype, part(src, repeat, min(together, i.repeat - repeat)), 8, a)
        for index in range(groups):
            n = 0
            for lane in range(index * combined, (index + 1) * combined):
                if lane_is_on(i.mask_lo, i.mask_hi, lane):
                    kept[n] = a[row * lanes + lane]
                    n += 1
            if n > 0:
                value = _tree(op, kept, n)
                store_float(memory, i.dtype, dst + (repeat * i.dst_rep + index) * size, value)


@inner
def _reduce_accesses(i: Any, variant: int) -> tuple[Region, Region]:
    """Return the results written and the blocks read."""
    size = item_bytes(i.dtype)
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    group = _group_lanes(variant, size)
    groups = (lanes + group - 1) // group
    return (
        Region(1, i.dst, groups * size, i.repeat, i.dst_rep * size, 1, 0),
        lanes_region(0, i.src, lanes, size, i.src_blk, i.src_rep, i.repeat),
    )


class Reduction(Declaration):
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
class vnchwconv(Declaration):
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

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the rows written and read."""
        return (
            Region(1, i.dst, 32, 16, i.dst_row * 32, i.repeat, i.dst_rep * 32),
            Region(0, i.src, 32, 16, i.src_row * 32, i.repeat, i.src_rep * 32),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Transpose repeat by repeat."""
        tile = np.empty(256, dtype=np.uint16)
        for repeat in range(i.repeat):
            s = at(memory, i.src) // 2 + repeat * i.src_rep * 16
            for row in range(16):
                first, to = np.uint64(s + row * i.src_row * 16), np.uint64(row * 16)
                for lane in range(np.uint64(16)):
                    tile[to + lane] = memory.u16[first + lane]
            transpose(memory.u16, at(memory, i.dst) // 2 + repeat * i.dst_rep * 16, i.dst_row * 16, tile, 0)
