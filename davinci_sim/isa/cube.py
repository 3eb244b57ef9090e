"""The cube: one fractal product per cycle."""

from typing import Any, ClassVar

import numpy as np

from davinci_sim.isa.fields import FP16, INT4, INT8, UINT8, Declaration, Flag, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory, at, ceil_div
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.products import (
    ROW_BYTES,
    add_product,
    float_a,
    float_b,
    integer_a,
    integer_b,
    k_edge,
    load_floats,
    store_floats,
    store_integers,
)
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN, Region, grid, rows
from davinci_sim.memory.spaces import Space

FRACTAL_BYTES, ACCUMULATOR_BYTES = 512, 1024
ORDERED_FRACTALS = 10
"""So many accumulator fractals are far enough apart in time that the cube orders its next reads itself.

Source: Ascend C Mmad reference: pipe_barrier(M) is required below ten.
"""


@inner
def _multiply_floats(i: Any, memory: Memory) -> None:
    """Multiply floating-point numbers, one row of fractals at a time."""
    n_fractals, k_fractals, m_fractals = ceil_div(i.n, 16), ceil_div(i.k, k_edge(i.dtype)), ceil_div(i.m, 16)
    a_start, c_start, pitch = at(memory, i.a), at(memory, i.c) // (2 if i.to_fp16 else 4), m_fractals * 256
    count, a_pitch = (1, ROW_BYTES) if i.m == 1 else (16, FRACTAL_BYTES)
    b = float_b(memory, i.dtype, at(memory, i.b), i.k, n_fractals)
    a = np.empty((count, k_fractals * k_edge(i.dtype)), dtype=np.float32)
    acc = np.empty((count, n_fractals * 16), dtype=np.float32)
    for m1 in range(m_fractals):
        float_a(memory, i.dtype, a_start + m1 * k_fractals * FRACTAL_BYTES, a_pitch, i.k, a)
        if i.accumulate:
            load_floats(memory, i.to_fp16, c_start + m1 * 256, pitch, acc)
        else:
            acc[:] = 0.0
        add_product(acc, a, b, i.k)
        store_floats(memory, i.to_fp16, c_start + m1 * 256, pitch, acc)


@inner
def _multiply_integers(i: Any, memory: Memory) -> None:
    """Multiply integers, one row of fractals at a time; no sum of one product leaves 32 bits."""
    n_fractals, k_fractals, m_fractals = ceil_div(i.n, 16), ceil_div(i.k, k_edge(i.dtype)), ceil_div(i.m, 16)
    a_start, c_start, pitch = at(memory, i.a), at(memory, i.c) // 4, m_fractals * 256
    count, a_pitch = (1, ROW_BYTES) if i.m == 1 else (16, FRACTAL_BYTES)
    b = integer_b(memory, INT8 if i.b_int8 else i.dtype, at(memory, i.b), i.k, n_fractals)
    a = np.empty((count, i.k), dtype=np.int32)
    acc = np.empty((count, n_fractals * 16), dtype=np.int32)
    is_unsigned = i.dtype == UINT8 and not i.b_int8
    for m1 in range(m_fractals):
        integer_a(memory, i.dtype, a_start + m1 * k_fractals * FRACTAL_BYTES, a_pitch, i.k, a)
        acc[:] = 0
        add_product(acc, a, b, i.k)
        store_integers(memory, is_unsigned, i.accumulate, c_start + m1 * 256, pitch, acc)


@inner
def _bytes_of(numbers: int, dtype: int) -> int:
    """Return the bytes that numbers take in a row of a fractal."""
    return ceil_div(numbers * ROW_BYTES, k_edge(dtype))


