"""Vector instructions whose result has another element type than their sources, code `to`."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.arithmetic import ADD_RELU, AXPY, MLA, MUL, SUB_RELU
from davinci_sim.isa.banks import unit_of
from davinci_sim.isa.fields import FP32, Immediate, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.lanewise import binary, binary_reads_dst, unary, work_regions, work_time
from davinci_sim.isa.machine import Costs, Memory
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region
from davinci_sim.isa.vector import Binary, WithScalar, binary_work, unary_work


@inner
def _into_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats."""
    return work_time(binary_work(i, i.to), unit_of(costs.vector_cycles[i.opcode, i.dtype], costs))


@inner
def _into_accesses(i: Any, variant: int) -> tuple[Region, ...]:
    """Return the bytes written and read."""
    return work_regions(binary_work(i, i.to), binary_reads_dst(variant))


@inner
def _into(i: Any, memory: Memory, variant: int) -> None:
    """Execute a two-source instruction with a result of another type."""
    binary(memory, variant, binary_work(i, i.to), np.float64(i.scale))


class Into(Binary):
    """Operands of the two-source instructions with a result of another type; integers saturate."""

    to = Size(7)
    scale = Immediate(1.0)
    cycles: ClassVar[Callable[..., Any]] = _into_cycles
    accesses: ClassVar[Callable[..., Any]] = _into_accesses
    execute: ClassVar[Callable[..., Any]] = _into


@instruction(Pipe.V, ("fp16",))
class vmulconv(Into):
    """dst = src0 * src1 as int8 or uint8 (`to`), to nearest even and saturated.

    Model: the product is not rounded to fp16 on the way.
    """

    variant = MUL


@instruction(Pipe.V, ("fp16", "fp32", "int16"))
class vaddreluconv(Into):
    """dst = max(src0 + src1, 0) of a narrower type: fp32 to fp16, fp16 or int16 to int8 (310P)."""

    variant = ADD_RELU


@instruction(Pipe.V, ("fp16", "fp32", "int16"))
class vsubreluconv(Into):
    """dst = max(src0 - src1, 0) of a narrower type: fp32 to fp16, fp16 or int16 to int8 (310P)."""

    variant = SUB_RELU


@instruction(Pipe.V, ("int32",))
class vadddeqrelu(Into):
    """dst = max(src0 + src1, 0) * scale as fp16 (`to`): dequantises a sum of accumulators.

    Model: the sum is exact, its float32 value is scaled and rounded once; the scale is positive.
    """

    variant = ADD_RELU


@instruction(Pipe.V, ("fp16",))
class vmla_mixed(Into):
    """dst = dst + src0 * src1 with fp16 sources and an fp32 destination (`to`), 64 lanes a repeat.

    Source: form f32f16f16 of vmla in the intrinsic lists.
    """

    variant = MLA


@inner
def _axpy_cycles(i: Any, costs: Costs) -> int:
    """Count the repeats."""
    return work_time(unary_work(i, FP32), unit_of(costs.vector_cycles[i.opcode, i.dtype], costs))


@inner
def _axpy_accesses(i: Any, variant: int) -> tuple[Region, ...]:
    """Return the bytes written and read."""
    found = work_regions(unary_work(i, FP32), variant == AXPY)
    return found[0], found[1], found[3], found[4], found[6], found[7]


@instruction(Pipe.V, ("fp16",))
class vaxpy_mixed(WithScalar):
    """dst = dst + src * value with an fp16 source and an fp32 destination, 64 lanes a repeat.

    Source: form f32f16f16 of vaxpy in the intrinsic lists.
    """

    variant = AXPY
    cycles: ClassVar[Callable[..., Any]] = _axpy_cycles
    accesses: ClassVar[Callable[..., Any]] = _axpy_accesses

    def execute(i: Any, memory: Memory, variant: int) -> None:
        """Add the scaled source."""
        unary(memory, variant, unary_work(i, FP32), np.float64(i.value))
