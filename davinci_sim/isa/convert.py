"""Fill lanes with a constant, and convert between element types, on the vector unit."""

from typing import Any

import numpy as np

from davinci_sim.isa.arithmetic import (
    AWAY,
    EVEN,
    NEAREST,
    floats_to_ints,
    ints_to_floats,
    rounded_to_half,
    saturate,
)
from davinci_sim.isa.banks import unit_of
from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.fields import FP16, FP32, Declaration, Immediate, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    BLOCK_BYTES,
    GROUP,
    SCRATCH,
    Floats,
    Ints,
    are_apart,
    is_float,
    item_bytes,
    load_floats,
    load_ints,
    narrow_bf16,
    part,
    span_bytes,
    store_floats,
    store_ints,
    widen_bf16,
)
from davinci_sim.isa.lanewise import Work, dst_rows, shape_of, src0_rows, work_regions, work_time
from davinci_sim.isa.machine import Costs, Memory
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region
from davinci_sim.isa.vector import unary_work
from davinci_sim.memory.spaces import Space


@inner
def _filling(i: Any) -> Work:
    """Return what a record without a source says."""
    return Work(
        i.dtype, i.dtype, i.mask_lo, i.mask_hi, i.repeat, i.dst, i.dst_blk, i.dst_rep,
        0, i.dst, 0, 0, i.dst, 0, 0,
    )  # fmt: skip


