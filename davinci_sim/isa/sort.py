"""Region proposals on the vector unit: build, take apart, sort and merge them.

A proposal is eight fp16 numbers, 16 bytes: two corners (x1, y1, x2, y2), the score, the label and two more.
Source: Ascend C ProposalConcat, ProposalExtract, RpSort16 and MrgSort4 (first-generation sorting).
"""

from typing import Any

import numpy as np

from davinci_sim.isa.bits import widen
from davinci_sim.isa.fields import Declaration, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory, at, ceil_div
from davinci_sim.isa.permute import table_time
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region
from davinci_sim.memory.spaces import Space

HALF = ("fp16",)
PROPOSAL_HALVES, PROPOSAL_BYTES, SCORE = 8, 16, 4
PER_REPEAT = 16
"""Proposals that one repeat works on."""


@inner
def _score(memory: Memory, proposal: int) -> float:
    """Return the score of the proposal at half number `proposal` of `local`."""
    return float(widen(memory.u16[proposal + SCORE]))


@inner
def _copy_proposal(memory: Memory, to: int, start: int) -> None:
    """Copy one proposal between half numbers of `local`."""
    for half in range(PROPOSAL_HALVES):
        memory.u16[to + half] = memory.u16[start + half]


@instruction(Pipe.V, HALF)
class vconcat(Declaration):
    """Write 16 numbers of src a repeat to place `field` of 16 proposals of dst; other places stay."""

    dst = Out(Space.UB)
    src = In(Space.UB)
    field = Size(5)
    repeat = Size(255, low=1)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the places written and the numbers read."""
        count = i.repeat * PER_REPEAT
        return Region(WRITTEN, i.dst + i.field * 2, 2, count, PROPOSAL_BYTES, 1, 0), region(
            READ, i.src, count * 2
        )

    def execute(i: Any, memory: Memory) -> None:
        """Place each number."""
        dst, src = at(memory, i.dst) // 2 + i.field, at(memory, i.src) // 2
        for index in range(i.repeat * PER_REPEAT):
            memory.u16[dst + index * PROPOSAL_HALVES] = memory.u16[src + index]


@instruction(Pipe.V, HALF)
class vextract(Declaration):
    """dst = place `field` of 16 proposals of src a repeat, one after another."""

    dst = Out(Space.UB)
    src = In(Space.UB)
    field = Size(5)
    repeat = Size(255, low=1)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the numbers written and the places read."""
        count = i.repeat * PER_REPEAT
        return region(WRITTEN, i.dst, count * 2), Region(
            READ, i.src + i.field * 2, 2, count, PROPOSAL_BYTES, 1, 0
        )

    def execute(i: Any, memory: Memory) -> None:
        """Take each number."""
        dst, src = at(memory, i.dst) // 2, at(memory, i.src) // 2 + i.field
        for index in range(i.repeat * PER_REPEAT):
            memory.u16[dst + index] = memory.u16[src + index * PROPOSAL_HALVES]


@instruction(Pipe.V, HALF)
class vbitsort(Declaration):
    """Sort each 16 proposals of src by falling score into dst; of equal scores the earlier comes first.

    Model: 16 cycles a repeat on every platform that has no figure of its own (msKPP, 910B1).
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the proposals written and read."""
        size = i.repeat * PER_REPEAT * PROPOSAL_BYTES
        return region(WRITTEN, i.dst, size), region(READ, i.src, size)

    def execute(i: Any, memory: Memory) -> None:
        """Insert one proposal after the other into a sorted list."""
        order, rows = np.empty(PER_REPEAT, dtype=np.int64), np.empty(128, dtype=np.uint16)
        for repeat in range(i.repeat):
            src = at(memory, i.src) // 2 + repeat * PER_REPEAT * PROPOSAL_HALVES
            dst = at(memory, i.dst) // 2 + repeat * PER_REPEAT * PROPOSAL_HALVES
            for index in range(PER_REPEAT):
                place, score = index, _score(memory, src + index * PROPOSAL_HALVES)
                while place > 0 and score > _score(memory, src + order[place - 1] * PROPOSAL_HALVES):
                    order[place] = order[place - 1]
                    place -= 1
                order[place] = index
            for half in range(PER_REPEAT * PROPOSAL_HALVES):
                rows[half] = memory.u16[src + half]
            for half in range(PER_REPEAT * PROPOSAL_HALVES):
                place = order[half // PROPOSAL_HALVES]
                memory.u16[dst + half] = rows[place * PROPOSAL_HALVES + half % PROPOSAL_HALVES]


@instruction(Pipe.V, HALF)
class vmrgsort4(Declaration):
    """Merge up to four lists of proposals, each of falling score, to one of falling score in dst.

    List i has `len`i proposals from `src`i; a length of 0 leaves it out. Of equal scores that of the earlier
    list comes first. dst must share no byte with the lists.

    Model: the figure of the platform for each 16 proposals; the mode that stops when one list is used up is
    left out, and so is merging several groups of four lists by one instruction.
    """

    dst = Out(Space.UB)
    src0 = In(Space.UB, align=16)
    src1 = In(Space.UB, align=16)
    src2 = In(Space.UB, align=16)
    src3 = In(Space.UB, align=16)
    len0 = Size(4095, low=1)
    len1 = Size(4095)
    len2 = Size(4095)
    len3 = Size(4095)

    def cycles(i: Any, costs: Costs) -> int:
        """Count the proposals merged."""
        total = ceil_div(i.len0 + i.len1 + i.len2 + i.len3, PER_REPEAT)
        return int(max(costs.vector_min_cycles, total * costs.vector_cycles[i.opcode, i.dtype]))

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return the lists written and read."""
        total = i.len0 + i.len1 + i.len2 + i.len3
        return (
            region(WRITTEN, i.dst, total * PROPOSAL_BYTES),
            region(READ, i.src0, i.len0 * PROPOSAL_BYTES),
            region(READ, i.src1, i.len1 * PROPOSAL_BYTES),
            region(READ, i.src2, i.len2 * PROPOSAL_BYTES),
            region(READ, i.src3, i.len3 * PROPOSAL_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Take the highest head again and again."""
        heads, left = np.empty(4, dtype=np.int64), np.empty(4, dtype=np.int64)
        heads[0], heads[1] = at(memory, i.src0) // 2, at(memory, i.src1) // 2
        heads[2], heads[3] = at(memory, i.src2) // 2, at(memory, i.src3) // 2
        left[0], left[1], left[2], left[3] = i.len0, i.len1, i.len2, i.len3
        dst = at(memory, i.dst) // 2
        for index in range(i.len0 + i.len1 + i.len2 + i.len3):
            best = -1
            for way in range(4):
                if left[way] > 0 and (best < 0 or _score(memory, heads[way]) > _score(memory, heads[best])):
                    best = way
            _copy_proposal(memory, dst + index * PROPOSAL_HALVES, heads[best])
            heads[best] += PROPOSAL_HALVES
            left[best] -= 1
