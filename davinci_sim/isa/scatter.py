"""The scatter form of vector instructions: each of the eight blocks of a repeat has an address of its own.

The real ones take the addresses from address registers (VA); here they stand in UB, a list per operand of
eight uint16 block numbers (byte address in UB / 32). From repeat to repeat all blocks of an operand move by
`*_rep` blocks. The mask counts lanes in the order of the list.

Model: the checks see the lists, not the blocks that they name; a block number behind the end of UB moves
nothing; cycles per repeat as for the plain form, without bank conflicts.
Source: scatter_* in the intrinsic lists of the first generation; eight addresses per VA register: TIK's
vnchwconv, whose lists hold 16.
"""

from typing import Any

import numpy as np

from davinci_sim.isa.arithmetic import (
    ABS,
    ADD,
    ADDS,
    AXPY,
    COPY,
    DIV,
    EXP,
    LN,
    MADD,
    MADD_RELU,
    MAX,
    MIN,
    MLA,
    MUL,
    MULS,
    REC,
    RELU,
    RSQRT,
    SQRT,
    SUB,
)
from davinci_sim.isa.fields import Declaration, Flag, Immediate, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import BLOCK_BYTES, block_mask, item_bytes
from davinci_sim.isa.lanewise import Work, binary, unary
from davinci_sim.isa.machine import Memory, at
from davinci_sim.isa.permute import EDGE, is_byte, table_time
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, Region, region
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.isa.vector import FLOATS
from davinci_sim.memory.spaces import Space

NUMBERS = ("fp16", "fp32", "int32")
LIST_BYTES = 2 * 8
_UB = int(Space.UB)


