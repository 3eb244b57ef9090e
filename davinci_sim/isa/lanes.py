"""Read and write the lanes of vector repeats: eight 32-byte blocks, strided, masked."""

import numpy as np

from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.fields import FP16, FP32, INT8, INT16, INT32, UINT8
from davinci_sim.isa.jit import jit
from davinci_sim.isa.region import Region

BLOCK_BYTES, BLOCKS, REPEAT_BYTES = 32, 8, 256


@jit
def item_bytes(dtype):
    """Return the size of one element."""
    if dtype == FP32 or dtype == INT32:
        return 4
    if dtype == INT8 or dtype == UINT8:
        return 1
    return 2


@jit
def lane_is_on(mask_lo, mask_hi, lane):
    """Tell whether the mask lets a lane be written."""
    if lane < 64:
        return (mask_lo >> lane) & 1 != 0
    return (mask_hi >> (lane - 64)) & 1 != 0


@jit
def highest_lane(mask_lo, mask_hi, lanes):
    """Return the highest lane that the mask lets be written, -1 if none."""
    for lane in range(lanes - 1, -1, -1):
        if lane_is_on(mask_lo, mask_hi, lane):
            return lane
    return -1


@jit
def is_full(mask_lo, mask_hi, lanes):
    """Tell whether the mask lets every one of `lanes` be written."""
    if lanes <= 64:
        return mask_lo == -1 or (lanes < 64 and mask_lo & ((1 << lanes) - 1) == (1 << lanes) - 1)
    return mask_lo == -1 and mask_hi == -1


@jit
def lanes_region(written, handle, lanes, size, blk, rep, repeat):
    """Return the blocks that the first `lanes` of every repeat touch."""
    blocks = (lanes * size + BLOCK_BYTES - 1) // BLOCK_BYTES
    return Region(written, handle, BLOCK_BYTES, blocks, blk * BLOCK_BYTES, repeat, rep * BLOCK_BYTES)


@jit
def load_floats(memory, dtype, start, blk, lanes, out):
    """Fill out[:lanes] float32 from the blocks that begin at byte `start` of the core's memory."""
    if dtype == FP32:
        for block in range((lanes + 7) // 8):
            at = start // 4 + block * blk * 8
            for lane in range(8):
                out[block * 8 + lane] = memory.f32[at + lane]
    else:
        for block in range((lanes + 15) // 16):
            at = start // 2 + block * blk * 16
            for lane in range(16):
                out[block * 16 + lane] = widen(memory.u16[at + lane])


@jit
def store_floats(memory, dtype, start, blk, lanes, mask_lo, mask_hi, values):
    """Write values[:lanes] float32 to masked lanes, rounded to the element type."""
    per_block = BLOCK_BYTES // item_bytes(dtype)
    whole = lanes // per_block if is_full(mask_lo, mask_hi, lanes) else 0
    for block in range(whole):
        if dtype == FP32:
            at = start // 4 + block * blk * 8
            for lane in range(8):
                memory.f32[at + lane] = values[block * 8 + lane]
        else:
            at = start // 2 + block * blk * 16
            for lane in range(16):
                memory.u16[at + lane] = narrow(values[block * 16 + lane])
    for lane in range(whole * per_block, lanes):
        if lane_is_on(mask_lo, mask_hi, lane):
            offset = lane // per_block * blk * per_block + lane % per_block
            if dtype == FP32:
                memory.f32[start // 4 + offset] = values[lane]
            else:
                memory.u16[start // 2 + offset] = narrow(values[lane])


@jit
def load_int(memory, dtype, start, blk, lane):
    """Return one integer lane."""
    size = item_bytes(dtype)
    per_block = BLOCK_BYTES // size
    at = start // size + lane // per_block * blk * per_block + lane % per_block
    if dtype == INT32:
        return np.int64(memory.i32[at])
    if dtype == INT8:
        return np.int64(np.int8(memory.local[at]))
    if dtype == UINT8:
        return np.int64(memory.local[at])
    if dtype == INT16:
        return np.int64(np.int16(memory.u16[at]))
    return np.int64(memory.u16[at])


@jit
def store_int(memory, dtype, start, blk, lane, value):
    """Write one integer lane; bits that do not fit are cut off."""
    size = item_bytes(dtype)
    per_block = BLOCK_BYTES // size
    at = start // size + lane // per_block * blk * per_block + lane % per_block
    if dtype == INT32:
        memory.i32[at] = np.int32(value)
    elif dtype == INT8 or dtype == UINT8:
        memory.local[at] = np.uint8(value)
    else:
        memory.u16[at] = np.uint16(value)


@jit
def is_float(dtype):
    """Tell whether an element type is a floating-point one."""
    return dtype == FP16 or dtype == FP32
