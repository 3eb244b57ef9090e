"""The vector unit: lane-wise instructions on UB, 256 bytes a repeat.

Every instruction works on `repeat` repeats of eight blocks of 32 bytes. `*_blk` is the distance between the
blocks of a repeat, `*_rep` between repeats, both in blocks; only lanes of the mask are written. Repeats are
executed in order, so that a destination that is also a source accumulates.

Cycles: a fixed part per instruction and the platform's cycles per repeat for the instruction and its type.
Sources: parameters and limits from the Ascend C guide (data block, repeat, mask); the cycles per repeat are
figures of each platform.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.fields import Declaration, Immediate, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanes import (
    BLOCK_BYTES,
    GROUP,
    REPEAT_BYTES,
    Floats,
    Ints,
    Rows,
    block_count,
    highest_lane,
    is_float,
    item_bytes,
    lanes_region,
    load_floats,
    load_ints,
    may_group,
    part,
    store_floats,
    store_ints,
)
from davinci_sim.isa.machine import Costs, Memory, at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region
from davinci_sim.memory.spaces import Space

FLOATS = ("fp16", "fp32")
NUMBERS = ("fp16", "fp32", "int32")
BITS = ("int16", "uint16")
(ADD, SUB, MUL, DIV, MAX, MIN, AND, OR) = range(8)
(EXP, LN, REC, RSQRT, SQRT, ABS, RELU, NOT) = range(8)
(ADDS, MULS) = range(2)


@inner
def vector_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats; short instructions hold the unit for a least time."""
    return int(max(costs.vector_min_cycles, i.repeat * costs.vector_cycles[i.opcode, i.dtype]))


@inner
def _binary_lanes(op: int, a: Floats, b: Floats, out: Floats, n: int) -> None:
    """Fill out[:n] with `a op b`."""
    if op == ADD:
        for lane in range(n):
            out[lane] = a[lane] + b[lane]
    elif op == SUB:
        for lane in range(n):
            out[lane] = a[lane] - b[lane]
    elif op == MUL:
        for lane in range(n):
            out[lane] = a[lane] * b[lane]
    elif op == DIV:
        for lane in range(n):
            out[lane] = a[lane] / b[lane]
    elif op == MAX:
        for lane in range(n):
            out[lane] = a[lane] if a[lane] > b[lane] or np.isnan(a[lane]) else b[lane]
    else:
        for lane in range(n):
            out[lane] = a[lane] if a[lane] < b[lane] or np.isnan(a[lane]) else b[lane]


@inner
def _binary_ints(op: int, a: Ints, b: Ints, out: Ints, n: int) -> None:
    """Fill out[:n] with `a op b`; what does not fit the element type is cut off when it is stored."""
    if op == ADD:
        for lane in range(n):
            out[lane] = a[lane] + b[lane]
    elif op == SUB:
        for lane in range(n):
            out[lane] = a[lane] - b[lane]
    elif op == MUL:
        for lane in range(n):
            out[lane] = a[lane] * b[lane]
    elif op == MAX:
        for lane in range(n):
            out[lane] = max(a[lane], b[lane])
    elif op == MIN:
        for lane in range(n):
            out[lane] = min(a[lane], b[lane])
    elif op == AND:
        for lane in range(n):
            out[lane] = a[lane] & b[lane]
    else:
        for lane in range(n):
            out[lane] = a[lane] | b[lane]


