"""Compare with a constant and select between a source and a constant, on the vector unit."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.banks import nothing, reads, unit_of, vector_time
from davinci_sim.isa.compare import EQ, GE, GT, LE, LT, NE, write_bits
from davinci_sim.isa.fields import Declaration, Immediate, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    GROUP,
    REPEAT_BYTES,
    SCRATCH,
    are_apart,
    block_count,
    blocks_region,
    item_bytes,
    load_floats,
    part,
    span_bytes,
)
from davinci_sim.isa.lanewise import (
    src_rows,
    work_regions,
)
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region
from davinci_sim.isa.selection import NEXT_BITS, bits_region, row_bytes, select
from davinci_sim.isa.vector import FLOATS, WithScalar, unary_work
from davinci_sim.memory.spaces import Space


@inner
def _compare_scalar(i: Any, memory: Memory, variant: int) -> None:
    """Write one bit per lane of every repeat."""
    lanes, dst, src, group = REPEAT_BYTES // item_bytes(i.dtype), at(memory, i.dst), src_rows(i, memory), 1
    if are_apart(dst, i.repeat * lanes // 8, src.start, span_bytes(src, 8)):
        group = GROUP
    blocks = block_count(lanes, item_bytes(i.dtype))
    a, b = np.empty(SCRATCH, dtype=np.float32), np.full(SCRATCH, i.value, dtype=np.float32)
    for repeat in range(0, i.repeat, group):
        n = min(group, i.repeat - repeat)
        load_floats(memory, i.dtype, part(src, repeat, n), blocks, a)
        write_bits(memory, variant, a, b, dst + repeat * lanes // 8, n * lanes // 8)


@inner
def _compare_scalar_accesses(i: Any) -> tuple[Region, Region]:
    """Return the bits written and the blocks read."""
    return (
        region(WRITTEN, i.dst, i.repeat * (REPEAT_BYTES // item_bytes(i.dtype)) // 8),
        blocks_region(READ, i.src, 8, i.src_blk, i.src_rep, i.repeat),
    )


@inner
def _compare_scalar_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats."""
    src = reads(i.src, i.src_blk, i.src_rep, 8)
    unit = unit_of(costs.vector_cycles[i.opcode, i.dtype], costs)
    return vector_time(nothing(), src, nothing(), i.repeat, unit)


class CompareScalar(Declaration):
    """Operands of the comparisons with a constant (310P and later); `dst` as for the others."""

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    src_blk = Size(255, default=1)
    src_rep = Size(255, default=8)
    value = Immediate()
    cycles = _compare_scalar_cycles
    accesses = _compare_scalar_accesses
    execute = _compare_scalar


@instruction(Pipe.V, FLOATS)
class vcmpvs_eq(CompareScalar):
    """Bits of dst = (src == value)."""

    variant = EQ


@instruction(Pipe.V, FLOATS)
class vcmpvs_ne(CompareScalar):
    """Bits of dst = (src != value)."""

    variant = NE


@instruction(Pipe.V, FLOATS)
class vcmpvs_lt(CompareScalar):
    """Bits of dst = (src < value)."""

    variant = LT


@instruction(Pipe.V, FLOATS)
class vcmpvs_le(CompareScalar):
    """Bits of dst = (src <= value)."""

    variant = LE


@instruction(Pipe.V, FLOATS)
class vcmpvs_gt(CompareScalar):
    """Bits of dst = (src > value)."""

    variant = GT


@instruction(Pipe.V, FLOATS)
class vcmpvs_ge(CompareScalar):
    """Bits of dst = (src >= value)."""

    variant = GE


@inner
def _select_scalar_accesses(i: Any) -> tuple[Region, ...]:
    """Return the lanes written and read, and the bits read."""
    found = work_regions(unary_work(i, i.dtype), False)
    bits = bits_region(i, row_bytes(i.dtype, NEXT_BITS))
    return found[0], found[1], bits, found[3], found[4]


@instruction(Pipe.V, FLOATS)
class vsels(WithScalar):
    """dst = src where the bit of `sel` is 1, `value` elsewhere.

    Source: Ascend C Select, mode 1 (a tensor and a scalar; 310P and later).
    """

    sel = In(Space.UB)
    accesses: ClassVar[Callable[..., Any]] = _select_scalar_accesses

    def execute(i: Any, memory: Memory) -> None:  # type: ignore[override]
        """Select between the source and the constant."""
        step = row_bytes(i.dtype, NEXT_BITS)
        select(memory, unary_work(i, i.dtype), at(memory, i.sel), step, np.float64(i.value))
