"""The memory transfer engines: moves between spaces, with what happens to numbers on the way."""

from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.bus import GM, atomic_bytes, bus_bytes, is_gm
from davinci_sim.isa.fields import (
    BF16,
    FP16,
    FP32,
    INT8,
    INT16,
    INT32,
    UINT8,
    UINT16,
    Declaration,
    Flag,
    Immediate,
    In,
    Out,
    Size,
)
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory, Transfer, at, ceil_div, copy
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.products import bf16_value
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN, Region, rows
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space

BLOCK_BYTES, FRACTAL_BYTES = 32, 512
NUMBERS = 256
"""A fractal of L0C holds 16 x 16 numbers, of four bytes or of two."""
_L1, _L0A, _L0B, _L0C, _UB = (int(s) for s in (Space.L1, Space.L0A, Space.L0B, Space.L0C, Space.UB))
MOVES = {
    (GM, _L1): Pipe.MTE2,
    (GM, _UB): Pipe.MTE2,
    (_UB, GM): Pipe.MTE3,
    (_UB, _L1): Pipe.MTE3,
    (_L1, _UB): Pipe.MTE1,
    (_UB, _UB): Pipe.V,
}
FILLS = {(_L1, _L1): Pipe.MTE2, (_L0A, _L0A): Pipe.MTE1, (_L0B, _L0B): Pipe.MTE1}


@inner
def _transfer(i: Any, costs: Costs) -> Transfer:
    """Return the runs in GM of a move from or to it."""
    run = i.burst_len * BLOCK_BYTES
    address, stride, is_write = 0, run, 0
    if is_gm(i.src):
        address, stride = i.src & ADDRESS_MASK, run + i.src_gap * BLOCK_BYTES
    elif is_gm(i.dst):
        address, stride, is_write = i.dst & ADDRESS_MASK, run + i.dst_gap * BLOCK_BYTES, 1
    else:
        return Transfer(0, 0, 0, 0, 0, 0)
    size = bus_bytes(address, i.nburst, i.burst_len, stride, costs)
    if i.atomic:
        size = atomic_bytes(size, costs)
    return Transfer(address, run, i.nburst, stride, size, is_write)


@inner
def _sum_of(memory: Memory, dtype: int, to: int, start: int) -> int:
    """Return the bits of gm[to] + local[start], rounded to nearest even; integers wrap."""
    if dtype == FP32:
        there = memory.gm[to : to + 4].view(np.float32)[0]
        more = memory.local[start : start + 4].view(np.float32)[0]
        return int(np.float32(there + more).view(np.int32))
    bits = np.int64(0)
    added = np.int64(0)
    for byte in range(4 if dtype == INT32 else 1 if dtype == INT8 else 2):
        bits |= np.int64(memory.gm[to + byte]) << (8 * byte)
        added |= np.int64(memory.local[start + byte]) << (8 * byte)
    if dtype == FP16:
        return int(narrow(widen(np.uint16(bits)) + widen(np.uint16(added))))
    if dtype == BF16:
        exact = np.int64(np.float32(bf16_value(bits) + bf16_value(added)).view(np.int32)) & 0xFFFFFFFF
        if exact & 0x7FFFFFFF > 0x7F800000:
            return int(exact >> 16) | 64  # a quiet NaN stays one
        return int((exact + 0x7FFF + ((exact >> 16) & 1)) >> 16)
    return int(bits + added)


@inner
def add_run(memory: Memory, dtype: int, to: int, start: int, run: int) -> None:
    """Add `run` bytes of numbers in local memory to those in GM; addresses in GM may be any byte."""
    width = 4 if dtype in (FP32, INT32) else 1 if dtype == INT8 else 2
    for index in range(0, run, width):
        total = _sum_of(memory, dtype, to + index, start + index)
        for byte in range(width):
            memory.gm[to + index + byte] = (total >> (8 * byte)) & 255


