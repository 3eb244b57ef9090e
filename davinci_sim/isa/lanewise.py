"""Execute, time and list the bytes of instructions that work lane by lane, one repeat or many at a time.

The declarations in `vector`, `fused`, `convert`, `selection` and `scatter` say what they do as a `Work`, so
that these functions are compiled once for all of them.
"""

from typing import Any, NamedTuple

import numpy as np

from davinci_sim.isa.arithmetic import (
    AXPY,
    MADD,
    MADD_RELU,
    MLA,
    NEAREST,
    binary_floats,
    binary_ints,
    floats_to_ints,
    ints_to_floats,
    saturate,
    unary_floats,
    unary_ints,
)
from davinci_sim.isa.banks import Unit, reads, vector_time, writes
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    BLOCK_BYTES,
    REPEAT_BYTES,
    SCRATCH,
    Floats,
    Rows,
    block_count,
    group_of,
    highest_lane,
    is_float,
    item_bytes,
    lane_regions,
    load_floats,
    load_ints,
    meets_itself,
    part,
    store_floats,
    store_ints,
)
from davinci_sim.isa.machine import Memory, at
from davinci_sim.isa.region import READ, WRITTEN, Region


class Work(NamedTuple):
    """A lane-wise instruction: element types, lanes written, and where its operands lie (strides in blocks).

    `sources` says how many of the two there are. All are plain integers.
    """

    dtype: int
    to: int
    mask_lo: int
    mask_hi: int
    repeat: int
    dst: int
    dst_blk: int
    dst_rep: int
    sources: int
    src0: int
    src0_blk: int
    src0_rep: int
    src1: int
    src1_blk: int
    src1_rep: int


class Shape(NamedTuple):
    """What a repeat consists of: lanes up to the highest written, and the blocks that hold them."""

    lanes: int
    blocks: int
    to_blocks: int
    numbers: int  # in the blocks of a source


