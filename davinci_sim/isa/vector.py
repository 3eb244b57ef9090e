"""The vector unit: lane-wise instructions on UB, 256 bytes a repeat.

Every instruction works on `repeat` repeats of eight blocks of 32 bytes. `*_blk` is the distance between the
blocks of a repeat, `*_rep` between repeats, both in blocks; only lanes of the mask are written. Repeats are
executed in order, so that a destination that is also a source accumulates.

Cycles: a fixed part per instruction and the platform's cycles per repeat for the instruction and its type.
Sources: parameters and limits from the Ascend C guide (data block, repeat, mask); the cycles per repeat are
figures of each platform.
"""

import math

import numpy as np

from davinci_sim.isa.fields import FP32, Immediate, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import jit
from davinci_sim.isa.lanes import (
    REPEAT_BYTES,
    highest_lane,
    is_float,
    is_full,
    item_bytes,
    lane_is_on,
    lanes_region,
    load_floats,
    load_int,
    store_floats,
    store_int,
)
from davinci_sim.isa.machine import at
from davinci_sim.isa.pipes import Pipe
from davinci_sim.memory.spaces import Space

FLOATS = ("fp16", "fp32")
NUMBERS = ("fp16", "fp32", "int32")
BITS = ("int16", "uint16")
(ADD, SUB, MUL, DIV, MAX, MIN, AND, OR) = range(8)
(EXP, LN, REC, RSQRT, SQRT, ABS, RELU, NOT) = range(8)
(ADDS, MULS) = range(2)


@jit
def vector_cycles(i, costs):
    """Count the fixed part and the repeats."""
    return costs.vector_head_cycles + i.repeat * costs.vector_cycles[i.opcode, i.dtype]


@jit
def _binary_lanes(op, a, b, out, n):
    """Fill out[:n] float32 with `a op b`."""
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
            out[lane] = a[lane] if a[lane] > b[lane] or a[lane] != a[lane] else b[lane]
    else:
        for lane in range(n):
            out[lane] = a[lane] if a[lane] < b[lane] or a[lane] != a[lane] else b[lane]


@jit
def _binary_int(op, a, b):
    """Return `a op b` of two integers; the caller cuts it to the element type."""
    if op == ADD:
        return a + b
    if op == SUB:
        return a - b
    if op == MUL:
        return a * b
    if op == MAX:
        return max(a, b)
    if op == MIN:
        return min(a, b)
    if op == AND:
        return a & b
    return a | b


@jit
def _binary(i, memory, op):
    """Execute a two-source instruction repeat by repeat."""
    lanes = REPEAT_BYTES // item_bytes(i.dtype)
    d, s0, s1 = at(memory, i.dst), at(memory, i.src0), at(memory, i.src1)
    a, b = np.empty(128, dtype=np.float32), np.empty(128, dtype=np.float32)
    used = highest_lane(i.mask_lo, i.mask_hi, lanes) + 1
    for repeat in range(i.repeat):
        if is_float(i.dtype):
            load_floats(memory, i.dtype, s0 + repeat * i.src0_rep * 32, i.src0_blk, used, a)
            load_floats(memory, i.dtype, s1 + repeat * i.src1_rep * 32, i.src1_blk, used, b)
            _binary_lanes(op, a, b, a, used)
            store_floats(memory, i.dtype, d + repeat * i.dst_rep * 32, i.dst_blk, used, i.mask_lo, i.mask_hi, a)
        else:
            for lane in range(used):
                if lane_is_on(i.mask_lo, i.mask_hi, lane):
                    left = load_int(memory, i.dtype, s0 + repeat * i.src0_rep * 32, i.src0_blk, lane)
                    right = load_int(memory, i.dtype, s1 + repeat * i.src1_rep * 32, i.src1_blk, lane)
                    value = _binary_int(op, left, right)
                    store_int(memory, i.dtype, d + repeat * i.dst_rep * 32, i.dst_blk, lane, value)