@inner
def _listed(memory: Memory, handle: int, index: int, moved: int) -> int:
    """Return where in `local` block `index` of a list lies, -1 if not in UB."""
    byte = (int(memory.u16[at(memory, handle) // 2 + index]) + moved) * BLOCK_BYTES
    return int(memory.base[_UB]) + byte if byte < memory.size[_UB] else -1


@inner
def listed_block(memory: Memory, handle: int, index: int, moved: int) -> int:
    """Return the handle of block `index` of a list, -1 if it does not lie in UB."""
    start = _listed(memory, handle, index, moved)
    return start - int(memory.base[_UB]) + (_UB << SPACE_SHIFT) if start >= 0 else -1


@inner
def _block_work(i: Any, mask: tuple[int, int], dst: int, src0: int, src1: int) -> Work:
    """Return the work on one block."""
    return Work(i.dtype, i.dtype, mask[0], mask[1], 1, dst, 1, 0, 2, src0, 1, 0, src1, 1, 0)


@inner
def _scatter_binary(i: Any, memory: Memory, variant: int) -> None:
    """Execute a two-source instruction block by block."""
    lanes = BLOCK_BYTES // item_bytes(i.dtype)
    for repeat in range(i.repeat):
        for block in range(8):
            dst = listed_block(memory, i.dst, block, repeat * i.dst_rep)
            src0 = listed_block(memory, i.src0, block, repeat * i.src0_rep)
            src1 = listed_block(memory, i.src1, block, repeat * i.src1_rep)
            mask = block_mask((i.mask_lo, i.mask_hi), block * lanes, lanes)
            if min(dst, src0, src1) >= 0 and mask[0] != 0:
                binary(memory, variant, _block_work(i, mask, dst, src0, src1), 1.0)


@inner
def _binary_lists(i: Any) -> tuple[Region, Region, Region]:
    """Return the lists read."""
    return region(READ, i.dst, LIST_BYTES), region(READ, i.src0, LIST_BYTES), region(READ, i.src1, LIST_BYTES)


class ScatterBinary(Declaration):
    """Operands of the two-source instructions in scatter form: lists of block numbers."""

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    dst_rep = Size(255, default=8)
    src0_rep = Size(255, default=8)
    src1_rep = Size(255, default=8)
    cycles = table_time
    accesses = _binary_lists
    execute = _scatter_binary


@instruction(Pipe.V, NUMBERS)
class scatter_vadd(ScatterBinary):
    """The blocks of dst = src0 + src1."""

    variant = ADD


@instruction(Pipe.V, NUMBERS)
class scatter_vsub(ScatterBinary):
    """The blocks of dst = src0 - src1."""

    variant = SUB


@instruction(Pipe.V, NUMBERS)
class scatter_vmul(ScatterBinary):
    """The blocks of dst = src0 * src1."""

    variant = MUL


@instruction(Pipe.V, NUMBERS)
class scatter_vmax(ScatterBinary):
    """The blocks of dst = the larger of src0 and src1; a NaN wins."""

    variant = MAX


@instruction(Pipe.V, NUMBERS)
class scatter_vmin(ScatterBinary):
    """The blocks of dst = the smaller of src0 and src1; a NaN wins."""

    variant = MIN


@instruction(Pipe.V, FLOATS)
class scatter_vdiv(ScatterBinary):
    """The blocks of dst = src0 / src1."""

    variant = DIV


@instruction(Pipe.V, FLOATS)
class scatter_vmla(ScatterBinary):
    """The blocks of dst = dst + src0 * src1."""

    variant = MLA


@instruction(Pipe.V, FLOATS)
class scatter_vmadd(ScatterBinary):
    """The blocks of dst = src0 * dst + src1."""

    variant = MADD


@instruction(Pipe.V, FLOATS)
class scatter_vmaddrelu(ScatterBinary):
    """The blocks of dst = max(src0 * dst + src1, 0)."""

    variant = MADD_RELU


@inner
def _scatter_unary(i: Any, memory: Memory, variant: int) -> None:
    """Execute a one-source instruction block by block."""
    lanes = BLOCK_BYTES // item_bytes(i.dtype)
    for repeat in range(i.repeat):
        for block in range(8):
            dst = listed_block(memory, i.dst, block, repeat * i.dst_rep)
            src = listed_block(memory, i.src, block, repeat * i.src_rep)
            mask = block_mask((i.mask_lo, i.mask_hi), block * lanes, lanes)
            if min(dst, src) >= 0 and mask[0] != 0:
                unary(memory, variant, _block_work(i, mask, dst, src, src), np.float64(i.value))


@inner
def _unary_lists(i: Any) -> tuple[Region, Region]:
    """Return the lists read."""
    return region(READ, i.dst, LIST_BYTES), region(READ, i.src, LIST_BYTES)


class ScatterUnary(Declaration):
    """Operands of the one-source instructions in scatter form; `value` only counts where one is named."""

    dst = Out(Space.UB)
    src = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    dst_rep = Size(255, default=8)
    src_rep = Size(255, default=8)
    value = Immediate(0.0)
    cycles = table_time
    accesses = _unary_lists
    execute = _scatter_unary


@instruction(Pipe.V, ("int16", "uint16"))
class scatter_vector_mov(ScatterUnary):
    """The blocks of dst = src, bit by bit (fp16 as the bits that it is)."""

    variant = COPY


@instruction(Pipe.V, FLOATS)
class scatter_vabs(ScatterUnary):
    """The blocks of dst = |src|."""

    variant = ABS


@instruction(Pipe.V, FLOATS)
class scatter_vexp(ScatterUnary):
    """The blocks of dst = e ** src."""

    variant = EXP


@instruction(Pipe.V, FLOATS)
class scatter_vln(ScatterUnary):
    """The blocks of dst = natural logarithm of src."""

    variant = LN


@instruction(Pipe.V, FLOATS)
class scatter_vrec(ScatterUnary):
    """The blocks of dst = 1 / src."""

    variant = REC


@instruction(Pipe.V, FLOATS)
class scatter_vrsqrt(ScatterUnary):
    """The blocks of dst = 1 / sqrt(src)."""

    variant = RSQRT


@instruction(Pipe.V, FLOATS)
class scatter_vsqrt(ScatterUnary):
    """The blocks of dst = sqrt(src)."""

    variant = SQRT


@instruction(Pipe.V, ("fp16",))
class scatter_vrelu(ScatterUnary):
    """The blocks of dst = max(src, 0); a NaN stays one."""

    variant = RELU


@instruction(Pipe.V, FLOATS)
class scatter_vadds(ScatterUnary):
    """The blocks of dst = src + value."""

    variant = ADDS


@instruction(Pipe.V, FLOATS)
class scatter_vmuls(ScatterUnary):
    """The blocks of dst = src * value."""

    variant = MULS


@instruction(Pipe.V, FLOATS)
class scatter_vaxpy(ScatterUnary):
    """The blocks of dst = dst + src * value."""

    variant = AXPY


@instruction(Pipe.V, ("fp16", "int16", "uint16", "int8", "uint8"))
class scatter_vnchwconv(Declaration):
    """Transpose 16 rows of 16 elements, each row at an address of its own: lists of 16 block numbers.

    dst row j, lane i = src row i, lane j. Of one-byte elements the lower or, with `*_half` = 1, the upper 16
    of each row take part.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    repeat = Size(255, low=1)
    dst_rep = Size(65535, default=16)
    src_rep = Size(65535, default=16)
    dst_half = Flag()
    src_half = Flag()
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the lists read."""
        return region(READ, i.dst, 2 * LIST_BYTES), region(READ, i.src, 2 * LIST_BYTES)

    def execute(i: Any, memory: Memory) -> None:
        """Transpose repeat by repeat."""
        size = 1 if is_byte(i.dtype) else 2
        tile = np.empty((EDGE, EDGE * 2), dtype=np.uint8)
        for repeat in range(i.repeat):
            for row in range(EDGE):
                start = _listed(memory, i.src, row, repeat * i.src_rep)
                start += i.src_half * (2 - size) * EDGE if start >= 0 else 0
                for byte in range(EDGE * size if start >= 0 else 0):
                    tile[row, byte] = memory.local[start + byte]
            for row in range(EDGE):
                to = _listed(memory, i.dst, row, repeat * i.dst_rep)
                to += i.dst_half * (2 - size) * EDGE if to >= 0 else 0
                for byte in range(EDGE * size if to >= 0 else 0):
                    memory.local[to + byte] = tile[byte // size, row * size + byte % size]