@inner
def lanes_used(mask_lo: int, mask_hi: int, size: int) -> int:
    """Return the lanes of a repeat up to the highest that the mask lets be written."""
    return highest_lane(mask_lo, mask_hi, REPEAT_BYTES // size) + 1


@inner
def shape_of(work: Work) -> Shape:
    """Return what a repeat consists of; the wider of the types fixes its lanes."""
    size, to_size = item_bytes(work.dtype), item_bytes(work.to)
    lanes = lanes_used(work.mask_lo, work.mask_hi, max(size, to_size))
    blocks = block_count(lanes, size)
    return Shape(lanes, blocks, block_count(lanes, to_size), blocks * BLOCK_BYTES // size)


@inner
def dst_rows(work: Work, memory: Memory) -> Rows:
    """Return the repeats of the destination."""
    return Rows(at(memory, work.dst), work.dst_blk, work.dst_rep, work.repeat)


@inner
def src_rows(i: Any, memory: Memory) -> Rows:
    """Return the repeats of the only source of a record."""
    return Rows(at(memory, i.src), i.src_blk, i.src_rep, i.repeat)


@inner
def src0_rows(work: Any, memory: Memory) -> Rows:
    """Return the repeats of the first source of a record or a Work."""
    return Rows(at(memory, work.src0), work.src0_blk, work.src0_rep, work.repeat)


@inner
def src1_rows(work: Any, memory: Memory) -> Rows:
    """Return the repeats of the second source of a record or a Work."""
    return Rows(at(memory, work.src1), work.src1_blk, work.src1_rep, work.repeat)


@inner
def work_time(work: Work, unit: Unit) -> int:
    """Count the cycles for which a lane-wise instruction holds the vector unit."""
    shape = shape_of(work)
    return vector_time(
        writes(work.dst, work.dst_blk, work.dst_rep, shape.to_blocks),
        reads(work.src0, work.src0_blk, work.src0_rep, shape.blocks if work.sources > 0 else 0),
        reads(work.src1, work.src1_blk, work.src1_rep, shape.blocks if work.sources > 1 else 0),
        work.repeat,
        unit,
    )


@inner
def work_regions(work: Work, is_read: bool) -> tuple[Region, ...]:
    """Return the bytes of dst, src0 and src1, then their other parts, then dst if it `is_read`, too."""
    size, to_size, lanes = item_bytes(work.dtype), item_bytes(work.to), shape_of(work).lanes
    dst = lane_regions(WRITTEN, work.dst, lanes, to_size, work.dst_blk, work.dst_rep, work.repeat)
    src0 = lane_regions(READ, work.src0, lanes, size, work.src0_blk, work.src0_rep, work.repeat)
    right = lanes if work.sources > 1 else 0
    src1 = lane_regions(READ, work.src1, right, size, work.src1_blk, work.src1_rep, work.repeat)
    before = lanes if is_read else 0
    again = lane_regions(READ, work.dst, before, to_size, work.dst_blk, work.dst_rep, work.repeat)
    return dst[0], src0[0], src1[0], dst[1], src0[1], src1[1], again[0], again[1]


@inner
def binary_reads_dst(op: int) -> bool:
    """Tell whether a two-source instruction adds to what its destination held."""
    return op in (MLA, MADD, MADD_RELU)


@inner
def binary(memory: Memory, op: int, work: Work, scale: float) -> None:
    """Execute a two-source instruction."""
    shape, group = shape_of(work), 1
    dst, left, right = dst_rows(work, memory), src0_rows(work, memory), src1_rows(work, memory)
    if work.dtype == work.to and not (binary_reads_dst(op) and meets_itself(dst, shape.blocks)):
        group = group_of(dst, left, shape.blocks, right)
    if not is_float(work.dtype):
        _binary_of_ints(memory, op, work, scale, group)
        return
    a, b = np.empty(SCRATCH, dtype=np.float32), np.empty(SCRATCH, dtype=np.float32)
    c = np.empty(SCRATCH, dtype=np.float32) if binary_reads_dst(op) else a
    for repeat in range(0, work.repeat, group):
        n = min(group, work.repeat - repeat)
        if binary_reads_dst(op):
            load_floats(memory, work.to, part(dst, repeat, n), shape.to_blocks, c)
        load_floats(memory, work.dtype, part(left, repeat, n), shape.blocks, a)
        load_floats(memory, work.dtype, part(right, repeat, n), shape.blocks, b)
        binary_floats(op, a, b, c, n * shape.numbers)
        _store(memory, work, part(dst, repeat, n), shape.lanes, a)


@inner
def _store(memory: Memory, work: Work, rows: Rows, lanes: int, values: Floats) -> None:
    """Write float32 results as numbers of a type: rounded to nearest even, integers saturated."""
    mask = (work.mask_lo, work.mask_hi)
    if is_float(work.to):
        store_floats(memory, work.to, rows, lanes, mask, values)
    else:
        ints = np.empty(SCRATCH, dtype=np.int64)
        floats_to_ints(int(NEAREST), work.to, values, ints, int(SCRATCH))
        store_ints(memory, work.to, rows, lanes, mask, ints)


@inner
def _binary_of_ints(memory: Memory, op: int, work: Work, scale: float, group: int) -> None:
    """Execute a two-source instruction on integers."""
    shape, mask = shape_of(work), (work.mask_lo, work.mask_hi)
    dst, left, right = dst_rows(work, memory), src0_rows(work, memory), src1_rows(work, memory)
    x, y = np.empty(SCRATCH, dtype=np.int64), np.empty(SCRATCH, dtype=np.int64)
    for repeat in range(0, work.repeat, group):
        n = min(group, work.repeat - repeat)
        load_ints(memory, work.dtype, part(left, repeat, n), shape.blocks, x)
        load_ints(memory, work.dtype, part(right, repeat, n), shape.blocks, y)
        binary_ints(op, x, y, n * shape.numbers)
        if is_float(work.to):
            a = np.empty(SCRATCH, dtype=np.float32)
            ints_to_floats(np.float32(scale), x, a, n * shape.numbers)
            store_floats(memory, work.to, part(dst, repeat, n), shape.lanes, mask, a)
            continue
        if work.to != work.dtype:
            saturate(work.to, x, n * shape.numbers)
        store_ints(memory, work.to, part(dst, repeat, n), shape.lanes, mask, x)


@inner
def unary(memory: Memory, op: int, work: Work, value: float) -> None:
    """Execute a one-source instruction, with a constant or without."""
    shape, mask, group = shape_of(work), (work.mask_lo, work.mask_hi), 1
    dst, src = dst_rows(work, memory), src0_rows(work, memory)
    if work.dtype == work.to and not (op == AXPY and meets_itself(dst, shape.blocks)):
        group = group_of(dst, src, shape.blocks, src)
    a = np.empty(SCRATCH, dtype=np.float32)
    c = np.empty(SCRATCH, dtype=np.float32) if op == AXPY else a
    x = np.empty(1 if is_float(work.dtype) else SCRATCH, dtype=np.int64)
    for repeat in range(0, work.repeat, group):
        n = min(group, work.repeat - repeat)
        out, source, numbers = part(dst, repeat, n), part(src, repeat, n), n * shape.numbers
        if is_float(work.dtype):
            if op == AXPY:
                load_floats(memory, work.to, out, shape.to_blocks, c)
            load_floats(memory, work.dtype, source, shape.blocks, a)
            unary_floats(op, a, c, np.float32(value), numbers)
            store_floats(memory, work.to, out, shape.lanes, mask, a)
        else:
            load_ints(memory, work.dtype, source, shape.blocks, x)
            unary_ints(op, x, int(value), numbers)
            store_ints(memory, work.dtype, out, shape.lanes, mask, x)
