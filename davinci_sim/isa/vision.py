"""Region proposals on the vector unit: areas, overlaps, and which of them a better one suppresses.

With these, and a comparison between, kernels of the first generation do non-maximum suppression 16 proposals
at a time: `viou` (what each pair has in common) > the scaled sum of their areas (`vrpac`, `vaadd`) gives a
matrix of bits, and `rpn_cor` and `rpn_cor_diag` walk it. A proposal is eight fp16 numbers, as in `sort`. Also
here: `vmergech`, with which they keep the four corners only.

Model: see each instruction; where the vendor publishes no formula, the reading is the one under which the
open NMS kernels compute what their authors say. Numbers are computed in float32 and rounded once, to fp16.
Source: sizes of operands from TIK's proposal interface (vrpac, vaadd, viou, set_rpn_offset, rpn_cor,
rpn_cor_diag, vmrgch); use in the open TBE kernels nms_with_mask, batch_multi_class_non_max_suppression and
rpn_proposals_post_processing.
"""

from typing import Any

import numpy as np

from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.fields import Declaration, Immediate, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import BLOCK_BYTES, REPEAT_BYTES, item_bytes
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.permute import table_time
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region, rows
from davinci_sim.isa.sort import HALF, PER_REPEAT, PROPOSAL_BYTES, PROPOSAL_HALVES
from davinci_sim.memory.spaces import Space

BITS = ("uint16",)
CORNERS_BYTES = 8
"""Of a proposal: x1, y1, x2, y2."""
REGISTER_BYTES = 2
"""One bit for each of 16 proposals."""
KEPT = 4
"""Elements of each block that vmergech keeps."""


@inner
def _corners(memory: Memory, handle: int, proposal: int) -> tuple[float, float, float, float]:
    """Return x1, y1, x2 and y2 of a proposal."""
    first = at(memory, handle) // 2 + proposal * PROPOSAL_HALVES
    return (
        widen(memory.u16[first]),
        widen(memory.u16[first + 1]),
        widen(memory.u16[first + 2]),
        widen(memory.u16[first + 3]),
    )


@inner
def _corner_region(handle: int, proposals: int) -> Region:
    """Return the corners of some proposals; what else belongs to them is not read."""
    return rows(READ, handle, CORNERS_BYTES, proposals, PROPOSAL_BYTES)