@instruction(MOVES, ("uint8", "fp32", "fp16", "int16", "int32", "int8", "bf16"), default_dtype="uint8")
class data_move(Declaration):
    """Move `nburst` runs of `burst_len` blocks of 32 bytes; gaps between runs are in blocks, too.

    The pipe follows from the spaces: GM to L1 or UB is MTE2, UB to GM or L1 is MTE3, L1 to UB is MTE1,
    UB to UB is the vector unit. Addresses in GM are byte-aligned, others 32-byte aligned.
    With `atomic` = 1 a move to GM adds its numbers, of the given type, to those that are there; other moves
    carry bytes, and their type means nothing. GM to L0A or L0B is load2d.

    Model: a move inside the core takes its bytes over the width of the path. A transfer from or to GM takes
    at least a head and its bytes over the core's path, and no less than its share of L2 and HBM takes (the
    chip's part of the model); each burst is cut into packets of 8, 4, 3, 2 or 1 blocks that each fill an
    8-block slot, and a burst that begins beside a 512-byte boundary gets 70 % of the bandwidth. Atomic
    addition gets half of it; its order among cores is that of the moves here, and not guaranteed on the chip.
    Sums of integers wrap (nothing is published); chips differ in the types that they add (the first: fp32).
    Source: path widths from the vendor's platform configuration (memory rates); packets, slots and head from
    the tiling cycle model in the vendor's operator library for the first generation; alignment and atomic
    types from the Ascend C guide (DataCopy, SetAtomicAdd); atomic rate: GEMM tiling of the vendor's compiler.
    """

    dst = Out(Space.GM, Space.L1, Space.UB)
    src = In(Space.GM, Space.L1, Space.UB)
    nburst = Size(4095, low=1)
    burst_len = Size(65535, low=1)
    src_gap = Size(65535, default=0)
    dst_gap = Size(65535, default=0)
    atomic = Flag()
    refuse: ClassVar[dict[str, str]] = {
        f"atomic and dst >> SPACE_SHIFT != {GM}": "atomic = 1 adds in GM; dst must live there",
        f"atomic and dtype == {UINT8}": (
            "atomic = 1 takes the type of the numbers: fp32, fp16, bf16, int32, int16, int8"
        ),
    }

    def cycles(i: Any, costs: Costs) -> int:
        """Count a move inside the core, or the least time of one from or to GM."""
        if is_gm(i.src):
            into_ub = i.dst >> SPACE_SHIFT == _UB
            rate = costs.gm_to_ub_bytes_per_cycle if into_ub else costs.gm_to_l1_bytes_per_cycle
            head = costs.gm_to_ub_head_cycles if into_ub else costs.gm_to_l1_head_cycles
            return head + ceil_div(_transfer(i, costs).bus_bytes, rate)
        if is_gm(i.dst):
            size = _transfer(i, costs).bus_bytes
            return costs.gm_write_head_cycles + ceil_div(size, costs.ub_to_gm_bytes_per_cycle)
        rate = costs.ub_to_ub_bytes_per_cycle
        if i.src >> SPACE_SHIFT == _L1:
            rate = costs.l1_to_ub_bytes_per_cycle
        elif i.dst >> SPACE_SHIFT == _L1:
            rate = costs.ub_to_l1_bytes_per_cycle
        return ceil_div(i.nburst * i.burst_len * BLOCK_BYTES, rate)

    transfer = _transfer

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return the runs written and read; an atomic move reads what it adds to, ordered by the memory."""
        run = i.burst_len * BLOCK_BYTES
        step = run + i.dst_gap * BLOCK_BYTES
        return (
            rows(WRITTEN, i.dst, run, i.nburst, step),
            rows(READ, i.src, run, i.nburst, run + i.src_gap * BLOCK_BYTES),
            rows(FORWARDED, i.dst, run if i.atomic else 0, i.nburst, step),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy the runs in order, or add them."""
        run = i.burst_len * BLOCK_BYTES
        source = memory.gm if is_gm(i.src) else memory.local
        target = memory.gm if is_gm(i.dst) else memory.local
        start = (i.src & ADDRESS_MASK) if is_gm(i.src) else at(memory, i.src)
        end = (i.dst & ADDRESS_MASK) if is_gm(i.dst) else at(memory, i.dst)
        for burst in range(i.nburst):
            s = start + burst * (run + i.src_gap * BLOCK_BYTES)
            d = end + burst * (run + i.dst_gap * BLOCK_BYTES)
            if i.atomic:
                add_run(memory, i.dtype, d, s, run)
            else:
                copy(target, d, source, s, run)


@inner
def _accumulator_bytes(dtype: int) -> int:
    """Return the bytes of a fractal of 16 x 16 accumulators."""
    return NUMBERS * (2 if dtype == FP16 else 4)


