"""Read and write the lanes of vector repeats: eight 32-byte blocks, strided, masked.

Lanes are computed in scratch arrays, float32 or int64. Blocks without gaps are moved as one run, and an
instruction whose repeats lie behind each other is executed `GROUP` repeats at a time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.fields import BF16, FP16, FP32, INT8, INT16, INT32, UINT8
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Memory
from davinci_sim.isa.region import Region, region

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK_BYTES, REPEAT_BYTES = 32, 256
GROUP = 16
"""Repeats that are executed together where that changes nothing; the scratch then stays in the host's L1."""
SCRATCH = GROUP * 128


@inner
def item_bytes(dtype: int) -> int:
    """Return the size of one element."""
    if dtype in (FP32, INT32):
        return 4
    if dtype in (INT8, UINT8):
        return 1
    return 2


@inner
def is_float(dtype: int) -> bool:
    """Tell whether an element type is a floating-point one."""
    return dtype in (FP16, FP32, BF16)


@inner
def lane_is_on(mask_lo: int, mask_hi: int, lane: int) -> bool:
    """Tell whether the mask lets a lane be written."""
    if lane < 64:
        return (mask_lo >> lane) & 1 != 0
    return (mask_hi >> (lane - 64)) & 1 != 0


@inner
def _top_bit(word: int) -> int:
    """Return the number of the highest bit that is set in a word of 64, -1 if none is."""
    if word < 0:
        return 63
    top, rest = -1, word
    for width in (32, 16, 8, 4, 2, 1):
        if rest >> width:
            rest >>= width
            top += width
    return top + rest


@inner
def highest_lane(mask_lo: int, mask_hi: int, lanes: int) -> int:
    """Return the highest lane below `lanes` that the mask lets be written, -1 if none."""
    high = mask_hi if lanes >= 128 else mask_hi & ((1 << max(0, lanes - 64)) - 1)
    if high != 0:
        return 64 + _top_bit(high)
    return _top_bit(mask_lo if lanes >= 64 else mask_lo & ((1 << lanes) - 1))


@inner
def is_full(mask_lo: int, mask_hi: int, lanes: int) -> bool:
    """Tell whether the mask lets every one of the first `lanes` be written."""
    if lanes < 64:
        return (mask_lo + 1) & ((1 << lanes) - 1) == 0
    if lanes < 128:
        return mask_lo == -1 and (mask_hi + 1) & ((1 << (lanes - 64)) - 1) == 0
    return mask_lo == -1 and mask_hi == -1


@inner
def block_mask(mask: tuple[int, int], first: int, lanes: int) -> tuple[int, int]:
    """Return the part of a mask that belongs to `lanes` lanes from `first` (both multiples of 8)."""
    word, shift = (mask[0], first) if first < 64 else (mask[1], first - 64)
    return (word >> shift) & ((1 << lanes) - 1), 0


class Rows(NamedTuple):
    """Some repeats of one operand: the first begins at byte `start` of `local`, strides are in blocks."""

    start: int
    blk: int
    rep: int
    repeats: int


@inner
def part(rows: Rows, first: int, repeats: int) -> Rows:
    """Return `repeats` repeats from the one numbered `first`."""
    return Rows(rows.start + first * rows.rep * BLOCK_BYTES, rows.blk, rows.rep, repeats)


@inner
def span_bytes(rows: Rows, blocks: int) -> int:
    """Return the bytes from the first to the end of the last block, each repeat having `blocks`."""
    return ((rows.repeats - 1) * rows.rep + (blocks - 1) * rows.blk + 1) * BLOCK_BYTES


@inner
def are_apart(dst: int, dst_bytes: int, src: int, src_bytes: int) -> bool:
    """Tell whether two ranges of `local` share no byte."""
    return dst + dst_bytes <= src or src + src_bytes <= dst


@inner
def may_group(dst: Rows, src: Rows, blocks: int) -> bool:
    """Tell whether no repeat reads what an earlier one wrote: in place, or without a common byte."""
    if (
        dst.start == src.start
        and dst.blk == src.blk
        and dst.rep == src.rep
        and dst.rep > (blocks - 1) * dst.blk
    ):
        return True
    return are_apart(dst.start, span_bytes(dst, blocks), src.start, span_bytes(src, blocks))