@inner
def _binary(i: Any, memory: Memory, op: int) -> None:
    """Execute a two-source instruction, one repeat or many at a time."""
    dst = Rows(at(memory, i.dst), i.dst_blk, i.dst_rep, i.repeat)
    left = Rows(at(memory, i.src0), i.src0_blk, i.src0_rep, i.repeat)
    right = Rows(at(memory, i.src1), i.src1_blk, i.src1_rep, i.repeat)
    size, mask, group = item_bytes(i.dtype), (i.mask_lo, i.mask_hi), 1
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    blocks = block_count(lanes, size)
    if may_group(dst, left, blocks) and may_group(dst, right, blocks):
        group = min(GROUP, i.repeat)
    if is_float(i.dtype):
        a, b = np.empty(group * 128, dtype=np.float32), np.empty(group * 128, dtype=np.float32)
        for repeat in range(0, i.repeat, group):
            n = min(group, i.repeat - repeat)
            load_floats(memory, i.dtype, part(left, repeat, n), blocks, a)
            load_floats(memory, i.dtype, part(right, repeat, n), blocks, b)
            _binary_lanes(op, a, b, a, n * blocks * BLOCK_BYTES // size)
            store_floats(memory, i.dtype, part(dst, repeat, n), lanes, mask, a)
    else:
        x, y = np.empty(group * 128, dtype=np.int64), np.empty(group * 128, dtype=np.int64)
        for repeat in range(0, i.repeat, group):
            n = min(group, i.repeat - repeat)
            load_ints(memory, i.dtype, part(left, repeat, n), blocks, x)
            load_ints(memory, i.dtype, part(right, repeat, n), blocks, y)
            _binary_ints(op, x, y, x, n * blocks * BLOCK_BYTES // size)
            store_ints(memory, i.dtype, part(dst, repeat, n), lanes, mask, x)


@inner
def _binary_accesses(i: Any) -> tuple[Region, Region, Region]:
    """Return the blocks written and read."""
    size = item_bytes(i.dtype)
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    return (
        lanes_region(1, i.dst, lanes, size, i.dst_blk, i.dst_rep, i.repeat),
        lanes_region(0, i.src0, lanes, size, i.src0_blk, i.src0_rep, i.repeat),
        lanes_region(0, i.src1, lanes, size, i.src1_blk, i.src1_rep, i.repeat),
    )


class Binary(Declaration):
    """Operands of the two-source instructions."""

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    dst_blk = Size(255, default=1)
    src0_blk = Size(255, default=1)
    src1_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    src0_rep = Size(255, default=8)
    src1_rep = Size(255, default=8)
    cycles = vector_cycles
    accesses: ClassVar[Callable[..., Any]] = _binary_accesses
    execute: ClassVar[Callable[..., Any]] = _binary


@instruction(Pipe.V, NUMBERS)
class vadd(Binary):
    """dst = src0 + src1."""

    variant = ADD


@instruction(Pipe.V, NUMBERS)
class vsub(Binary):
    """dst = src0 - src1."""

    variant = SUB


@instruction(Pipe.V, NUMBERS)
class vmul(Binary):
    """dst = src0 * src1."""

    variant = MUL


@instruction(Pipe.V, FLOATS)
class vdiv(Binary):
    """dst = src0 / src1, correctly rounded (the real unit's rounding is not published)."""

    variant = DIV


@instruction(Pipe.V, NUMBERS)
class vmax(Binary):
    """dst = the larger of src0 and src1; a NaN wins."""

    variant = MAX


@instruction(Pipe.V, NUMBERS)
class vmin(Binary):
    """dst = the smaller of src0 and src1; a NaN wins."""

    variant = MIN


@instruction(Pipe.V, BITS)
class vand(Binary):
    """dst = src0 & src1, bit by bit."""

    variant = AND


@instruction(Pipe.V, BITS)
class vor(Binary):
    """dst = src0 | src1, bit by bit; with src0 = src1 it copies, and may repeat blocks (stride 0)."""

    variant = OR


@inner
def _unary_lanes(op: int, a: Floats, out: Floats, n: int) -> None:
    """Fill out[:n] with `op(a)`; transcendentals are computed in float64 and rounded once."""
    if op == ABS:
        for lane in range(n):
            out[lane] = abs(a[lane])
    elif op == RELU:
        for lane in range(n):
            out[lane] = a[lane] if a[lane] > 0 or np.isnan(a[lane]) else np.float32(0.0)
    elif op == REC:
        for lane in range(n):
            out[lane] = np.float32(1.0) / a[lane]
    else:
        for lane in range(n):
            x = np.float64(a[lane])
            if op == EXP:
                out[lane] = np.exp(x)
            elif op == LN:
                out[lane] = np.log(x)
            elif op == SQRT:
                out[lane] = np.sqrt(x)
            else:
                out[lane] = 1.0 / np.sqrt(x)


@inner
def _unary(i: Any, memory: Memory, op: int) -> None:
    """Execute a one-source floating-point instruction, one repeat or many at a time."""
    dst = Rows(at(memory, i.dst), i.dst_blk, i.dst_rep, i.repeat)
    src = Rows(at(memory, i.src), i.src_blk, i.src_rep, i.repeat)
    size, mask, group = item_bytes(i.dtype), (i.mask_lo, i.mask_hi), 1
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    blocks = block_count(lanes, size)
    if may_group(dst, src, blocks):
        group = min(GROUP, i.repeat)
    a = np.empty(group * 128, dtype=np.float32)
    for repeat in range(0, i.repeat, group):
        n = min(group, i.repeat - repeat)
        load_floats(memory, i.dtype, part(src, repeat, n), blocks, a)
        _unary_lanes(op, a, a, n * blocks * BLOCK_BYTES // size)
        store_floats(memory, i.dtype, part(dst, repeat, n), lanes, mask, a)


@inner
def _unary_accesses(i: Any) -> tuple[Region, Region]:
    """Return the blocks written and read."""
    size = item_bytes(i.dtype)
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    return (
        lanes_region(1, i.dst, lanes, size, i.dst_blk, i.dst_rep, i.repeat),
        lanes_region(0, i.src, lanes, size, i.src_blk, i.src_rep, i.repeat),
    )


class Unary(Declaration):
    """Operands of the one-source instructions."""

    dst = Out(Space.UB)
    src = In(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    dst_blk = Size(255, default=1)
    src_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    src_rep = Size(255, default=8)
    cycles = vector_cycles
    accesses = _unary_accesses
    execute: ClassVar[Callable[..., Any]] = _unary


@instruction(Pipe.V, FLOATS)
class vexp(Unary):
    """dst = e ** src, correctly rounded (the real unit's error is not published)."""

    variant = EXP


@instruction(Pipe.V, FLOATS)
class vln(Unary):
    """dst = natural logarithm of src, correctly rounded (the real unit's error is not published)."""

    variant = LN


@instruction(Pipe.V, FLOATS)
class vrec(Unary):
    """dst = 1 / src, correctly rounded (the real unit approximates; its error is not published)."""

    variant = REC


@instruction(Pipe.V, FLOATS)
class vrsqrt(Unary):
    """dst = 1 / sqrt(src), rounded once (the real unit approximates; its error is not published)."""

    variant = RSQRT


@instruction(Pipe.V, FLOATS)
class vsqrt(Unary):
    """dst = sqrt(src)."""

    variant = SQRT


@instruction(Pipe.V, FLOATS)
class vabs(Unary):
    """dst = |src|."""

    variant = ABS


@instruction(Pipe.V, FLOATS)
class vrelu(Unary):
    """dst = max(src, 0); a NaN stays one.

    Model: fp32 runs as one instruction here; the first generation's list names fp16 only and compilers
    build the other from a maximum with zeros at the same cost.
    """

    variant = RELU


@instruction(Pipe.V, BITS)
class vnot(Unary):
    """dst = ~src, bit by bit."""

    def execute(i: Any, memory: Memory) -> None:
        """Invert the lanes of the mask."""
        dst = Rows(at(memory, i.dst), i.dst_blk, i.dst_rep, i.repeat)
        src = Rows(at(memory, i.src), i.src_blk, i.src_rep, i.repeat)
        a = np.empty(128, dtype=np.int64)
        for repeat in range(i.repeat):
            load_ints(memory, i.dtype, part(src, repeat, 1), 8, a)
            for lane in range(128):
                a[lane] = ~a[lane]
            store_ints(memory, i.dtype, part(dst, repeat, 1), 128, (i.mask_lo, i.mask_hi), a)


@inner
def _scalar_lanes(op: int, value: np.float32, a: Floats, n: int) -> None:
    """Replace a[:n] by `a op value`."""
    if op == ADDS:
        for lane in range(n):
            a[lane] += value
    else:
        for lane in range(n):
            a[lane] *= value


@inner
def _with_scalar(i: Any, memory: Memory, op: int) -> None:
    """Execute an instruction with one constant, one repeat or many at a time."""
    dst = Rows(at(memory, i.dst), i.dst_blk, i.dst_rep, i.repeat)
    src = Rows(at(memory, i.src), i.src_blk, i.src_rep, i.repeat)
    size, mask, group = item_bytes(i.dtype), (i.mask_lo, i.mask_hi), 1
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    blocks = block_count(lanes, size)
    if may_group(dst, src, blocks):
        group = min(GROUP, i.repeat)
    a = np.empty(group * 128, dtype=np.float32)
    for repeat in range(0, i.repeat, group):
        n = min(group, i.repeat - repeat)
        load_floats(memory, i.dtype, part(src, repeat, n), blocks, a)
        _scalar_lanes(op, i.value, a, n * blocks * BLOCK_BYTES // size)
        store_floats(memory, i.dtype, part(dst, repeat, n), lanes, mask, a)


class WithScalar(Unary):
    """Operands of the instructions with one constant."""

    value = Immediate()
    execute = _with_scalar


@instruction(Pipe.V, FLOATS)
class vadds(WithScalar):
    """dst = src + value."""

    variant = ADDS


@instruction(Pipe.V, FLOATS)
class vmuls(WithScalar):
    """dst = src * value."""

    variant = MULS
