"""Vector instructions whose operands' places or number depend on data: gather, scatter, filter.

What the hazard checks can know without the data is what they are told: of an operand that is addressed by
offsets in UB one element stands for all, of a filtered result the longest one. An offset that leaves UB
moves nothing.
"""

from typing import Any

import numpy as np

from davinci_sim.isa.fields import Declaration, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    BLOCK_BYTES,
    REPEAT_BYTES,
    blocks_region,
    item_bytes,
    lane_is_on,
    lane_regions,
)
from davinci_sim.isa.lanewise import lanes_used
from davinci_sim.isa.machine import Memory, at
from davinci_sim.isa.permute import table_time
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, region
from davinci_sim.memory.spaces import Space

ELEMENTS = ("int16", "uint16", "fp16", "fp32", "int32")
OFFSET_BYTES = 4
_UB = int(Space.UB)


@inner
def _copy_item(memory: Memory, to: int, start: int, size: int) -> None:
    """Copy one element from byte `start` to byte `to` of `local`."""
    if size == 4:
        memory.i32[to // 4] = memory.i32[start // 4]
    else:
        memory.u16[to // 2] = memory.u16[start // 2]


@inner
def _in_ub(memory: Memory, byte: int, size: int) -> bool:
    """Tell whether an element at `byte` of `local` lies in UB."""
    first = memory.base[_UB]
    return bool(first <= byte and byte + size <= first + memory.size[_UB])


@inner
def _offset(memory: Memory, offsets: int, index: int) -> int:
    """Return offset number `index` of a list at byte `offsets` of `local`, unsigned."""
    return int(np.int64(memory.i32[offsets // OFFSET_BYTES + index]) & 0xFFFFFFFF)


@inner
def _offsets_region(i: Any, lanes: int) -> Region:
    """Return the offsets read: those of the lanes used, of every repeat."""
    row = REPEAT_BYTES // item_bytes(i.dtype) * OFFSET_BYTES
    return Region(READ, i.offsets, lanes * OFFSET_BYTES, i.repeat, row, 1, 0)


@instruction(Pipe.V, ELEMENTS)
class vgather(Declaration):
    """dst[lane] = the element at `offsets[lane]` bytes from src; 128 or 64 lanes and offsets a repeat.

    Model: cycles per repeat whatever the offsets; the checks see one element of `src`.
    Source: Ascend C Gather (unsigned 32-bit byte offsets in UB); 310P and later; 12 (32-bit) and 24 (16-bit)
    cycles a repeat in msKPP's table of 910B1.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    offsets = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    dst_rep = Size(255, default=8)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return the lanes written, one element of the source and the offsets."""
        size = item_bytes(i.dtype)
        lanes = lanes_used(i.mask_lo, i.mask_hi, size)
        dst = lane_regions(WRITTEN, i.dst, lanes, size, 1, i.dst_rep, i.repeat)
        return dst[0], region(READ, i.src, size), _offsets_region(i, lanes), dst[1]

    def execute(i: Any, memory: Memory) -> None:
        """Gather lane by lane."""
        size, offsets = item_bytes(i.dtype), at(memory, i.offsets)
        lanes = REPEAT_BYTES // size
        for repeat in range(i.repeat):
            for lane in range(lanes_used(i.mask_lo, i.mask_hi, size)):
                start = at(memory, i.src) + _offset(memory, offsets, repeat * lanes + lane)
                if lane_is_on(i.mask_lo, i.mask_hi, lane) and _in_ub(memory, start, size):
                    to = at(memory, i.dst) + repeat * i.dst_rep * BLOCK_BYTES + lane * size
                    _copy_item(memory, to, start, size)


@instruction(Pipe.V, ELEMENTS)
class vscatter(Declaration):
    """The element at `offsets[lane]` bytes from dst = src[lane]; later lanes win over earlier ones.

    Model: cycles per repeat whatever the offsets; the checks see one element of `dst`.
    Source: Ascend C Scatter (unsigned 32-bit byte offsets in UB); 310P.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    offsets = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    src_rep = Size(255, default=8)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return one element of the destination, the lanes read and the offsets."""
        size = item_bytes(i.dtype)
        lanes = lanes_used(i.mask_lo, i.mask_hi, size)
        src = lane_regions(READ, i.src, lanes, size, 1, i.src_rep, i.repeat)
        return region(WRITTEN, i.dst, size), src[0], _offsets_region(i, lanes), src[1]

    def execute(i: Any, memory: Memory) -> None:
        """Scatter lane by lane."""
        size, offsets = item_bytes(i.dtype), at(memory, i.offsets)
        lanes = REPEAT_BYTES // size
        for repeat in range(i.repeat):
            for lane in range(lanes_used(i.mask_lo, i.mask_hi, size)):
                to = at(memory, i.dst) + _offset(memory, offsets, repeat * lanes + lane)
                if lane_is_on(i.mask_lo, i.mask_hi, lane) and _in_ub(memory, to, size):
                    start = at(memory, i.src) + repeat * i.src_rep * BLOCK_BYTES + lane * size
                    _copy_item(memory, to, start, size)


@instruction(Pipe.V, ELEMENTS)
class vgatherb(Declaration):
    """Each of the eight blocks of a repeat of dst = the block at `offsets[block]` bytes from src.

    Model: cycles per repeat whatever the offsets; the checks see one block of `src`.
    Source: Ascend C Gatherb (unsigned 32-bit byte offsets, multiples of 32); 310B and later.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    offsets = In(Space.UB)
    repeat = Size(255, low=1)
    dst_blk = Size(65535, default=1)
    dst_rep = Size(255, default=8)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the blocks written, one block of the source and the offsets."""
        dst = blocks_region(WRITTEN, i.dst, 8, i.dst_blk, i.dst_rep, i.repeat)
        return dst, region(READ, i.src, BLOCK_BYTES), region(READ, i.offsets, i.repeat * 8 * OFFSET_BYTES)

    def execute(i: Any, memory: Memory) -> None:
        """Gather block by block."""
        for block in range(i.repeat * 8):
            start = at(memory, i.src) + _offset(memory, at(memory, i.offsets), block)
            to = at(memory, i.dst) + (block // 8 * i.dst_rep + block % 8 * i.dst_blk) * BLOCK_BYTES
            if _in_ub(memory, start, BLOCK_BYTES):
                for word in range(BLOCK_BYTES // 4):
                    memory.i32[to // 4 + word] = memory.i32[start // 4 + word]


@inner
def _is_kept(pattern: int, lane: int) -> bool:
    """Tell whether a fixed pattern keeps a lane: 1, 2 every second, 3 to 6 every fourth, 7 all."""
    if pattern <= 2:
        return lane % 2 == pattern - 1
    return pattern == 7 or lane % 4 == pattern - 3


@inner
def _kept_lanes(pattern: int, lanes: int) -> int:
    """Return how many of the lanes of a repeat a fixed pattern keeps."""
    if pattern <= 2:
        return lanes // 2
    return lanes if pattern == 7 else lanes // 4


@instruction(Pipe.V, ELEMENTS)
class vreduce_fixed(Declaration):
    """dst = the elements of src that a fixed pattern keeps, one after another across the repeats.

    `pattern`: 1 lanes 0, 2, 4 ..., 2 lanes 1, 3, 5 ..., 3 to 6 every fourth from lane 0 to 3, 7 all.
    Source: Ascend C GatherMask with a built-in pattern (vreduce); 310P and later.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    pattern = Size(7, low=1)
    repeat = Size(255, low=1)
    src_blk = Size(255, default=1)
    src_rep = Size(255, default=8)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the elements written and the blocks read."""
        size = item_bytes(i.dtype)
        kept = i.repeat * _kept_lanes(i.pattern, REPEAT_BYTES // size)
        return region(WRITTEN, i.dst, kept * size), blocks_region(
            READ, i.src, 8, i.src_blk, i.src_rep, i.repeat
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy what is kept."""
        size, to = item_bytes(i.dtype), at(memory, i.dst)
        in_block = BLOCK_BYTES // size
        for repeat in range(i.repeat):
            row = at(memory, i.src) + repeat * i.src_rep * BLOCK_BYTES
            for lane in range(REPEAT_BYTES // size):
                if _is_kept(i.pattern, lane):
                    start = row + lane // in_block * i.src_blk * BLOCK_BYTES + lane % in_block * size
                    _copy_item(memory, to, start, size)
                    to += size


@instruction(Pipe.V, ELEMENTS)
class vreduce(Declaration):
    """dst = the elements of src whose bit in `bits` is 1, one after another across the repeats.

    `bits` are what a comparison wrote, 128 or 64 a repeat.

    Model: the number kept, which the real one leaves in a register, is not returned; the checks see the
    longest result.
    Source: Ascend C GatherMask with a user's mask (vreduce); 310P and later.
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    bits = In(Space.UB)
    repeat = Size(255, low=1)
    src_blk = Size(255, default=1)
    src_rep = Size(255, default=8)
    cycles = table_time

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the most that is written, the blocks read and the bits."""
        lanes = REPEAT_BYTES // item_bytes(i.dtype)
        return (
            region(WRITTEN, i.dst, i.repeat * REPEAT_BYTES),
            blocks_region(READ, i.src, 8, i.src_blk, i.src_rep, i.repeat),
            region(READ, i.bits, i.repeat * lanes // 8),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy what is kept."""
        size, to, bits = item_bytes(i.dtype), at(memory, i.dst), at(memory, i.bits)
        lanes, in_block = REPEAT_BYTES // size, BLOCK_BYTES // size
        for repeat in range(i.repeat):
            row = at(memory, i.src) + repeat * i.src_rep * BLOCK_BYTES
            for lane in range(lanes):
                if (memory.local[bits + (repeat * lanes + lane) // 8] >> (lane & 7)) & 1:
                    start = row + lane // in_block * i.src_blk * BLOCK_BYTES + lane % in_block * size
                    _copy_item(memory, to, start, size)
                    to += size