@inner
def blocks_region(written: int, handle: int, blocks: int, blk: int, rep: int, repeat: int) -> Region:
    """Return whole blocks of every repeat; what lies without a gap becomes one run."""
    stride, run = rep * BLOCK_BYTES, blocks * BLOCK_BYTES
    if blk != 1:
        once = min(blocks, 1) if blk == 0 else blocks
        return Region(written, handle, BLOCK_BYTES, once, blk * BLOCK_BYTES, repeat, stride)
    if rep == blocks:
        return region(written, handle, run * repeat)
    return Region(written, handle, run, 1, 0, 1 if rep == 0 else repeat, stride)


@inner
def lane_regions(
    written: int, handle: int, lanes: int, size: int, blk: int, rep: int, repeat: int
) -> tuple[Region, Region]:
    """Return the bytes of the first `lanes` of every repeat; the first region holds the last byte.

    The second one holds the whole blocks where the last is not filled; it is empty otherwise. A mask with
    holes counts as if it had none below its highest lane.
    """
    whole, rest = lanes * size // BLOCK_BYTES, lanes * size % BLOCK_BYTES
    blocks = blocks_region(written, handle, whole, blk, rep, repeat)
    if rest == 0:
        return blocks, region(written, handle, 0)
    last = Region(written, handle + whole * blk * BLOCK_BYTES, rest, 1, 0, repeat, rep * BLOCK_BYTES)
    return last, blocks


@inner
def meets_itself(rows: Rows, blocks: int) -> bool:
    """Tell whether a repeat may touch blocks that an earlier one touched."""
    return rows.rep <= (blocks - 1) * rows.blk


@inner
def group_of(dst: Rows, src: Rows, blocks: int, other: Rows) -> int:
    """Return how many repeats may be executed together, given two sources and equal widths."""
    if may_group(dst, src, blocks) and may_group(dst, other, blocks):
        return GROUP
    return 1


@inner
def block_count(lanes: int, size: int) -> int:
    """Return the blocks that hold the first `lanes` of a repeat."""
    return (lanes * size + BLOCK_BYTES - 1) // BLOCK_BYTES


