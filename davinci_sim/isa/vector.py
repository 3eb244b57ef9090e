"""The vector unit: lane-wise instructions on UB, 256 bytes a repeat.

Every instruction works on `repeat` repeats of eight blocks of 32 bytes. `*_blk` is the distance between the
blocks of a repeat, `*_rep` between repeats, both in blocks; only lanes of the mask are written. Repeats are
executed in order, so that a destination that is also a source accumulates. Where element types differ in
width, a repeat has as many lanes as 256 bytes hold of the wider one.

Cycles: those per repeat for the instruction and its type, or what the banks of UB need (see `banks`).
Sources: parameters and limits from the Ascend C guide (data block, repeat, mask; at most 255 repeats, source
block strides and repeat strides, destination block strides up to 65535); the cycles per repeat are figures
of each platform; the instructions and their types from the intrinsic lists in the vendor's platform files.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.arithmetic import (
    ABS,
    ADD,
    ADD_RELU,
    ADDS,
    AND,
    AXPY,
    COPY,
    DIV,
    EXP,
    LN,
    LRELU,
    MADD,
    MADD_RELU,
    MAX,
    MAXS,
    MIN,
    MINS,
    MLA,
    MUL,
    MULS,
    NOT,
    OR,
    REC,
    RELU,
    RSQRT,
    SHL,
    SHR,
    SQRT,
    SUB,
    SUB_RELU,
)
from davinci_sim.isa.banks import unit_of
from davinci_sim.isa.fields import Declaration, Immediate, In, Mask, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanewise import Work, binary, binary_reads_dst, unary, work_regions, work_time
from davinci_sim.isa.machine import Costs, Memory
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region
from davinci_sim.memory.spaces import Space

FLOATS = ("fp16", "fp32")
SIGNED = ("fp16", "fp32", "int16")
NUMBERS = ("fp16", "fp32", "int32", "int16")
BITS = ("int16", "uint16")


@inner
def binary_work(i: Any, to: int) -> Work:
    """Return what a record of two sources says, for results of type `to`."""
    return Work(
        i.dtype, to, i.mask_lo, i.mask_hi, i.repeat, i.dst, i.dst_blk, i.dst_rep,
        2, i.src0, i.src0_blk, i.src0_rep, i.src1, i.src1_blk, i.src1_rep,
    )  # fmt: skip


@inner
def _binary_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats."""
    return work_time(binary_work(i, i.dtype), unit_of(costs.vector_cycles[i.opcode, i.dtype], costs))


@inner
def _binary_accesses(i: Any, variant: int) -> tuple[Region, ...]:
    """Return the bytes written and read."""
    return work_regions(binary_work(i, i.dtype), binary_reads_dst(variant))


@inner
def _binary(i: Any, memory: Memory, variant: int) -> None:
    """Execute a two-source instruction."""
    binary(memory, variant, binary_work(i, i.dtype), 1.0)


class Binary(Declaration):
    """Operands of the two-source instructions."""

    dst = Out(Space.UB)
    src0 = In(Space.UB)
    src1 = In(Space.UB)
    mask = Mask()
    dst_blk = Size(65535, default=1)
    repeat = Size(255, low=1)
    src0_blk = Size(255, default=1)
    src1_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    src0_rep = Size(255, default=8)
    src1_rep = Size(255, default=8)
    cycles: ClassVar[Callable[..., Any]] = _binary_cycles
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


@instruction(Pipe.V, SIGNED)
class vaddrelu(Binary):
    """dst = max(src0 + src1, 0), rounded once (310P and later); a NaN stays one."""

    variant = ADD_RELU


@instruction(Pipe.V, SIGNED)
class vsubrelu(Binary):
    """dst = max(src0 - src1, 0), rounded once (310P and later); a NaN stays one."""

    variant = SUB_RELU


@instruction(Pipe.V, FLOATS)
class vmla(Binary):
    """dst = dst + src0 * src1, product and sum computed in float32; see vmla_mixed for fp16 into fp32."""

    variant = MLA


@instruction(Pipe.V, FLOATS)
class vmadd(Binary):
    """dst = src0 * dst + src1, product and sum computed in float32."""

    variant = MADD