@jit
def _binary_accesses(i):
    size = item_bytes(i.dtype)
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    return (
        lanes_region(1, i.dst, lanes, size, i.dst_blk, i.dst_rep, i.repeat),
        lanes_region(0, i.src0, lanes, size, i.src0_blk, i.src0_rep, i.repeat),
        lanes_region(0, i.src1, lanes, size, i.src1_blk, i.src1_rep, i.repeat),
    )


class Binary:
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
    accesses = _binary_accesses
    execute = _binary


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
    """dst = the larger of src0 and src1; a NaN in src0 wins."""

    variant = MAX


@instruction(Pipe.V, NUMBERS)
class vmin(Binary):
    """dst = the smaller of src0 and src1; a NaN in src0 wins."""

    variant = MIN


@instruction(Pipe.V, BITS)
class vand(Binary):
    """dst = src0 & src1, bit by bit."""

    variant = AND


@instruction(Pipe.V, BITS)
class vor(Binary):
    """dst = src0 | src1, bit by bit; with src0 = src1 it copies, and may repeat blocks (stride 0)."""

    variant = OR


@jit
def _unary_lanes(op, a, out, n):
    """Fill out[:n] float32 with `op(a)`; transcendentals are computed in float64 and rounded once."""
    if op == ABS:
        for lane in range(n):
            out[lane] = abs(a[lane])
    elif op == RELU:
        for lane in range(n):
            out[lane] = a[lane] if a[lane] > 0 or a[lane] != a[lane] else np.float32(0.0)
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


@jit
def _unary(i, memory, op):
    """Execute a one-source floating-point instruction repeat by repeat."""
    lanes = REPEAT_BYTES // item_bytes(i.dtype)
    d, s = at(memory, i.dst), at(memory, i.src)
    a = np.empty(128, dtype=np.float32)
    used = highest_lane(i.mask_lo, i.mask_hi, lanes) + 1
    for repeat in range(i.repeat):
        load_floats(memory, i.dtype, s + repeat * i.src_rep * 32, i.src_blk, used, a)
        _unary_lanes(op, a, a, used)
        store_floats(memory, i.dtype, d + repeat * i.dst_rep * 32, i.dst_blk, used, i.mask_lo, i.mask_hi, a)


@jit
def _unary_accesses(i):
    size = item_bytes(i.dtype)
    lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
    return (
        lanes_region(1, i.dst, lanes, size, i.dst_blk, i.dst_rep, i.repeat),
        lanes_region(0, i.src, lanes, size, i.src_blk, i.src_rep, i.repeat),
    )


class Unary:
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
    execute = _unary


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

    def execute(i, memory):
        """Invert the lanes of the mask."""
        for repeat in range(i.repeat):
            d, s = at(memory, i.dst) + repeat * i.dst_rep * 32, at(memory, i.src) + repeat * i.src_rep * 32
            for lane in range(128):
                if lane_is_on(i.mask_lo, i.mask_hi, lane):
                    store_int(memory, i.dtype, d, i.dst_blk, lane, ~load_int(memory, i.dtype, s, i.src_blk, lane))


@jit
def _with_scalar(i, memory, op):
    lanes = REPEAT_BYTES // item_bytes(i.dtype)
    d, s = at(memory, i.dst), at(memory, i.src)
    a = np.empty(128, dtype=np.float32)
    used = highest_lane(i.mask_lo, i.mask_hi, lanes) + 1
    for repeat in range(i.repeat):
        load_floats(memory, i.dtype, s + repeat * i.src_rep * 32, i.src_blk, used, a)
        for lane in range(used):
            a[lane] = a[lane] + i.value if op == ADDS else a[lane] * i.value
        store_floats(memory, i.dtype, d + repeat * i.dst_rep * 32, i.dst_blk, used, i.mask_lo, i.mask_hi, a)


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


