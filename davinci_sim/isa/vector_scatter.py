"""The scatter forms that compare, select and convert: each block of a repeat has an address of its own.

Lists of block numbers, and what the checks see of them, are those of `scatter`. Where two element types
differ in width, a block of the wider one belongs to half a block of the narrower one: `half` says to which.

Model: as in `scatter`.
Source: scatter_* in the intrinsic lists of the first generation, and TIK's interfaces of the same names: one
repeat into and from the compare mask (scatter_vsel: mode 0, the only one on 310 and 910), and
`ldst_high_half` and `store_high_half`, which take the upper 16 bytes of each block of the narrower type.
"""

from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.arithmetic import MUL, NEAREST, binary_floats, floats_to_ints
from davinci_sim.isa.compare import EQ, GE, GT, LE, LT, NE, holds
from davinci_sim.isa.compare_once import REGISTER_BYTES
from davinci_sim.isa.convert import converted
from davinci_sim.isa.fields import (
    FP32,
    INT8,
    INT32,
    UINT8,
    Declaration,
    Flag,
    Immediate,
    In,
    Mask,
    Out,
    Size,
)
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    BLOCK_BYTES,
    Floats,
    Ints,
    Rows,
    block_mask,
    is_float,
    item_bytes,
    lane_is_on,
    load_floats,
    load_ints,
    store_floats,
    store_ints,
)
from davinci_sim.isa.lanewise import lanes_used
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.permute import table_time
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region
from davinci_sim.isa.scatter import LIST_BYTES, listed_block
from davinci_sim.isa.vector import FLOATS
from davinci_sim.memory.spaces import Space

BLOCKS = 8
_WIDE, _BYTES = 1 << FP32 | 1 << INT32, 1 << INT8 | 1 << UINT8


@inner
def _one(memory: Memory, handle: int) -> Rows:
    """Return one block as the only one of its operand."""
    return Rows(at(memory, handle), 1, 0, 1)


@inner
def _one_repeat(i: Any, costs: Costs) -> int:
    """Take what is one repeat of the instruction's table."""
    return int(max(costs.vector_min_cycles, costs.vector_cycles[i.opcode, i.dtype]))


