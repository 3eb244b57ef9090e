"""Read and write the lanes of vector repeats: eight 32-byte blocks, strided, masked.

Lanes are computed in scratch arrays, float32 or int64. Blocks without gaps are moved as one run, and an
instruction whose repeats lie behind each other is executed `GROUP` repeats at a time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.fields import FP16, FP32, INT8, INT16, INT32, UINT8
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Memory
from davinci_sim.isa.region import Region

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
    return dtype in (FP16, FP32)


@inner
def lane_is_on(mask_lo: int, mask_hi: int, lane: int) -> bool:
    """Tell whether the mask lets a lane be written."""
    if lane < 64:
        return (mask_lo >> lane) & 1 != 0
    return (mask_hi >> (lane - 64)) & 1 != 0


@inner
def highest_lane(mask_lo: int, mask_hi: int, lanes: int) -> int:
    """Return the highest lane that the mask lets be written, -1 if none."""
    for lane in range(lanes - 1, -1, -1):
        if lane_is_on(mask_lo, mask_hi, lane):
            return lane
    return -1


@inner
def is_full(mask_lo: int, mask_hi: int, lanes: int) -> bool:
    """Tell whether the mask lets every one of the first `lanes` be written."""
    if lanes < 64:
        return (mask_lo + 1) & ((1 << lanes) - 1) == 0
    if lanes < 128:
        return mask_lo == -1 and (mask_hi + 1) & ((1 << (lanes - 64)) - 1) == 0
    return mask_lo == -1 and mask_hi == -1


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
def lanes_region(written: int, handle: int, lanes: int, size: int, blk: int, rep: int, repeat: int) -> Region:
    """Return the blocks that the first `lanes` of every repeat touch."""
    blocks = (lanes * size + BLOCK_BYTES - 1) // BLOCK_BYTES
    return Region(written, handle, BLOCK_BYTES, blocks, blk * BLOCK_BYTES, repeat, rep * BLOCK_BYTES)


@inner
def block_count(lanes: int, size: int) -> int:
    """Return the blocks that hold the first `lanes` of a repeat."""
    return (lanes * size + BLOCK_BYTES - 1) // BLOCK_BYTES


@inner
def load_floats(memory: Memory, dtype: int, rows: Rows, blocks: int, out: Floats) -> None:
    """Fill `out` with the first `blocks` of each repeat."""
    per_block = 8 if dtype == FP32 else 16
    together = (
        rows.repeats if rows.blk == 1 and rows.rep == blocks else 1
    )  # repeats that follow each other without a gap
    run = together * blocks if rows.blk == 1 else 1
    count = np.uint64(run * per_block)
    for repeat in range(0, rows.repeats, together):
        row = rows.start // BLOCK_BYTES + repeat * rows.rep
        for block in range(0, together * blocks, run):
            first = np.uint64((row + block * rows.blk) * per_block)
            to = np.uint64((repeat * blocks + block) * per_block)
            if dtype == FP32:
                for lane in range(count):
                    out[to + lane] = memory.f32[first + lane]
            else:
                for lane in range(count):
                    out[to + lane] = widen(memory.u16[first + lane])


@inner
def load_ints(memory: Memory, dtype: int, rows: Rows, blocks: int, out: Ints) -> None:
    """Fill `out` with the first `blocks` of each repeat."""
    per_block = BLOCK_BYTES // item_bytes(dtype)
    together = (
        rows.repeats if rows.blk == 1 and rows.rep == blocks else 1
    )  # repeats that follow each other without a gap
    run = together * blocks if rows.blk == 1 else 1
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
