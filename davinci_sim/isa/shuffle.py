"""Transpose one matrix, and broadcast elements over blocks, on the vector unit."""

from typing import Any

from davinci_sim.isa.banks import nothing, reads, unit_of, vector_time, writes
from davinci_sim.isa.fields import Declaration, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.lanes import BLOCK_BYTES, blocks_region, item_bytes
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.permute import EDGE, transpose_words
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region
from davinci_sim.memory.spaces import Space

WORDS = ("int16", "uint16", "fp16")


@instruction(Pipe.V, WORDS)
class vtranspose(Declaration):
    """dst[16, 16] = the transpose of src[16, 16], two-byte elements, both contiguous 512 bytes.

    Model: a row a cycle, as vnchwconv.
    Source: vtranspose in the vendor's intrinsic list; Ascend C Transpose (16 x 16 two-byte elements).
    """

    dst = Out(Space.UB)
    src = In(Space.UB)

    def cycles(i: Any, costs: Costs) -> int:
        """Take what is one repeat of the instruction's table."""
        return int(max(costs.vector_min_cycles, costs.vector_cycles[i.opcode, i.dtype]))

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the matrices written and read."""
        return region(WRITTEN, i.dst, EDGE * BLOCK_BYTES), region(READ, i.src, EDGE * BLOCK_BYTES)

    def execute(i: Any, memory: Memory) -> None:
        """Transpose; source and destination may be the same."""
        transpose_words(memory, at(memory, i.dst) // 2, EDGE, at(memory, i.src) // 2, EDGE)


@instruction(Pipe.V, ("int16", "uint16", "fp16", "fp32", "int32"))
class vbrcb(Declaration):
    """Fill each of the eight blocks of a repeat of dst with one element of src, the next eight each repeat.

    Source: Ascend C Brcb (eight elements a repeat, each over one block of 32 bytes); 310B and later.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    dst_blk = Size(65535, default=1)
    dst_rep = Size(255, default=8)

    def cycles(i: Any, costs: Costs) -> int:
        """Count the repeats."""
        out, src = writes(i.dst, i.dst_blk, i.dst_rep, 8), reads(i.src, 1, 1, 1)
        unit = unit_of(costs.vector_cycles[i.opcode, i.dtype], costs)
        return vector_time(out, src, nothing(), i.repeat, unit)

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the blocks written and the elements read."""
        out = blocks_region(WRITTEN, i.dst, 8, i.dst_blk, i.dst_rep, i.repeat)
        return out, region(READ, i.src, i.repeat * 8 * item_bytes(i.dtype))

    def execute(i: Any, memory: Memory) -> None:
        """Repeat each element."""
        dst, src, size = at(memory, i.dst), at(memory, i.src), item_bytes(i.dtype)
        for element in range(i.repeat * 8):
            block = dst + (element // 8 * i.dst_rep + element % 8 * i.dst_blk) * BLOCK_BYTES
            for lane in range(BLOCK_BYTES // size):
                if size == 4:
                    memory.i32[block // 4 + lane] = memory.i32[src // 4 + element]
                else:
                    memory.u16[block // 2 + lane] = memory.u16[src // 2 + element]