@instruction(Pipe.V, ("fp16", "fp32", "int32", "int16", "uint16"))
class vector_dup:
    """dst = value in every lane of the mask."""

    dst = Out(Space.UB)
    mask = Mask()
    repeat = Size(255, low=1)
    dst_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    value = Immediate()
    cycles = vector_cycles

    def accesses(i):
        """Return the blocks written."""
        size = item_bytes(i.dtype)
        lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // size) + 1
        return (lanes_region(1, i.dst, lanes, size, i.dst_blk, i.dst_rep, i.repeat),)

    def execute(i, memory):
        """Fill the lanes."""
        lanes = REPEAT_BYTES // item_bytes(i.dtype)
        a = np.full(128, i.value, dtype=np.float32)
        for repeat in range(i.repeat):
            d = at(memory, i.dst) + repeat * i.dst_rep * 32
            if is_float(i.dtype):
                store_floats(memory, i.dtype, d, i.dst_blk, lanes, i.mask_lo, i.mask_hi, a)
            else:
                for lane in range(lanes):
                    if lane_is_on(i.mask_lo, i.mask_hi, lane):
                        store_int(memory, i.dtype, d, i.dst_blk, lane, np.int64(i.value))


@jit
def _convert_lanes(i, memory, s, d, lanes):
    """Convert one repeat: through float32 where a float takes part, exactly otherwise."""
    values = np.empty(128, dtype=np.float32)
    if is_float(i.dtype) and is_float(i.to):
        load_floats(memory, i.dtype, s, i.src_blk, lanes, values)
        store_floats(memory, i.to, d, i.dst_blk, lanes, i.mask_lo, i.mask_hi, values)
    elif is_float(i.to):
        for lane in range(lanes):
            values[lane] = np.float32(load_int(memory, i.dtype, s, i.src_blk, lane))
        store_floats(memory, i.to, d, i.dst_blk, lanes, i.mask_lo, i.mask_hi, values)
    else:
        load_floats(memory, i.dtype, s, i.src_blk, lanes, values)
        for lane in range(lanes):
            if lane_is_on(i.mask_lo, i.mask_hi, lane):
                store_int(memory, i.to, d, i.dst_blk, lane, _saturated(np.rint(np.float64(values[lane])), i.to))


@jit
def _saturated(value, dtype):
    """Return an integral float as an integer within the range of the element type; NaN gives 0."""
    bits = 8 * item_bytes(dtype)
    low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    if dtype == 4 or dtype == 6:  # unsigned
        low, high = 0.0, 2.0**bits - 1
    if value != value:
        return np.int64(0)
    return np.int64(min(max(value, low), high))


@instruction(Pipe.V, ("fp16", "fp32", "int32", "int8", "uint8"))
class vconv:
    """dst = src converted to the type with code `to`, to nearest even; integers saturate.

    A repeat has as many lanes as fit 256 bytes of the wider type.
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

    def accesses(i):
        """Return the blocks written and read."""
        wider = max(item_bytes(i.dtype), item_bytes(i.to))
        lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // wider if wider > 1 else 128) + 1
        return (
            lanes_region(1, i.dst, lanes, item_bytes(i.to), i.dst_blk, i.dst_rep, i.repeat),
            lanes_region(0, i.src, lanes, item_bytes(i.dtype), i.src_blk, i.src_rep, i.repeat),
        )

    def execute(i, memory):
        """Convert repeat by repeat."""
        wider = max(item_bytes(i.dtype), item_bytes(i.to))
        lanes = highest_lane(i.mask_lo, i.mask_hi, REPEAT_BYTES // wider if wider > 1 else 128) + 1
        for repeat in range(i.repeat):
            s, d = at(memory, i.src) + repeat * i.src_rep * 32, at(memory, i.dst) + repeat * i.dst_rep * 32
            _convert_lanes(i, memory, s, d, lanes)
