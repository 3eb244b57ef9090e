"""Reductions on the vector unit: sums and extremes of whole repeats, of blocks, of pairs."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.banks import nothing, reads, unit_of, vector_time
from davinci_sim.isa.fields import Declaration, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    GROUP,
    REPEAT_BYTES,
    SCRATCH,
    Floats,
    are_apart,
    block_count,
    is_full,
    item_bytes,
    lane_is_on,
    lane_regions,
    load_floats,
    part,
    span_bytes,
    store_float,
)
from davinci_sim.isa.lanewise import lanes_used, src_rows
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region
from davinci_sim.isa.vector import FLOATS
from davinci_sim.memory.spaces import Space

(SUM, MAXIMUM, MINIMUM) = range(3)
(WHOLE, BLOCK, PAIR) = (0, 4, 8)
"""What is combined: all the lanes of a repeat, each block of 32 bytes, or neighbours."""


@inner
def _combine(op: int, a: np.float32, b: np.float32) -> np.float32:
    """Return the sum, maximum or minimum of two numbers; a NaN wins."""
    if op == SUM:
        return a + b
    if op == MAXIMUM:
        return a if a > b or np.isnan(a) else b
    return a if a < b or np.isnan(a) else b


@inner
def _halve(op: int, a: Floats, b: Floats, n: int) -> None:
    """Replace a[: n / 2] by the combined neighbours of a[:n], by way of b."""
    half = np.uint64(n // 2)
    if op == SUM:
        for index in range(half):
            b[index] = a[index * np.uint64(2)] + a[index * np.uint64(2) + np.uint64(1)]
    else:
        for index in range(half):
            b[index] = _combine(op, a[index * np.uint64(2)], a[index * np.uint64(2) + np.uint64(1)])
    for index in range(half):
        a[index] = b[index]


@inner
def _tree(op: int, values: Floats, n: int) -> np.float32:
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
def _reduce_whole_groups(i: Any, memory: Memory, op: int, combined: int) -> None:
    """Combine groups none of whose lanes is masked, many repeats at a time."""
    size, dst, src, together = item_bytes(i.dtype), at(memory, i.dst), src_rows(i, memory), 1
    lanes = REPEAT_BYTES // size
    groups = lanes // combined
    if are_apart(dst, ((i.repeat - 1) * i.dst_rep + groups) * size, src.start, span_bytes(src, 8)):
        together = GROUP
    a, b = np.empty(SCRATCH, dtype=np.float32), np.empty(SCRATCH, dtype=np.float32)
    for repeat in range(0, i.repeat, together):
        n = min(together, i.repeat - repeat)
        load_floats(memory, i.dtype, part(src, repeat, n), block_count(lanes, size), a)
        total = n * lanes
        while total > n * groups:
            _halve(op, a, b, total)
            total //= 2
        for row in range(n):
            place = dst + (repeat + row) * i.dst_rep * size
            for index in range(groups):
                store_float(memory, i.dtype, place + index * size, a[row * groups + index])


@inner
def _reduce_masked_groups(i: Any, memory: Memory, op: int, combined: int) -> None:
    """Combine the masked lanes of each group; groups without a lane are left alone."""
    size, dst, src = item_bytes(i.dtype), at(memory, i.dst), src_rows(i, memory)
    groups = (lanes_used(i.mask_lo, i.mask_hi, size) - 1 + combined) // combined
    blocks = block_count(REPEAT_BYTES // size, size)
    a, kept = np.empty(128, dtype=np.float32), np.empty(128, dtype=np.float32)
    for repeat in range(i.repeat):
        load_floats(memory, i.dtype, part(src, repeat, 1), blocks, a)
        for index in range(groups):
            n = 0
            for lane in range(index * combined, (index + 1) * combined):
                if lane_is_on(i.mask_lo, i.mask_hi, lane):
                    kept[n] = a[lane]
                    n += 1
            if n > 0:
                store_float(memory, i.dtype, dst + (repeat * i.dst_rep + index) * size, _tree(op, kept, n))


@inner
def _reduce(i: Any, memory: Memory, variant: int) -> None:
    """Combine the masked lanes of each group."""
    size = item_bytes(i.dtype)
    op, combined = variant % 4, _group_lanes(variant, size)
    if is_full(i.mask_lo, i.mask_hi, REPEAT_BYTES // size):
        _reduce_whole_groups(i, memory, op, combined)
    else:
        _reduce_masked_groups(i, memory, op, combined)


@inner
def _reduce_accesses(i: Any, variant: int) -> tuple[Region, Region, Region]:
    """Return the results written and the lanes read."""
    size = item_bytes(i.dtype)
    lanes = lanes_used(i.mask_lo, i.mask_hi, size)
    group = _group_lanes(variant, size)
    groups = (lanes + group - 1) // group
    src = lane_regions(READ, i.src, lanes, size, i.src_blk, i.src_rep, i.repeat)
    return Region(WRITTEN, i.dst, groups * size, i.repeat, i.dst_rep * size, 1, 0), src[0], src[1]


@inner
def _reduce_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats."""
    size = item_bytes(i.dtype)
    src = reads(i.src, i.src_blk, i.src_rep, block_count(lanes_used(i.mask_lo, i.mask_hi, size), size))
    unit = unit_of(costs.vector_cycles[i.opcode, i.dtype], costs)
    return vector_time(nothing(), src, nothing(), i.repeat, unit)


class Reduction(Declaration):
    """Operands of the reductions; `dst_rep` counts results between those of two repeats.

    Model: writing the results takes no bank time.
    """

    dst = Out(Space.UB, align=2)
    src = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    src_blk = Size(255, default=1)
    src_rep = Size(255, default=8)
    dst_rep = Size(65535, default=1)
    cycles = _reduce_cycles
    accesses: ClassVar[Callable[..., Any]] = _reduce_accesses
    execute: ClassVar[Callable[..., Any]] = _reduce


@instruction(Pipe.V, FLOATS)
class vcadd(Reduction):
    """dst = sum of the masked lanes of each repeat, in float32 as a tree of neighbours, rounded once."""

    variant = WHOLE + SUM


@instruction(Pipe.V, FLOATS, default_dtype="fp16")
class vcgadd(Reduction):
    """dst = sum of each block, eight elements a repeat (fp32: 310P and later)."""

    variant = BLOCK + SUM


@instruction(Pipe.V, FLOATS, default_dtype="fp16")
class vcgmax(Reduction):
    """dst = largest of each block, eight elements a repeat (fp32: 310P and later)."""

    variant = BLOCK + MAXIMUM


@instruction(Pipe.V, FLOATS, default_dtype="fp16")
class vcgmin(Reduction):
    """dst = smallest of each block, eight elements a repeat (fp32: 310P and later)."""

    variant = BLOCK + MINIMUM


@instruction(Pipe.V, FLOATS, default_dtype="fp16")
class vcpadd(Reduction):
    """dst = sums of neighbouring lanes, half as many elements (fp32: 310P and later)."""

    variant = PAIR + SUM