@inner
def widen_bf16(bits: np.uint16) -> np.float32:
    """Return the float32 value of a bfloat16 bit pattern (exact)."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@inner
def narrow_bf16(value: np.float32) -> np.uint16:
    """Return the bfloat16 bit pattern nearest to a float32 value (ties to even)."""
    bits = np.int64(np.float32(value).view(np.uint32))
    if np.isnan(value):
        return np.uint16((bits >> 16) | 0x40)
    return np.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


@inner
def load_floats(memory: Memory, dtype: int, rows: Rows, blocks: int, out: Floats) -> None:
    """Fill `out` with the first `blocks` of each repeat."""
    per_block = 8 if dtype == FP32 else 16
    together = rows.repeats if rows.blk == 1 and rows.rep == blocks else 1  # repeats without a gap
    run = max(1, together * blocks) if rows.blk == 1 else 1
    count = np.uint64(run * per_block)
    for repeat in range(0, rows.repeats, together):
        row = rows.start // BLOCK_BYTES + repeat * rows.rep
        for block in range(0, together * blocks, run):
            first = np.uint64((row + block * rows.blk) * per_block)
            to = np.uint64((repeat * blocks + block) * per_block)
            if dtype == FP32:
                for lane in range(count):
                    out[to + lane] = memory.f32[first + lane]
            elif dtype == BF16:
                for lane in range(count):
                    out[to + lane] = widen_bf16(memory.u16[first + lane])
            else:
                for lane in range(count):
                    out[to + lane] = widen(memory.u16[first + lane])


@inner
def load_ints(memory: Memory, dtype: int, rows: Rows, blocks: int, out: Ints) -> None:
    """Fill `out` with the first `blocks` of each repeat."""
    per_block = BLOCK_BYTES // item_bytes(dtype)
    together = rows.repeats if rows.blk == 1 and rows.rep == blocks else 1  # repeats without a gap
    run = max(1, together * blocks) if rows.blk == 1 else 1
    count = np.uint64(run * per_block)
    for repeat in range(0, rows.repeats, together):
        row = rows.start // BLOCK_BYTES + repeat * rows.rep
        for block in range(0, together * blocks, run):
            first = np.uint64((row + block * rows.blk) * per_block)
            to = np.uint64((repeat * blocks + block) * per_block)
            if dtype == INT32:
                for lane in range(count):
                    out[to + lane] = memory.i32[first + lane]
            elif dtype == INT16:
                for lane in range(count):
                    out[to + lane] = np.int16(memory.u16[first + lane])
            elif dtype == INT8:
                for lane in range(count):
                    out[to + lane] = np.int8(memory.local[first + lane])
            elif dtype == UINT8:
                for lane in range(count):
                    out[to + lane] = memory.local[first + lane]
            else:
                for lane in range(count):
                    out[to + lane] = memory.u16[first + lane]


@inner
def store_float(memory: Memory, dtype: int, start: int, value: np.float32) -> None:
    """Write one number at byte `start` of `local`, rounded to the element type."""
    if dtype == FP32:
        memory.f32[start // 4] = value
    elif dtype == BF16:
        memory.u16[start // 2] = narrow_bf16(value)
    else:
        memory.u16[start // 2] = narrow(value)


@inner
def store_floats(
    memory: Memory, dtype: int, rows: Rows, lanes: int, mask: tuple[int, int], values: Floats
) -> None:
    """Write the masked ones of the first `lanes` of each repeat, rounded to the element type."""
    size = item_bytes(dtype)
    per_block, blocks = BLOCK_BYTES // size, block_count(lanes, size)
    whole = lanes // per_block if is_full(mask[0], mask[1], lanes) else 0
    together = rows.repeats if rows.blk == 1 and rows.rep == whole == blocks else 1
    run = max(1, together * whole) if rows.blk == 1 else 1
    count = np.uint64(run * per_block)
    for repeat in range(0, rows.repeats, together):
        row, values_row = rows.start // BLOCK_BYTES + repeat * rows.rep, repeat * blocks
        for block in range(0, together * whole, run):
            first = np.uint64((row + block * rows.blk) * per_block)
            source = np.uint64((values_row + block) * per_block)
            if dtype == FP32:
                for lane in range(count):
                    memory.f32[first + lane] = values[source + lane]
            elif dtype == BF16:
                for lane in range(count):
                    memory.u16[first + lane] = narrow_bf16(values[source + lane])
            else:
                for lane in range(count):
                    memory.u16[first + lane] = narrow(values[source + lane])
        for lane in range(whole * per_block, lanes):
            if lane_is_on(mask[0], mask[1], lane):
                where = (row + lane // per_block * rows.blk) * per_block + lane % per_block
                store_float(memory, dtype, where * size, values[values_row * per_block + lane])


@inner
def store_int(memory: Memory, dtype: int, start: int, value: int) -> None:
    """Write one number at byte `start` of `local`; bits that do not fit are cut off."""
    size = item_bytes(dtype)
    if size == 4:
        memory.i32[start // 4] = np.int32(value)
    elif size == 2:
        memory.u16[start // 2] = np.uint16(value)
    else:
        memory.local[start] = np.uint8(value)


@inner
def store_ints(
    memory: Memory, dtype: int, rows: Rows, lanes: int, mask: tuple[int, int], values: Ints
) -> None:
    """Write the masked ones of the first `lanes` of each repeat; bits that do not fit are cut off."""
    size = item_bytes(dtype)
    per_block, blocks = BLOCK_BYTES // size, block_count(lanes, size)
    whole = lanes // per_block if is_full(mask[0], mask[1], lanes) else 0
    together = rows.repeats if rows.blk == 1 and rows.rep == whole == blocks else 1
    run = max(1, together * whole) if rows.blk == 1 else 1
    count = np.uint64(run * per_block)
    for repeat in range(0, rows.repeats, together):
        row, values_row = rows.start // BLOCK_BYTES + repeat * rows.rep, repeat * blocks
        for block in range(0, together * whole, run):
            first = np.uint64((row + block * rows.blk) * per_block)
            source = np.uint64((values_row + block) * per_block)
            if size == 4:
                for lane in range(count):
                    memory.i32[first + lane] = np.int32(values[source + lane])
            elif size == 2:
                for lane in range(count):
                    memory.u16[first + lane] = np.uint16(values[source + lane])
            else:
                for lane in range(count):
                    memory.local[first + lane] = np.uint8(values[source + lane])
        for lane in range(whole * per_block, lanes):
            if lane_is_on(mask[0], mask[1], lane):
                where = (row + lane // per_block * rows.blk) * per_block + lane % per_block
                store_int(memory, dtype, where * size, values[values_row * per_block + lane])
