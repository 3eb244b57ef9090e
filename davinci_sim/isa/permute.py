"""Transpose 16 x 16 elements on the vector unit."""

from typing import Any

import numpy as np

from davinci_sim.isa.fields import INT8, UINT8, Declaration, Flag, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import BLOCK_BYTES
from davinci_sim.isa.machine import Costs, Memory, at, transpose
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region
from davinci_sim.memory.spaces import Space

EDGE = 16


@inner
def table_time(i: Any, costs: Costs) -> int:
    """Count the repeats of an instruction whose bank conflicts are not modelled."""
    return int(max(costs.vector_min_cycles, i.repeat * costs.vector_cycles[i.opcode, i.dtype]))


@inner
def is_byte(dtype: int) -> bool:
    """Tell whether an element type has one byte."""
    return dtype in (INT8, UINT8)


@inner
def transpose_bytes(memory: Memory, dst: int, dst_pitch: int, src: int, src_pitch: int) -> None:
    """Transpose 16 x 16 bytes between rows that lie `*_pitch` bytes apart."""
    tile = np.empty(EDGE * EDGE, dtype=np.uint8)
    for row in range(EDGE):
        for lane in range(EDGE):
            tile[row * EDGE + lane] = memory.local[src + row * src_pitch + lane]
    for row in range(EDGE):
        for lane in range(EDGE):
            memory.local[dst + row * dst_pitch + lane] = tile[lane * EDGE + row]


@inner
def transpose_words(memory: Memory, dst: int, dst_pitch: int, src: int, src_pitch: int) -> None:
    """Transpose 16 x 16 two-byte elements; places and pitches count elements."""
    tile = np.empty(EDGE * EDGE, dtype=np.uint16)
    for row in range(EDGE):
        first, to = np.uint64(src + row * src_pitch), np.uint64(row * EDGE)
        for lane in range(np.uint64(EDGE)):
            tile[to + lane] = memory.u16[first + lane]
    transpose(memory.u16, dst, dst_pitch, tile, 0)


@instruction(Pipe.V, ("fp16", "int16", "uint16", "int8", "uint8"))
class vnchwconv(Declaration):
    """Transpose 16 rows of 16 elements: dst row j, lane i = src row i, lane j, for every repeat.

    Rows are blocks of 32 bytes, `*_row` blocks apart; a source row stride of 0 spreads each lane of one
    block over a whole row. Four-byte numbers are transposed as pairs of halves. Of one-byte elements the
    lower or, with `*_half` = 1, the upper 16 of each row take part.

    Model: a row a cycle; the banks never make it slower, since 16 rows in one group take as long.
    Source: vnchwconv in the vendor's intrinsic list; the halves of one-byte rows from the Ascend C guide
    (TransDataTo5HD: dstHighHalf, srcHighHalf).
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    dst_row = Size(65535, default=1)
    src_row = Size(65535, default=1)
    dst_rep = Size(65535, default=16)
    src_rep = Size(65535, default=16)
    dst_half = Flag()
    src_half = Flag()
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the rows written and read."""
        run, high, low = BLOCK_BYTES, 0, 0
        if is_byte(i.dtype):
            run, high, low = EDGE, i.dst_half * EDGE, i.src_half * EDGE
        return (
            Region(
                WRITTEN, i.dst + high, run, EDGE, i.dst_row * BLOCK_BYTES, i.repeat, i.dst_rep * BLOCK_BYTES
            ),
            Region(READ, i.src + low, run, EDGE, i.src_row * BLOCK_BYTES, i.repeat, i.src_rep * BLOCK_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Transpose repeat by repeat."""
        dst, src = at(memory, i.dst), at(memory, i.src)
        for repeat in range(i.repeat):
            to, start = dst + repeat * i.dst_rep * BLOCK_BYTES, src + repeat * i.src_rep * BLOCK_BYTES
            if is_byte(i.dtype):
                to, start = to + i.dst_half * EDGE, start + i.src_half * EDGE
                transpose_bytes(memory, to, i.dst_row * BLOCK_BYTES, start, i.src_row * BLOCK_BYTES)
            else:
                transpose_words(memory, to // 2, i.dst_row * EDGE, start // 2, i.src_row * EDGE)