@inner
def _accumulators(i: Any, kind: int) -> Region:
    """Return the accumulators: all fractals of c, or of each only the row of a vector."""
    fractal = ACCUMULATOR_BYTES // 2 if i.to_fp16 else ACCUMULATOR_BYTES
    if i.m == 1:
        return rows(kind, i.c, fractal // 16, ceil_div(i.n, 16), fractal)
    return rows(kind, i.c, ceil_div(i.m, 16) * ceil_div(i.n, 16) * fractal, 1, 0)


@instruction(Pipe.M, ("fp16", "fp32", "int8", "uint8", "bf16", "int4"), default_dtype="fp16")
class mmad(Declaration):
    """Multiply: c[m, n] (+)= a[m, k] @ b[k, n]; floating point to fp32 (or fp16), integers to 32 bits.

    a holds ZZ fractals, b ZN, c NZ; a fractal is 16 rows of 32 bytes, one of c 16 x 16 numbers. Rows of a and
    columns of b are whole fractals, k is exact. fp16 accumulates in fp32, or with `to_fp16` in fp16 (c then
    has fractals of 512 bytes); bf16 and fp32 in fp32; int8, int4 and uint8 beside int8 (`b_int8`) in int32;
    uint8 in uint32. Integers saturate. With m = 1 the product is that of a vector: a is one run of k numbers,
    and of each fractal of c only the first row is touched.

    Model: the fractal products, each the platform's cycles of the element type (1; fp32 2 where there is
    one), behind a head; a type that the platform's cube does not take counts as one cycle each. On the first
    generation a product with more than two fractals along k and an odd number of them along m or n meets L0C
    bank conflicts, a cycle for each further one. Sums are taken in the order of k (the real adder tree's
    order is not published); fp16 accumulators are rounded, and integers saturated, once per instruction.
    Source: cube cost model of TIK, the vendor's tensor iterator kernel (gen-1): tiles + 15, + k tiles - 2 on
    a conflict; types, saturation, m = 1 and the barrier below ten accumulator fractals: Ascend C Mmad
    reference; tile of each type: the vendor's platform configuration.
    """

    c = Out(Space.L0C, align=1024)
    a = In(Space.L0A, align=512)
    b = In(Space.L0B, align=512)
    m = Size(4095, low=1)
    k = Size(4095, low=1)
    n = Size(4095, low=1)
    accumulate = Flag(default=None)
    to_fp16 = Flag()
    b_int8 = Flag()
    refuse: ClassVar[dict[str, str]] = {
        f"to_fp16 and dtype != {FP16}": "to_fp16 = 1 takes dtype fp16; other types accumulate in 32 bits",
        f"b_int8 and dtype != {UINT8}": "b_int8 = 1 (an int8 b) goes with dtype uint8, that of a",
    }

    def cycles(i: Any, costs: Costs) -> int:
        """Count the fractal products behind a head, and the bank conflicts of L0C."""
        m, k, n, each = costs.cube[i.dtype]
        if each == 0:
            m, k, n, each = 16, k_edge(i.dtype), 16, 1
        m_tiles, k_tiles, n_tiles = ceil_div(i.m, m), ceil_div(i.k, k), ceil_div(i.n, n)
        conflicts = 0
        if costs.mmad_l0c_conflict and k_tiles > 1 and (m_tiles % 2 == 1 or n_tiles % 2 == 1):
            conflicts = k_tiles - 2
        return int(m_tiles * n_tiles * k_tiles * each + conflicts) + costs.mmad_head_cycles

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return what is written of c and read of a, b and c; of the last fractal along k what k reaches."""
        edge = k_edge(i.dtype)
        whole, rest = i.k // edge, _bytes_of(i.k % edge, i.dtype)
        m_fractals, n_fractals = ceil_div(i.m, 16), ceil_div(i.n, 16)
        a_row, behind = (whole + (1 if rest else 0)) * FRACTAL_BYTES, whole * FRACTAL_BYTES
        old = FORWARDED if m_fractals * n_fractals >= ORDERED_FRACTALS else READ
        a_tail = grid(READ, i.a + behind, rest, 16, ROW_BYTES, m_fractals, a_row)
        if i.m == 1:
            behind, a_tail = _bytes_of(i.k, i.dtype), rows(READ, i.a, 0, 0, 0)
        c_old = _accumulators(i, old)
        if not i.accumulate:
            c_old = rows(old, i.c, 0, 0, 0)
        return (
            _accumulators(i, WRITTEN),
            rows(READ, i.a, behind, m_fractals, a_row),
            rows(READ, i.b, whole * n_fractals * FRACTAL_BYTES, 1, 0),
            a_tail,
            rows(READ, i.b + whole * n_fractals * FRACTAL_BYTES, rest, 16 * n_fractals, ROW_BYTES),
            c_old,
        )

    def execute(i: Any, memory: Memory) -> None:
        """Multiply and add."""
        if i.dtype in (INT4, INT8, UINT8):
            _multiply_integers(i, memory)
        else:
            _multiply_floats(i, memory)