@instruction(Pipe.V, HALF)
class vrpac(Declaration):
    """dst = the areas of 16 proposals of src a repeat: (x2 - x1 + offset) * (y2 - y1 + offset).

    Model: `offset` stands for the register of set_rpn_offset, which is 1 unless a kernel sets it (corners
    are pixels that belong to the box); a box turned inside out is not cut at zero.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    offset = Immediate(1.0)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the areas written and the corners read."""
        count = i.repeat * PER_REPEAT
        return region(WRITTEN, i.dst, count * 2), _corner_region(i.src, count)

    def execute(i: Any, memory: Memory) -> None:
        """Multiply the sides."""
        for proposal in range(i.repeat * PER_REPEAT):
            x1, y1, x2, y2 = _corners(memory, i.src, proposal)
            area = (x2 - x1 + i.offset) * (y2 - y1 + i.offset)
            memory.u16[at(memory, i.dst) // 2 + proposal] = narrow(np.float32(area))


@inner
def _shared(low: float, other_low: float, high: float, other_high: float, offset: float) -> float:
    """Return the length that two ranges have in common, 0 if none."""
    start = low if low > other_low else other_low
    end = high if high < other_high else other_high
    return max(end - start + offset, 0.0)


@instruction(Pipe.V, HALF)
class viou(Declaration):
    """dst[16 * repeat, 16] = the area that each proposal of src0 shares with each of the 16 of src1.

    src0 has 16 proposals a repeat. dst must share no byte with the proposals.

    Model: sides are min(x2) - max(x1) + offset, 0 where that is negative; `offset` as in vrpac. Row j belongs
    to proposal j of src0: so the bits of the comparison that follows are one uint16 a proposal of src0.
    """

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    repeat = Size(255, low=1)
    offset = Immediate(1.0)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the areas written and the corners read."""
        count = i.repeat * PER_REPEAT
        out = region(WRITTEN, i.dst, count * PER_REPEAT * 2)
        return out, _corner_region(i.src0, count), _corner_region(i.src1, PER_REPEAT)

    def execute(i: Any, memory: Memory) -> None:
        """Intersect each pair."""
        for row in range(i.repeat * PER_REPEAT):
            x1, y1, x2, y2 = _corners(memory, i.src0, row)
            for column in range(PER_REPEAT):
                u1, v1, u2, v2 = _corners(memory, i.src1, column)
                area = _shared(x1, u1, x2, u2, i.offset) * _shared(y1, v1, y2, v2, i.offset)
                memory.u16[at(memory, i.dst) // 2 + row * PER_REPEAT + column] = narrow(np.float32(area))


@instruction(Pipe.V, HALF)
class vaadd(Declaration):
    """dst[16 * repeat, 16] = the sum of each number of src0 and each of the 16 of src1.

    src0 has 16 numbers a repeat: areas, as vrpac writes them. dst must share no byte with the numbers.

    Model: row j belongs to number j of src0, as in viou.
    """

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    repeat = Size(255, low=1)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the sums written and the numbers read."""
        count = i.repeat * PER_REPEAT
        out = region(WRITTEN, i.dst, count * PER_REPEAT * 2)
        return out, region(READ, i.src0, count * 2), region(READ, i.src1, PER_REPEAT * 2)

    def execute(i: Any, memory: Memory) -> None:
        """Add each pair."""
        dst, left, right = at(memory, i.dst) // 2, at(memory, i.src0) // 2, at(memory, i.src1) // 2
        for row in range(i.repeat * PER_REPEAT):
            for column in range(PER_REPEAT):
                total = widen(memory.u16[left + row]) + widen(memory.u16[right + column])
                memory.u16[dst + row * PER_REPEAT + column] = narrow(np.float32(total))


@instruction(Pipe.V, BITS)
class rpn_cor(Declaration):
    """ir |= the rows of the suppression matrix src0 that belong to kept proposals, 16 rows a repeat.

    Bit k of row j says that earlier proposal j and new proposal k overlap too much; element j of src1 is 0 if
    j is kept. So `ir` gathers which of 16 new proposals an earlier one suppresses, over several instructions.

    Model: `ir` is two bytes of UB that the kernel names, and sets to 0 before, so that the checks see who
    writes and who reads them; the real one is the register RPN_COR_IR.
    """

    ir = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    repeat = Size(255, low=1)
    src0_rep = Size(65535, default=1)
    src1_rep = Size(65535, default=1)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return the register, written and read, and the blocks read."""
        return (
            region(WRITTEN, i.ir, REGISTER_BYTES),
            region(READ, i.ir, REGISTER_BYTES),
            rows(READ, i.src0, BLOCK_BYTES, i.repeat, i.src0_rep * BLOCK_BYTES),
            rows(READ, i.src1, BLOCK_BYTES, i.repeat, i.src1_rep * BLOCK_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Join the rows that count."""
        matrix, vector = at(memory, i.src0) // 2, at(memory, i.src1) // 2
        suppressed = memory.u16[at(memory, i.ir) // 2]
        for repeat in range(i.repeat):
            for j in range(PER_REPEAT):
                if memory.u16[vector + repeat * i.src1_rep * PER_REPEAT + j] == 0:
                    suppressed |= memory.u16[matrix + repeat * i.src0_rep * PER_REPEAT + j]
        memory.u16[at(memory, i.ir) // 2] = suppressed


@instruction(Pipe.V, BITS)
class rpn_cor_diag(Declaration):
    """dst = which of 16 proposals are suppressed (1) and which are kept (0), best first.

    Proposal k is suppressed if bit k of `ir` is 1, or bit k of row j of src for a kept proposal j < k.

    Model: of row j only the bits above j count, as the bit of a proposal with itself is 1; `ir` as in
    rpn_cor, and it stays as it was.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    ir = In(Space.UB)

    def cycles(i: Any, costs: Costs) -> int:
        """Take what is one repeat of the instruction's table."""
        return int(max(costs.vector_min_cycles, costs.vector_cycles[i.opcode, i.dtype]))

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the vector written, the matrix and the register read."""
        return (
            region(WRITTEN, i.dst, BLOCK_BYTES),
            region(READ, i.src, BLOCK_BYTES),
            region(READ, i.ir, REGISTER_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Go down the matrix; the rows are read before anything is written."""
        matrix, dst = at(memory, i.src) // 2, at(memory, i.dst) // 2
        suppressed = int(memory.u16[at(memory, i.ir) // 2])
        for j in range(PER_REPEAT):
            if (suppressed >> j) & 1 == 0:
                suppressed |= int(memory.u16[matrix + j]) >> (j + 1) << (j + 1)
        for k in range(PER_REPEAT):
            memory.u16[dst + k] = np.uint16((suppressed >> k) & 1)


@instruction(Pipe.V, ("fp16", "int16", "uint16", "int8", "uint8"))
class vmergech(Declaration):
    """dst = the first four elements of each block of src, one after another; the others are left out.

    Model: a repeat is eight blocks, as the open NMS kernel needs it (its other way is a vreduce of as many
    repeats); TIK's own extents count one block.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the elements written and those read."""
        blocks, run = i.repeat * (REPEAT_BYTES // BLOCK_BYTES), KEPT * item_bytes(i.dtype)
        return region(WRITTEN, i.dst, blocks * run), rows(READ, i.src, run, blocks, BLOCK_BYTES)

    def execute(i: Any, memory: Memory) -> None:
        """Take each block's first bytes; source and destination may begin at the same place."""
        dst, src, run = at(memory, i.dst), at(memory, i.src), KEPT * item_bytes(i.dtype)
        for block in range(i.repeat * (REPEAT_BYTES // BLOCK_BYTES)):
            for byte in range(run):
                memory.local[dst + block * run + byte] = memory.local[src + block * BLOCK_BYTES + byte]