@instruction(Pipe.V, ("fp16", "fp32", "int32", "int16", "uint16", "bf16"))
class vector_dup(Declaration):
    """dst = value in every lane of the mask; it is carried as float32, so integers are exact to 2 ** 24."""

    dst = Out(Space.UB)
    mask = Mask()
    dst_blk = Size(65535, default=1)
    repeat = Size(255, low=1)
    dst_rep = Size(255, default=8)
    value = Immediate()

    def cycles(i: Any, costs: Costs) -> int:
        """Count the repeats."""
        return work_time(_filling(i), unit_of(costs.vector_cycles[i.opcode, i.dtype], costs))

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the bytes written."""
        found = work_regions(_filling(i), False)
        return found[0], found[3]

    def execute(i: Any, memory: Memory) -> None:
        """Fill the lanes."""
        work = _filling(i)
        lanes, dst = shape_of(work).lanes, dst_rows(work, memory)
        a = np.full(SCRATCH, i.value, dtype=np.float32)
        x = np.full(1 if is_float(i.dtype) else SCRATCH, np.int64(i.value), dtype=np.int64)
        for repeat in range(0, i.repeat, GROUP):
            rows = part(dst, repeat, min(GROUP, i.repeat - repeat))
            if is_float(i.dtype):
                store_floats(memory, i.dtype, rows, lanes, (i.mask_lo, i.mask_hi), a)
            else:
                store_ints(memory, i.dtype, rows, lanes, (i.mask_lo, i.mask_hi), x)


@inner
def _half(to: int, rounding: int, value: np.float32) -> np.float32:
    """Return a number rounded to fp16 or bf16 by a mode other than the nearest one."""
    nearest = np.int64(narrow(value)) if to == FP16 else np.int64(narrow_bf16(value))
    widened = widen(np.uint16(nearest)) if to == FP16 else widen_bf16(np.uint16(nearest))
    if rounding == AWAY:  # a tie has a neighbour at the same distance on the other side
        mirror = np.float32(np.float32(2.0) * value - widened)
        other = np.int64(narrow(mirror)) if to == FP16 else np.int64(narrow_bf16(mirror))
        back = widen(np.uint16(other)) if to == FP16 else widen_bf16(np.uint16(other))
        if back == mirror and abs(other - nearest) == 1:
            nearest = max(other, nearest)
    bits = np.uint16(rounded_to_half(rounding, value, int(nearest), widened))
    return widen(bits) if to == FP16 else widen_bf16(bits)


@inner
def _round_halves(to: int, rounding: int, a: Floats, n: int) -> None:
    """Round n numbers so that storing them as fp16 or bf16 is exact."""
    for lane in range(n):
        a[lane] = _half(to, rounding, a[lane])


@inner
def converted(
    dtype: int, to: int, rounding: int, scale: float, floats: Floats, ints: Ints, count: int
) -> None:
    """Turn `count` loaded numbers into those of the other type: in place, or from one array to the other."""
    if is_float(dtype) and not is_float(to):
        floats_to_ints(rounding, to, floats, ints, count)
    elif not is_float(dtype) and is_float(to):
        ints_to_floats(np.float32(scale), ints, floats, count)
    elif not is_float(to):
        saturate(to, ints, count)
    if is_float(to) and to != FP32 and rounding not in (NEAREST, EVEN):
        _round_halves(to, rounding, floats, count)


@inner
def convert(memory: Memory, work: Work, rounding: int, scale: float) -> None:
    """Convert from `work.dtype` to `work.to`, one repeat or many at a time."""
    dtype, to, shape, mask = work.dtype, work.to, shape_of(work), (work.mask_lo, work.mask_hi)
    dst, src, group = dst_rows(work, memory), src0_rows(work, memory), 1
    is_apart = are_apart(
        dst.start, span_bytes(dst, shape.to_blocks), src.start, span_bytes(src, shape.blocks)
    )
    if is_apart and shape.numbers == shape.to_blocks * BLOCK_BYTES // item_bytes(to):
        group = GROUP
    floats, ints = np.empty(SCRATCH, dtype=np.float32), np.empty(SCRATCH, dtype=np.int64)
    for repeat in range(0, work.repeat, group):
        n = min(group, work.repeat - repeat)
        count, out, source = n * shape.numbers, part(dst, repeat, n), part(src, repeat, n)
        if is_float(dtype):
            load_floats(memory, dtype, source, shape.blocks, floats)
        else:
            load_ints(memory, dtype, source, shape.blocks, ints)
        converted(dtype, to, rounding, scale, floats, ints, count)
        if is_float(to):
            store_floats(memory, to, out, shape.lanes, mask, floats)
        else:
            store_ints(memory, to, out, shape.lanes, mask, ints)


@instruction(Pipe.V, ("fp16", "fp32", "int32", "int8", "uint8", "int16", "bf16"))
class vconv(Declaration):
    """dst = src converted to the type with code `to`; integers saturate, a NaN becomes the integer 0.

    `rounding`: 0 and 1 (r) to nearest even, 2 (a) to nearest and ties away from zero, 3 (f) down, 4 (c) up,
    5 (z) towards zero, 6 (o) to odd: cut off, then the lowest bit set if that lost anything. Integers that
    become floating-point numbers are multiplied by `scale` (the dequantisation of int32 to fp16, "deq").
    A repeat has as many lanes as fit 256 bytes of the wider type.

    Model: pairs of types and roundings that a platform lacks convert, too, at the cost of the others.
    Source: conversions in the vendor's intrinsic lists (f322f16, f322f16o, f162s8a, f162s32z, deq ...).
    """

    dst = Out(Space.UB)
    src = In(Space.UB)
    mask = Mask()
    to = Size(7)
    repeat = Size(255, low=1)
    dst_blk = Size(65535, default=1)
    src_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    src_rep = Size(255, default=8)
    rounding = Size(6, default=0)
    scale = Immediate(1.0)

    def cycles(i: Any, costs: Costs) -> int:
        """Count the repeats."""
        return work_time(unary_work(i, i.to), unit_of(costs.vector_cycles[i.opcode, i.dtype], costs))

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return the bytes written and read."""
        found = work_regions(unary_work(i, i.to), False)
        return found[0], found[1], found[3], found[4]

    def execute(i: Any, memory: Memory) -> None:
        """Convert the lanes of the mask."""
        convert(memory, unary_work(i, i.to), i.rounding, np.float64(i.scale))