@inner
def _compare(i: Any, memory: Memory, variant: int) -> None:
    """Write the bits of the masked lanes, zeros elsewhere, 128 in all."""
    lanes, bits = BLOCK_BYTES // item_bytes(i.dtype), np.zeros(REGISTER_BYTES, dtype=np.uint8)
    a, b = np.empty(BLOCK_BYTES, dtype=np.float32), np.empty(BLOCK_BYTES, dtype=np.float32)
    for block in range(BLOCKS):
        left, right = listed_block(memory, i.src0, block, 0), listed_block(memory, i.src1, block, 0)
        if min(left, right) >= 0:
            load_floats(memory, i.dtype, _one(memory, left), 1, a)
            load_floats(memory, i.dtype, _one(memory, right), 1, b)
            for lane in range(lanes):
                place = block * lanes + lane
                if lane_is_on(i.mask_lo, i.mask_hi, place) and holds(variant, a[lane], b[lane]):
                    bits[place // 8] |= np.uint8(1 << (place & 7))
    for byte in range(REGISTER_BYTES):
        memory.local[at(memory, i.dst) + byte] = bits[byte]


@inner
def _compare_accesses(i: Any) -> tuple[Region, Region, Region]:
    """Return the register written and the lists read."""
    out = region(WRITTEN, i.dst, REGISTER_BYTES)
    return out, region(READ, i.src0, LIST_BYTES), region(READ, i.src1, LIST_BYTES)


class ScatterCompare(Declaration):
    """Operands of the comparisons in scatter form: one repeat into the compare-mask register.

    Model: the register is 16 bytes of UB that the kernel names, as for vcmp_eq; bits of lanes outside of the
    mask, and of blocks that do not lie in UB, become 0; otherwise as in `scatter`.
    """

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    mask = Mask()
    cycles = _one_repeat
    accesses = _compare_accesses
    execute = _compare


@instruction(Pipe.V, FLOATS)
class scatter_vcmp_eq(ScatterCompare):
    """The compare mask = (the blocks of src0 == those of src1)."""

    variant = EQ


@instruction(Pipe.V, FLOATS)
class scatter_vcmp_ne(ScatterCompare):
    """The compare mask = (the blocks of src0 != those of src1)."""

    variant = NE


@instruction(Pipe.V, FLOATS)
class scatter_vcmp_lt(ScatterCompare):
    """The compare mask = (the blocks of src0 < those of src1)."""

    variant = LT


@instruction(Pipe.V, FLOATS)
class scatter_vcmp_le(ScatterCompare):
    """The compare mask = (the blocks of src0 <= those of src1)."""

    variant = LE


@instruction(Pipe.V, FLOATS)
class scatter_vcmp_gt(ScatterCompare):
    """The compare mask = (the blocks of src0 > those of src1)."""

    variant = GT


@instruction(Pipe.V, FLOATS)
class scatter_vcmp_ge(ScatterCompare):
    """The compare mask = (the blocks of src0 >= those of src1)."""

    variant = GE


@instruction(Pipe.V, FLOATS)
class scatter_vsel(Declaration):
    """The blocks of dst = those of src0 where the bit of the compare mask is 1, those of src1 elsewhere.

    One repeat; `sel` is the register that vcmp_* or scatter_vcmp_* wrote.
    """

    dst = Out(Space.UB)
    sel = In(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    mask = Mask()
    cycles = _one_repeat

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return the lists and the bits read."""
        used = lanes_used(i.mask_lo, i.mask_hi, item_bytes(i.dtype))
        return (
            region(READ, i.dst, LIST_BYTES),
            region(READ, i.src0, LIST_BYTES),
            region(READ, i.src1, LIST_BYTES),
            region(READ, i.sel, (used + 7) // 8),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Select block by block, in the order of the lists; the register is read before."""
        lanes, bits = BLOCK_BYTES // item_bytes(i.dtype), np.empty(REGISTER_BYTES, dtype=np.uint8)
        a, b = np.empty(BLOCK_BYTES, dtype=np.float32), np.empty(BLOCK_BYTES, dtype=np.float32)
        for byte in range(REGISTER_BYTES):
            bits[byte] = memory.local[at(memory, i.sel) + byte]
        for block in range(BLOCKS):
            dst = listed_block(memory, i.dst, block, 0)
            left, right = listed_block(memory, i.src0, block, 0), listed_block(memory, i.src1, block, 0)
            mask = block_mask((i.mask_lo, i.mask_hi), block * lanes, lanes)
            if min(dst, left, right) >= 0:
                load_floats(memory, i.dtype, _one(memory, left), 1, a)
                load_floats(memory, i.dtype, _one(memory, right), 1, b)
                for lane in range(lanes):
                    place = block * lanes + lane
                    if (bits[place // 8] >> (place & 7)) & 1 == 0:
                        a[lane] = b[lane]
                store_floats(memory, i.dtype, _one(memory, dst), lanes, mask, a)


@inner
def _wide_lanes(dtype: int, to: int) -> int:
    """Return the lanes of one block of the wider type."""
    return BLOCK_BYTES // max(item_bytes(dtype), item_bytes(to))


@inner
def _store_part(memory: Memory, i: Any, dst: int, mask: tuple[int, int], floats: Floats, ints: Ints) -> None:
    """Write converted numbers to one block, or to that half of it which `i.half` names."""
    lanes = _wide_lanes(i.dtype, i.to)
    first = i.half * lanes if item_bytes(i.to) < item_bytes(i.dtype) else 0
    for lane in range(lanes - 1, -1, -1):
        if is_float(i.to):
            floats[first + lane] = floats[lane]
        else:
            ints[first + lane] = ints[lane]
    where = (mask[0] << first, 0)
    if is_float(i.to):
        store_floats(memory, i.to, _one(memory, dst), first + lanes, where, floats)
    else:
        store_ints(memory, i.to, _one(memory, dst), first + lanes, where, ints)


@inner
def _convert_block(memory: Memory, i: Any, mask: tuple[int, int], dst: int, src: int) -> None:
    """Convert the lanes of one block of the wider type."""
    floats, ints = np.empty(BLOCK_BYTES, dtype=np.float32), np.empty(BLOCK_BYTES, dtype=np.int64)
    lanes = _wide_lanes(i.dtype, i.to)
    first = i.half * lanes if item_bytes(i.dtype) < item_bytes(i.to) else 0
    if is_float(i.dtype):
        load_floats(memory, i.dtype, _one(memory, src), 1, floats)
    else:
        load_ints(memory, i.dtype, _one(memory, src), 1, ints)
    for lane in range(lanes):
        floats[lane], ints[lane] = floats[first + lane], ints[first + lane]
    converted(i.dtype, i.to, i.rounding, np.float64(i.scale), floats, ints, lanes)
    _store_part(memory, i, dst, mask, floats, ints)


@instruction(Pipe.V, ("fp16", "fp32", "int32", "int8", "uint8", "int16"))
class scatter_vconv(Declaration):
    """The blocks of dst = those of src, converted to the type with code `to`; see vconv.

    Of two types, one is at most twice as wide as the other. Of each block of the narrower one the lower or,
    with `half` = 1, the upper 16 bytes take part; the mask counts lanes of the wider one.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    mask = Mask()
    to = Size(6)
    repeat = Size(255, low=1)
    dst_rep = Size(255, default=8)
    src_rep = Size(255, default=8)
    rounding = Size(6, default=0)
    half = Flag()
    scale = Immediate(1.0)
    refuse: ClassVar[dict[str, str]] = {
        f"({_WIDE} >> dtype) & ({_BYTES} >> to) & 1 or ({_BYTES} >> dtype) & ({_WIDE} >> to) & 1": (
            "to must be at most twice as wide as dtype, or dtype as to; convert to fp16 between"
        ),
    }
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the lists read."""
        return region(READ, i.dst, LIST_BYTES), region(READ, i.src, LIST_BYTES)

    def execute(i: Any, memory: Memory) -> None:
        """Convert block by block."""
        lanes = _wide_lanes(i.dtype, i.to)
        for repeat in range(i.repeat):
            for block in range(BLOCKS):
                dst = listed_block(memory, i.dst, block, repeat * i.dst_rep)
                src = listed_block(memory, i.src, block, repeat * i.src_rep)
                mask = block_mask((i.mask_lo, i.mask_hi), block * lanes, lanes)
                if min(dst, src) >= 0 and mask[0] != 0:
                    _convert_block(memory, i, mask, dst, src)


@inner
def _multiply_block(memory: Memory, i: Any, mask: tuple[int, int], dst: int, src0: int, src1: int) -> None:
    """Multiply one block by another; the product becomes integers."""
    a, b = np.empty(BLOCK_BYTES, dtype=np.float32), np.empty(BLOCK_BYTES, dtype=np.float32)
    ints, lanes = np.empty(BLOCK_BYTES, dtype=np.int64), _wide_lanes(i.dtype, i.to)
    load_floats(memory, i.dtype, _one(memory, src0), 1, a)
    load_floats(memory, i.dtype, _one(memory, src1), 1, b)
    binary_floats(int(MUL), a, b, a, lanes)
    floats_to_ints(int(NEAREST), i.to, a, ints, lanes)
    _store_part(memory, i, dst, mask, a, ints)


@instruction(Pipe.V, ("fp16",))
class scatter_vmulconv(Declaration):
    """The blocks of dst = src0 * src1 as int8 or uint8 (`to`), to nearest even and saturated.

    The results of a block fill the lower or, with `half` = 1, the upper 16 bytes of a block of dst.

    Model: the product is not rounded to fp16 on the way; otherwise as in `scatter`.
    """

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    mask = Mask()
    to = Size(UINT8, low=INT8)
    repeat = Size(255, low=1)
    dst_rep = Size(255, default=8)
    src0_rep = Size(255, default=8)
    src1_rep = Size(255, default=8)
    half = Flag()
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the lists read."""
        right = region(READ, i.src1, LIST_BYTES)
        return region(READ, i.dst, LIST_BYTES), region(READ, i.src0, LIST_BYTES), right

    def execute(i: Any, memory: Memory) -> None:
        """Multiply block by block."""
        lanes = _wide_lanes(i.dtype, i.to)
        for repeat in range(i.repeat):
            for block in range(BLOCKS):
                dst = listed_block(memory, i.dst, block, repeat * i.dst_rep)
                src0 = listed_block(memory, i.src0, block, repeat * i.src0_rep)
                src1 = listed_block(memory, i.src1, block, repeat * i.src1_rep)
                mask = block_mask((i.mask_lo, i.mask_hi), block * lanes, lanes)
                if min(dst, src0, src1) >= 0 and mask[0] != 0:
                    _multiply_block(memory, i, mask, dst, src0, src1)