@inner
def _leave(i: Any, memory: Memory, to: int, start: int, count: int) -> None:
    """Convert `count` numbers on their way; `to` and `start` count numbers of the target and source type."""
    out, first = np.uint64(to), np.uint64(start)
    for index in range(np.uint64(count)):
        if i.dtype == INT32:
            whole = memory.i32[first + index]
            if i.relu and whole < 0:
                whole = np.int32(0)
            if i.to_fp16:
                memory.u16[out + index] = narrow(np.float32(np.float32(whole) * i.scale))
            else:
                memory.i32[out + index] = whole
            continue
        value = widen(memory.u16[first + index]) if i.dtype == FP16 else memory.f32[first + index]
        if i.relu and value < np.float32(0):
            value = np.float32(0)
        if i.dtype == FP16 and not i.to_fp16:
            memory.u16[out + index] = narrow(value)
        elif i.dtype == FP16:
            memory.u16[out + index] = narrow(np.float32(value * i.scale))
        elif i.to_fp16:
            memory.u16[out + index] = narrow(value)
        else:
            memory.f32[out + index] = value


@instruction(Pipe.V, ("fp32", "int32", "fp16"), default_dtype="fp32")
class l0c_to_ub(Declaration):
    """Move accumulator fractals of 16 x 16 numbers of the given type from L0C to UB, converted on the way.

    Runs of `burst_len` fractals; `src_gap` counts fractals, `dst_gap` blocks of 32 bytes.
    `to_fp16` = 1 turns fp32 into fp16, and int32 and fp16 into fp16 times `scale` (dequantisation);
    `relu` = 1 turns what is negative into zero, before that.

    Model: passes through the vector unit at the width of the path, counted in accumulator bytes. The product
    with the scale is rounded to fp32, then to fp16. Scales per channel and results of 8 and 16 bits are left
    out.
    Source: platform configuration (l0_c_to_ub rate); vector unit as the way: architecture page of the coupled
    cores; conversions: Ascend C enhanced DataCopy (CO1 to CO2) and its modes on the first generation.
    """

    dst = Out(Space.UB)
    src = In(Space.L0C, align=512)
    nburst = Size(4095, low=1)
    burst_len = Size(65535, low=1)
    src_gap = Size(65535, default=0)
    dst_gap = Size(65535, default=0)
    to_fp16 = Flag()
    relu = Flag()
    scale = Immediate(default=1.0)
    refuse: ClassVar[dict[str, str]] = {
        f"dtype != {FP16} and src & 1023": (
            "src must be aligned to 1024 bytes, a fractal of four-byte accumulators"
        ),
        f"scale != 1.0 and (dtype == {FP32} or not to_fp16)": (
            "a scale goes with to_fp16 = 1 of int32 or fp16"
        ),
    }

    def cycles(i: Any, costs: Costs) -> int:
        """Count the accumulator bytes over the path's width."""
        size = i.nburst * i.burst_len * _accumulator_bytes(i.dtype)
        return ceil_div(size, costs.l0c_to_ub_bytes_per_cycle)

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the runs written and read."""
        fractal = _accumulator_bytes(i.dtype)
        run = i.burst_len * fractal
        out = i.burst_len * NUMBERS * 2 if i.to_fp16 else run
        return (
            rows(WRITTEN, i.dst, out, i.nburst, out + i.dst_gap * BLOCK_BYTES),
            rows(READ, i.src, run, i.nburst, run + i.src_gap * fractal),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy or convert the runs in order."""
        numbers = i.burst_len * NUMBERS
        is_half = i.dtype == FP16
        size = 2 if is_half or i.to_fp16 else 4
        for burst in range(i.nburst):
            s = at(memory, i.src) // (2 if is_half else 4) + burst * (i.burst_len + i.src_gap) * NUMBERS
            d = at(memory, i.dst) // size + burst * (numbers + i.dst_gap * BLOCK_BYTES // size)
            if i.dtype == FP32 and i.to_fp16 and not i.relu:
                to, first = np.uint64(d), np.uint64(s)
                for index in range(np.uint64(numbers)):
                    memory.u16[to + index] = narrow(memory.f32[first + index])
            elif not i.to_fp16 and not i.relu and not is_half:
                copy(memory.i32, d, memory.i32, s, numbers)
            else:
                _leave(i, memory, d, s, numbers)


