"""The cube: one 16 x 16 x 16 fractal product per cycle."""

from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bits import widen
from davinci_sim.isa.fields import INT8, Declaration, Flag, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory, at, ceil_div
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region, region
from davinci_sim.memory.spaces import Space

Floats = npt.NDArray[np.float32]


@inner
def _widen_b(memory: Memory, start: int, k: int, n_fractals: int) -> Floats:
    """Return b[k, n] from ZN fractals (k1, n1, n0, k0) of float16 patterns."""
    b = np.empty((k, n_fractals * 16), dtype=np.float32)
    for k1 in range((k + 15) // 16):
        for n1 in range(n_fractals):
            first, column = np.uint64(start + (k1 * n_fractals + n1) * 256), np.uint64(n1 * 16)
            for k0 in range(min(16, k - k1 * 16)):
                row, at_k0 = np.uint64(k1 * 16 + k0), first + np.uint64(k0)
                for n0 in range(np.uint64(16)):
                    b[row, column + n0] = widen(memory.u16[at_k0 + n0 * np.uint64(16)])
    return b


@inner
def _widen_a(memory: Memory, start: int, k: int, a: Floats) -> None:
    """Fill a[16, k rounded up] from one row of ZZ fractals (k1, m0, k0) of float16 patterns."""
    for k1 in range((k + 15) // 16):
        for m0 in range(16):
            first, row, column = np.uint64(start + k1 * 256 + m0 * 16), np.uint64(m0), np.uint64(k1 * 16)
            for k0 in range(np.uint64(16)):
                a[row, column + k0] = widen(memory.u16[first + k0])


@inner
def _multiply_rows(acc: Floats, a: Floats, b: Floats, k: int, columns: int) -> None:
    """Add a[16, k] @ b[k, columns] to acc[16, columns], over k in order; products of fp16 are exact."""
    whole = k - k % 8
    for row in range(16):
        for step in range(0, whole, 8):
            a0, a1, a2, a3 = a[row, step], a[row, step + 1], a[row, step + 2], a[row, step + 3]
            a4, a5, a6, a7 = a[row, step + 4], a[row, step + 5], a[row, step + 6], a[row, step + 7]
            for c in range(columns):
                value = acc[row, c] + a0 * b[step, c]
                value += a1 * b[step + 1, c]
                value += a2 * b[step + 2, c]
                value += a3 * b[step + 3, c]
                value += a4 * b[step + 4, c]
                value += a5 * b[step + 5, c]
                value += a6 * b[step + 6, c]
                acc[row, c] = value + a7 * b[step + 7, c]
        for step in range(whole, k):
            for c in range(columns):
                acc[row, c] += a[row, step] * b[step, c]


@inner
def _load_row(memory: Memory, start: int, m1: int, m_fractals: int, n_fractals: int, acc: Floats) -> None:
    """Fill acc[16, n] from row m1 of the NZ fractals (n1, m1, m0, n0)."""
    for n1 in range(n_fractals):
        for m0 in range(16):
            first = np.uint64(start + ((n1 * m_fractals + m1) * 16 + m0) * 16)
            row, column = np.uint64(m0), np.uint64(n1 * 16)
            for n0 in range(np.uint64(16)):
                acc[row, column + n0] = memory.f32[first + n0]


@inner
def _store_row(memory: Memory, start: int, m1: int, m_fractals: int, n_fractals: int, acc: Floats) -> None:
    """Write acc[16, n] to row m1 of the NZ fractals (n1, m1, m0, n0)."""
    for n1 in range(n_fractals):
        for m0 in range(16):
            first = np.uint64(start + ((n1 * m_fractals + m1) * 16 + m0) * 16)
            row, column = np.uint64(m0), np.uint64(n1 * 16)
            for n0 in range(np.uint64(16)):
                memory.f32[first + n0] = acc[row, column + n0]


@inner
def _mmad_fp16(i: Any, memory: Memory) -> None:
    """Execute an fp16 product with float32 accumulators, one row of fractals at a time."""
    n_fractals, k_fractals, m_fractals = ceil_div(i.n, 16), ceil_div(i.k, 16), ceil_div(i.m, 16)
    a_start, c_start = at(memory, i.a) // 2, at(memory, i.c) // 4
    b = _widen_b(memory, at(memory, i.b) // 2, i.k, n_fractals)
    a = np.empty((16, k_fractals * 16), dtype=np.float32)
    acc = np.empty((16, n_fractals * 16), dtype=np.float32)
    for m1 in range(m_fractals):
        _widen_a(memory, a_start + m1 * k_fractals * 256, i.k, a)
        if i.accumulate:
            _load_row(memory, c_start, m1, m_fractals, n_fractals, acc)
        else:
            acc[:] = 0.0
        _multiply_rows(acc, a, b, i.k, n_fractals * 16)
        _store_row(memory, c_start, m1, m_fractals, n_fractals, acc)


@inner
def _mmad_int8(i: Any, memory: Memory) -> None:
    """Execute an int8 product with int32 accumulators."""
    n_fractals, k_fractals = ceil_div(i.n, 16), ceil_div(i.k, 32)
    m_fractals = ceil_div(i.m, 16)
    signed = memory.local.view(np.int8)
    a_start, b_start, c_start = at(memory, i.a), at(memory, i.b), at(memory, i.c) // 4
    for row in range(m_fractals * 16):
        for column in range(n_fractals * 16):
            where = c_start + ((column // 16) * m_fractals * 16 + row) * 16 + column % 16
            total = memory.i32[where] if i.accumulate else np.int32(0)
            for k1 in range(k_fractals):
                a_at = a_start + ((row // 16 * k_fractals + k1) * 16 + row % 16) * 32
                b_at = b_start + ((k1 * n_fractals + column // 16) * 16 + column % 16) * 32
                depth = min(32, i.k - k1 * 32)
                a, b = signed[a_at : a_at + depth], signed[b_at : b_at + depth]
                for k0 in range(depth):
                    total = np.int32(total + np.int32(a[k0]) * np.int32(b[k0]))
            memory.i32[where] = total


@instruction(Pipe.M, ("fp16", "int8"), default_dtype="fp16")
class mmad(Declaration):
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

    def cycles(i: Any, costs: Costs) -> int:
        """Count the fractal products behind a head."""
        m, k, n, each = costs.cube[i.dtype]
        return int(ceil_div(i.m, m) * ceil_div(i.n, n) * ceil_div(i.k, k) * each) + costs.mmad_head_cycles

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the fractals of c, a and b."""
        k_edge = 32 if i.dtype == INT8 else 16
        m_fractals, n_fractals, k_fractals = ceil_div(i.m, 16), ceil_div(i.n, 16), ceil_div(i.k, k_edge)
        return (
            region(1, i.c, m_fractals * n_fractals * 1024),
            region(0, i.a, m_fractals * k_fractals * 512),
            region(0, i.b, k_fractals * n_fractals * 512),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Multiply and add."""
        if i.dtype == INT8:
            _mmad_int8(i, memory)
        else:
            _mmad_fp16(i, memory)
