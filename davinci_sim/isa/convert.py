"""Fill lanes with a constant, and convert between element types, on the vector unit."""

from typing import Any

import numpy as np

from davinci_sim.isa.fields import UINT8, UINT16, Declaration, Immediate, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    BLOCK_BYTES,
    GROUP,
    REPEAT_BYTES,
    SCRATCH,
    Floats,
    Ints,
    Rows,
    are_apart,
    block_count,
    highest_lane,
    is_float,
    item_bytes,
    lanes_region,
    load_floats,
    load_ints,
    part,
    span_bytes,
    store_floats,
    store_ints,
)
from davinci_sim.isa.machine import Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region
from davinci_sim.isa.vector import vector_cycles
from davinci_sim.memory.spaces import Space


@instruction(Pipe.V, ("fp16", "fp32", "int32", "int16", "uint16"))
class vector_dup(Declaration):
    """dst = value in every lane of the mask; it is carried as float32, so integers are exact to 2 ** 24."""

    dst = Out(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    dst_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    value = Immediate()
    cycles = vector_cycles

    def accesses(i: Any) -> tuple[Region]:
        """Return the blocks written."""
        size = item_bytes(i.dtype)
        lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
        return (lanes_region(1, i.dst, lanes, size, i.dst_blk, i.dst_rep, i.repeat),)

    def execute(i: Any, memory: Memory) -> None:
        """Fill the lanes."""
        lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // item_bytes(i.dtype)) + 1
        a = np.full(SCRATCH, i.value, dtype=np.float32)
        x = np.full(SCRATCH, np.int64(i.value), dtype=np.int64)
        dst = Rows(at(memory, i.dst), i.dst_blk, i.dst_rep, i.repeat)
        for repeat in range(0, i.repeat, GROUP):
            rows = part(dst, repeat, min(GROUP, i.repeat - repeat))
            if is_float(i.dtype):
                store_floats(memory, i.dtype, rows, lanes, (i.mask_lo, i.mask_hi), a)
            else:
                store_ints(memory, i.dtype, rows, lanes, (i.mask_lo, i.mask_hi), x)


@inner
def _saturated(value: float, dtype: int) -> np.int64:
    """Return an integral float as an integer within the range of the element type; NaN gives 0."""
    bits = 8 * item_bytes(dtype)
    low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    if dtype in (UINT8, UINT16):
        low, high = 0.0, 2.0**bits - 1
    if np.isnan(value):
        return np.int64(0)
    return np.int64(min(max(value, low), high))


@inner
def _convert(i: Any, n: int, floats: Floats, ints: Ints) -> None:
    """Convert n numbers between the scratch arrays that the two types are computed in."""
    if is_float(i.dtype) and not is_float(i.to):
        for lane in range(n):
            ints[lane] = _saturated(np.rint(np.float64(floats[lane])), i.to)
    elif is_float(i.to) and not is_float(i.dtype):
        for lane in range(n):
            floats[lane] = np.float32(ints[lane])
    elif not is_float(i.dtype):
        for lane in range(n):
            ints[lane] = _saturated(np.float64(ints[lane]), i.to)


@inner
def _conversion_lanes(dtype: int, to: int) -> int:
    """Return the lanes of a repeat: as many as fit 256 bytes of the wider type, at most 128."""
    return min(128, REPEAT_BYTES // max(item_bytes(dtype), item_bytes(to)))


@instruction(Pipe.V, ("fp16", "fp32", "int32", "int8", "uint8"))
class vconv(Declaration):
    """dst = src converted to the type with code `to`, to nearest even; integers saturate.

    A repeat has as many lanes as fit 256 bytes of the wider type.

    Model: pairs of types that the source lacks convert, too, at the cost of the others.
    Source: conversion pairs in the vendor's intrinsic list (f322f16, f162f32, s322f32, f162s8 ...).
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    mask = Mask()
    to = Size(6)
    repeat = Size(255, low=1)
    dst_blk = Size(255, default=1)
    src_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    src_rep = Size(255, default=8)
    cycles = vector_cycles

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the blocks written and read."""
        lanes = highest_lane(i.mask_lo, i.mask_hi, _conversion_lanes(i.dtype, i.to)) + 1
        return (
            lanes_region(1, i.dst, lanes, item_bytes(i.to), i.dst_blk, i.dst_rep, i.repeat),
            lanes_region(0, i.src, lanes, item_bytes(i.dtype), i.src_blk, i.src_rep, i.repeat),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Convert, one repeat or many at a time."""
        dst = Rows(at(memory, i.dst), i.dst_blk, i.dst_rep, i.repeat)
        src = Rows(at(memory, i.src), i.src_blk, i.src_rep, i.repeat)
        size, to_size, group = item_bytes(i.dtype), item_bytes(i.to), 1
        lanes = highest_lane(i.mask_lo, i.mask_hi, _conversion_lanes(i.dtype, i.to)) + 1
        blocks, to_blocks = block_count(lanes, size), block_count(lanes, to_size)
        is_apart = are_apart(dst.start, span_bytes(dst, to_blocks), src.start, span_bytes(src, blocks))
        if is_apart and blocks * to_size == to_blocks * size:
            group = GROUP
        floats, ints = np.empty(SCRATCH, dtype=np.float32), np.empty(SCRATCH, dtype=np.int64)
        for repeat in range(0, i.repeat, group):
            n = min(group, i.repeat - repeat)
            if is_float(i.dtype):
                load_floats(memory, i.dtype, part(src, repeat, n), blocks, floats)
            else:
                load_ints(memory, i.dtype, part(src, repeat, n), blocks, ints)
            _convert(i, n * blocks * BLOCK_BYTES // size, floats, ints)
            if is_float(i.to):
                store_floats(memory, i.to, part(dst, repeat, n), lanes, (i.mask_lo, i.mask_hi), floats)
            else:
                store_ints(memory, i.to, part(dst, repeat, n), lanes, (i.mask_lo, i.mask_hi), ints)
