"""The cube: one 16 x 16 x 16 fractal product per cycle."""

import numpy as np

from davinci_sim.isa.bits import widen
from davinci_sim.isa.fields import INT8, Flag, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import jit
from davinci_sim.isa.machine import at, ceil_div
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import region
from davinci_sim.memory.spaces import Space

FRACTAL_EDGE = 16


@jit
def _widen_b(memory, start, k, n_fractals):
    """Return b[k, n] f32 from ZN fractals (k1, n1, n0, k0) of float16 patterns."""
    b = np.empty((k, n_fractals * 16), dtype=np.float32)
    for row in range(k):
        k1, k0 = row // 16, row % 16
        for column in range(n_fractals * 16):
            n1, n0 = column // 16, column % 16
            b[row, column] = widen(memory.u16[start + ((k1 * n_fractals + n1) * 16 + n0) * 16 + k0])
    return b


@jit
def _multiply_rows(acc, a, b, k, columns):
    """Add a[16, k] @ b[k, columns] to acc[16, columns], over k in order; products of fp16 are exact."""
    whole = k - k % 4
    for row in range(16):
        for step in range(0, whole, 4):
            a0, a1, a2, a3 = a[row, step], a[row, step + 1], a[row, step + 2], a[row, step + 3]
            for c in range(columns):
                value = acc[row, c] + a0 * b[step, c]
                value += a1 * b[step + 1, c]
                value += a2 * b[step + 2, c]
                acc[row, c] = value + a3 * b[step + 3, c]
        for step in range(whole, k):
            for c in range(columns):
                acc[row, c] += a[row, step] * b[step, c]


@jit
def _mmad_fp16(i, memory):
    """Execute an fp16 product with float32 accumulators, one row of fractals at a time."""
    n_fractals, k_fractals = ceil_div(i.n, 16), ceil_div(i.k, 16)
    m_fractals, columns = ceil_div(i.m, 16), n_fractals * 16
    a_start, c_start = at(memory, i.a) // 2, at(memory, i.c) // 4
    b = _widen_b(memory, at(memory, i.b) // 2, i.k, n_fractals)
    a = np.empty((16, i.k), dtype=np.float32)
    acc = np.zeros((16, columns), dtype=np.float32)
    for m1 in range(m_fractals):
        for row in range(16):
            for step in range(i.k):
                where = ((m1 * k_fractals + step // 16) * 16 + row) * 16 + step % 16
                a[row, step] = widen(memory.u16[a_start + where])
        for row in range(16):
            for c in range(columns):
                where = c_start + ((c // 16) * m_fractals * 16 + m1 * 16 + row) * 16 + c % 16
                acc[row, c] = memory.f32[where] if i.accumulate else np.float32(0.0)
        _multiply_rows(acc, a, b, i.k, columns)
        for row in range(16):
            for c in range(columns):
                where = c_start + ((c // 16) * m_fractals * 16 + m1 * 16 + row) * 16 + c % 16
                memory.f32[where] = acc[row, c]


@jit
def _mmad_int8(i, memory):
    """Execute an int8 product with int32 accumulators."""
    n_fractals, k_fractals = ceil_div(i.n, 16), ceil_div(i.k, 32)
    m_fractals = ceil_div(i.m, 16)
    signed = memory.local.view(np.int8)
    a_start, b_start, c_start = at(memory, i.a), at(memory, i.b), at(memory, i.c) // 4
    for row in range(m_fractals * 16):
        for column in range(n_fractals * 16):
            where = c_start + ((column // 16) * m_fractals * 16 + row) * 16 + column % 16
            total = memory.i32[where] if i.accumulate else np.int32(0)
            for step in range(i.k):
                a_at = ((row // 16 * k_fractals + step // 32) * 16 + row % 16) * 32 + step % 32
                b_at = ((step // 32 * n_fractals + column // 16) * 16 + column % 16) * 32 + step % 32
                total += np.int32(signed[a_start + a_at]) * np.int32(signed[b_start + b_at])
            memory.i32[where] = total


@instruction(Pipe.M, ("fp16", "int8"), default_dtype="fp16")
class mmad:
    """Multiply: c[m, n] (+)= a[m, k] @ b[k, n]; fp16 accumulates in fp32, int8 in int32.

    a holds ZZ fractals, b ZN, c NZ; rows of a and columns of b are whole fractals, k is exact.

    Model: one fractal product per cycle after a fixed head; products of one accumulator are added in
    the order of k, the real adder tree's order is not published.
    Source: cube cost model of the vendor's tensor iterator kernel (gen-1): tiles + 15.
    """

    c = Out(Space.L0C, align=1024)
    a = In(Space.L0A, align=512)
    b = In(Space.L0B, align=512)
    m = Size(4095, low=1)
    k = Size(4095, low=1)
    n = Size(4095, low=1)
    accumulate = Flag(default=None)

    def cycles(i, costs):
        """Count the fractal products behind a head."""
        k_edge = costs.cube_k_bytes if i.dtype == INT8 else costs.cube_k_bytes // 2
        return ceil_div(i.m, 16) * ceil_div(i.n, 16) * ceil_div(i.k, k_edge) + costs.mmad_head_cycles

    def accesses(i):
        """Return the fractals of c, a and b."""
        k_edge = 32 if i.dtype == INT8 else 16
        m_fractals, n_fractals, k_fractals = ceil_div(i.m, 16), ceil_div(i.n, 16), ceil_div(i.k, k_edge)
        return (
            region(1, i.c, m_fractals * n_fractals * 1024),
            region(0, i.a, m_fractals * k_fractals * 512),
            region(0, i.b, k_fractals * n_fractals * 512),
        )

    def execute(i, memory):
        """Multiply and add."""
        if i.dtype == INT8:
            _mmad_int8(i, memory)
        else:
            _mmad_fp16(i, memory)
