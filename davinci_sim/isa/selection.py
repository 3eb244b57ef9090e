"""Select lane by lane on the vector unit, by the bits that a comparison wrote."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.fields import In
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    BLOCK_BYTES,
    GROUP,
    REPEAT_BYTES,
    SCRATCH,
    are_apart,
    item_bytes,
    load_floats,
    may_group,
    part,
    span_bytes,
    store_floats,
)
from davinci_sim.isa.lanewise import Work, dst_rows, lanes_used, shape_of, src0_rows, src1_rows, work_regions
from davinci_sim.isa.machine import Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, Region, rows
from davinci_sim.isa.vector import FLOATS, Binary, binary_work
from davinci_sim.memory.spaces import Space

(SAME_BITS, NEXT_BITS) = range(2)
"""Whether every repeat reads the same bits, or the ones that follow those of the repeat before."""


@inner
def _choose(memory: Memory, sel: int, a: Any, b: Any, first: int, lanes: int) -> None:
    """Replace a[first : first + lanes] by b where the bit from byte `sel` of `local` is 0."""
    for byte in range(np.uint64(lanes // 8)):
        bits = np.uint32(memory.local[np.uint64(sel) + byte])
        start = np.uint64(first) + byte * np.uint64(8)
        for lane in range(np.uint64(8)):
            is_on = (bits >> np.uint32(lane)) & np.uint32(1) != 0
            a[start + lane] = a[start + lane] if is_on else b[start + lane]


@inner
def select(memory: Memory, work: Work, sel: int, step: int, value: float) -> None:
    """Select between two sources, or a source and `value`; bits from byte `sel`, `step` bytes a repeat."""
    dtype, size, mask = work.dtype, item_bytes(work.dtype), (work.mask_lo, work.mask_hi)
    dst, left, right = dst_rows(work, memory), src0_rows(work, memory), src1_rows(work, memory)
    used, blocks, group = shape_of(work).lanes, shape_of(work).blocks, 1
    has_right = work.sources > 1
    is_apart = are_apart(dst.start, span_bytes(dst, blocks), sel, work.repeat * (REPEAT_BYTES // size // 8))
    if is_apart and may_group(dst, left, blocks) and (not has_right or may_group(dst, right, blocks)):
        group = GROUP
    pitch = blocks * BLOCK_BYTES // size
    a, b = np.empty(SCRATCH, dtype=np.float32), np.full(SCRATCH, value, dtype=np.float32)
    for repeat in range(0, work.repeat, group):
        n = min(group, work.repeat - repeat)
        load_floats(memory, dtype, part(left, repeat, n), blocks, a)
        if has_right:
            load_floats(memory, dtype, part(right, repeat, n), blocks, b)
        for index in range(n):
            _choose(memory, sel + (repeat + index) * step, a, b, index * pitch, pitch)
        store_floats(memory, dtype, part(dst, repeat, n), used, mask, a)


@inner
def bits_region(i: Any, step: int) -> Region:
    """Return the bits read, of the lanes up to the highest of the mask."""
    used = lanes_used(i.mask_lo, i.mask_hi, item_bytes(i.dtype))
    return rows(READ, i.sel, (used + 7) // 8, 1 if step == 0 else i.repeat, step)


@inner
def row_bytes(dtype: int, variant: int) -> int:
    """Return the bytes from the bits of a repeat to those of the next."""
    return 0 if variant == SAME_BITS else REPEAT_BYTES // item_bytes(dtype) // 8


@inner
def _select_accesses(i: Any, variant: int) -> tuple[Region, ...]:
    """Return the lanes written and read, and the bits read."""
    found = work_regions(binary_work(i, i.dtype), False)
    bits = bits_region(i, row_bytes(i.dtype, variant))
    return found[0], found[1], found[2], bits, found[3], found[4], found[5]


@inner
def _select(i: Any, memory: Memory, variant: int) -> None:
    """Select between two sources."""
    step = row_bytes(i.dtype, variant)
    select(memory, binary_work(i, i.dtype), at(memory, i.sel), step, 0.0)


class Select(Binary):
    """Operands of the selections between two tensors; the bits take no bank time."""

    sel = In(Space.UB)
    accesses: ClassVar[Callable[..., Any]] = _select_accesses
    execute: ClassVar[Callable[..., Any]] = _select


@instruction(Pipe.V, FLOATS)
class vsel(Select):
    """dst = src0 where the bit of `sel` is 1, src1 elsewhere; `sel` is what a comparison wrote.

    Source: Ascend C Select, mode 2 (two tensors, 128 or 64 bits a repeat that follow each other).
    """

    variant = NEXT_BITS


@instruction(Pipe.V, FLOATS)
class vsel_cmpmask(Select):
    """dst = src0 where the bit of the compare mask is 1, src1 elsewhere; each repeat uses the same bits.

    Source: Ascend C Select, mode 0; the register lies where vcmp_* put it.
    """

    variant = SAME_BITS