@instruction(Pipe.V, FLOATS)
class vmaddrelu(Binary):
    """dst = max(src0 * dst + src1, 0), product and sum computed in float32; a NaN stays one."""

    variant = MADD_RELU


@inner
def unary_work(i: Any, to: int) -> Work:
    """Return what a record of one source says, for results of type `to`."""
    return Work(
        i.dtype, to, i.mask_lo, i.mask_hi, i.repeat, i.dst, i.dst_blk, i.dst_rep,
        1, i.src, i.src_blk, i.src_rep, i.src, 0, 0,
    )  # fmt: skip


@inner
def _unary_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats."""
    return work_time(unary_work(i, i.dtype), unit_of(costs.vector_cycles[i.opcode, i.dtype], costs))


@inner
def _unary_accesses(i: Any, variant: int) -> tuple[Region, ...]:
    """Return the bytes written and read; only vaxpy reads its destination."""
    found = work_regions(unary_work(i, i.dtype), variant == AXPY)
    return found[0], found[1], found[3], found[4], found[6], found[7]


@inner
def _unary(i: Any, memory: Memory, variant: int) -> None:
    """Execute a one-source instruction."""
    unary(memory, variant, unary_work(i, i.dtype), 0.0)


class Unary(Declaration):
    """Operands of the one-source instructions."""

    dst = Out(Space.UB)
    src = In(Space.UB)
    mask = Mask()
    dst_blk = Size(65535, default=1)
    repeat = Size(255, low=1)
    src_blk = Size(255, default=1)
    dst_rep = Size(255, default=8)
    src_rep = Size(255, default=8)
    cycles: ClassVar[Callable[..., Any]] = _unary_cycles
    accesses: ClassVar[Callable[..., Any]] = _unary_accesses
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


@instruction(Pipe.V, ("fp16", "fp32", "int32"))
class vrelu(Unary):
    """dst = max(src, 0); a NaN stays one.

    Model: fp32 runs as one instruction here; the first generation's list names fp16 only and compilers
    build the other from a maximum with zeros at the same cost. int32 came with 910B.
    """

    variant = RELU


@instruction(Pipe.V, BITS)
class vnot(Unary):
    """dst = ~src, bit by bit."""

    variant = NOT


@instruction(Pipe.V, ("int16", "uint16", "int32"))
class vcopy(Unary):
    """dst = src, bit by bit, with the strides and the mask of a lane-wise instruction (310B and later)."""

    variant = COPY


@inner
def _with_scalar(i: Any, memory: Memory, variant: int) -> None:
    """Execute an instruction with one constant."""
    unary(memory, variant, unary_work(i, i.dtype), np.float64(i.value))


class WithScalar(Unary):
    """Operands of the instructions with one constant; for integers its fraction is cut off."""

    value = Immediate()
    execute = _with_scalar


@instruction(Pipe.V, NUMBERS)
class vadds(WithScalar):
    """dst = src + value (integers: 310P and later)."""

    variant = ADDS


@instruction(Pipe.V, NUMBERS)
class vmuls(WithScalar):
    """dst = src * value (integers: 310P and later)."""

    variant = MULS


@instruction(Pipe.V, NUMBERS)
class vmaxs(WithScalar):
    """dst = the larger of src and value; a NaN wins (310P and later)."""

    variant = MAXS


@instruction(Pipe.V, NUMBERS)
class vmins(WithScalar):
    """dst = the smaller of src and value; a NaN wins (310P and later)."""

    variant = MINS


@instruction(Pipe.V, FLOATS)
class vlrelu(WithScalar):
    """dst = src where it is not negative, src * value elsewhere (310P and later)."""

    variant = LRELU


@instruction(Pipe.V, FLOATS)
class vaxpy(WithScalar):
    """dst = dst + src * value, product and sum computed in float32; see vaxpy_mixed for fp16 into fp32."""

    variant = AXPY


@instruction(Pipe.V, ("int16", "uint16", "int32"))
class vshl(WithScalar):
    """dst = src shifted left by `value` bits, those that do not fit cut off (310B and later)."""

    variant = SHL


@instruction(Pipe.V, ("int16", "uint16", "int32"))
class vshr(WithScalar):
    """dst = src shifted right by `value` bits; of signed types the sign moves in (310B and later)."""

    variant = SHR