@instruction(Pipe.V, ("fp32", "int32", "fp16"), default_dtype="fp32")
class broadcast_ub_to_l0c(Declaration):
    """Fill accumulator fractals: each row of 16 numbers in UB becomes a fractal of 16 such rows in L0C.

    `nburst` runs of `burst_len` rows, and as many fractals; `src_gap` counts blocks of 32 bytes in UB,
    `dst_gap` fractals in L0C.

    Model: the accumulator bytes over the width of the path between L0C and UB; through the vector unit.
    Source: broadcast_ub_to_cc in the vendor's intrinsic list of the first generation; operands: Ascend C
    BroadCastVecToMM reference; the rate is assumed to be that of the opposite direction.
    """

    dst = Out(Space.L0C, align=512)
    src = In(Space.UB)
    nburst = Size(255, low=1)
    burst_len = Size(255, low=1)
    src_gap = Size(255, default=0)
    dst_gap = Size(255, default=0)
    refuse: ClassVar[dict[str, str]] = {
        f"dtype != {FP16} and dst & 1023": (
            "dst must be aligned to 1024 bytes, a fractal of four-byte accumulators"
        ),
    }

    def cycles(i: Any, costs: Costs) -> int:
        """Count the accumulator bytes over the path's width."""
        size = i.nburst * i.burst_len * _accumulator_bytes(i.dtype)
        return ceil_div(size, costs.l0c_to_ub_bytes_per_cycle)

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the fractals written and the rows read."""
        fractal = _accumulator_bytes(i.dtype)
        run, out = i.burst_len * fractal // 16, i.burst_len * fractal
        return (
            rows(WRITTEN, i.dst, out, i.nburst, out + i.dst_gap * fractal),
            rows(READ, i.src, run, i.nburst, run + i.src_gap * BLOCK_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Repeat each row, two bytes at a time."""
        words = _accumulator_bytes(i.dtype) // 32  # in a row
        for burst in range(i.nburst):
            s = at(memory, i.src) // 2 + burst * (i.burst_len * words + i.src_gap * BLOCK_BYTES // 2)
            d = at(memory, i.dst) // 2 + burst * (i.burst_len + i.dst_gap) * words * 16
            for row in range(i.burst_len * 16):
                copy(memory.u16, d + row * words, memory.u16, s + row // 16 * words, words)


@instruction(FILLS, ("fp16", "int16", "uint16"), default_dtype="fp16")
class set_2d(Declaration):
    """Fill `repeat` times 512 bytes of L1, L0A or L0B with one 16-bit number.

    It is carried as float32. L1 is filled by MTE2, L0A and L0B by MTE1.

    Model: the time of a load2d of as many fractals into L0B where that is filled, else into L0A; no figure is
    published for the first generation.
    Source: Ascend C Fill reference (create_cbuf_matrix): on the first generation a number of 512-byte steps
    without gaps, of 16-bit types.
    """

    dst = Out(Space.L1, Space.L0A, Space.L0B)
    repeat = Size(32767, low=1)
    value = Immediate(default=0.0)
    refuse: ClassVar[dict[str, str]] = {
        f"dst >> SPACE_SHIFT != {_L1} and dst & 511": "dst in L0A or L0B must be aligned to 512 bytes",
    }

    def cycles(i: Any, costs: Costs) -> int:
        """Count the bytes at the rate of a load."""
        into_b = i.dst >> SPACE_SHIFT == _L0B
        rate = costs.load2d_l0b_bytes_per_cycle if into_b else costs.load2d_l0a_bytes_per_cycle
        head = costs.load2d_l0b_head_cycles if into_b else costs.load2d_l0a_head_cycles
        return ceil_div(i.repeat * FRACTAL_BYTES, rate) + head

    def accesses(i: Any) -> tuple[Region]:
        """Return the bytes filled."""
        return (rows(WRITTEN, i.dst, i.repeat * FRACTAL_BYTES, 1, 0),)

    def execute(i: Any, memory: Memory) -> None:
        """Write the number."""
        bits = narrow(np.float32(i.value))
        if i.dtype in (INT16, UINT16):
            bits = np.uint16(np.int64(i.value) & 0xFFFF)
        first = np.uint64(at(memory, i.dst) // 2)
        for index in range(np.uint64(i.repeat * FRACTAL_BYTES // 2)):
            memory.u16[first + index] = bits
