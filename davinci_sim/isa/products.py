"""The operands of the cube: fractals of every element type, read into plain matrices and written back."""

from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bits import narrow, widen
from davinci_sim.isa.fields import BF16, FP16, INT4, INT8, UINT8
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Memory

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
ROW_BYTES = 32
"""A fractal in L0A, L0B and L1 has 16 rows of 32 bytes: 64, 32, 16 or 8 numbers along k."""


@inner
def k_edge(dtype: int) -> int:
    """Return the numbers along k of one fractal: 32 bytes of them."""
    if dtype == INT4:
        return 64
    if dtype in (INT8, UINT8):
        return 32
    return 16 if dtype in (FP16, BF16) else 8


@inner
def float_b(memory: Memory, dtype: int, start: int, k: int, n_fractals: int) -> Floats:
    """Return b[k, n] from ZN fractals (k1, n1, n0, k0) that begin at byte `start`."""
    b = np.empty((k, n_fractals * 16), dtype=np.float32)
    edge = k_edge(dtype)
    for k1 in range((k + edge - 1) // edge):
        for n1 in range(n_fractals):
            first, column = start + (k1 * n_fractals + n1) * 512, np.uint64(n1 * 16)
            for k0 in range(min(edge, k - k1 * edge)):
                row = np.uint64(k1 * edge + k0)
                if dtype == FP16:
                    at = np.uint64(first // 2 + k0)
                    for n0 in range(np.uint64(16)):
                        b[row, column + n0] = widen(memory.u16[at + n0 * np.uint64(16)])
                elif dtype == BF16:
                    at = np.uint64(first // 2 + k0)
                    for n0 in range(np.uint64(16)):
                        b[row, column + n0] = bf16_value(memory.u16[at + n0 * np.uint64(16)])
                else:
                    at = np.uint64(first // 4 + k0)
                    for n0 in range(np.uint64(16)):
                        b[row, column + n0] = memory.f32[at + n0 * np.uint64(8)]
    return b


@inner
def float_a(memory: Memory, dtype: int, start: int, pitch: int, k: int, a: Floats) -> None:
    """Fill a[rows, k rounded up] from 32-byte rows: row m0 of fractal k1 is at start + k1 * pitch + m0 * 32.

    ZZ fractals lie 512 bytes apart; the one row of a vector lies in a run, 32 bytes apart.
    """
    edge = k_edge(dtype)
    for k1 in range((k + edge - 1) // edge):
        for m0 in range(a.shape[0]):
            first, row, column = start + k1 * pitch + m0 * ROW_BYTES, np.uint64(m0), np.uint64(k1 * edge)
            if dtype == FP16:
                at = np.uint64(first // 2)
                for k0 in range(np.uint64(16)):
                    a[row, column + k0] = widen(memory.u16[at + k0])
            elif dtype == BF16:
                at = np.uint64(first // 2)
                for k0 in range(np.uint64(16)):
                    a[row, column + k0] = bf16_value(memory.u16[at + k0])
            else:
                at = np.uint64(first // 4)
                for k0 in range(np.uint64(8)):
                    a[row, column + k0] = memory.f32[at + k0]


@inner
def bf16_value(bits: Any) -> Any:
    """Return the float32 whose upper half is a bfloat16 pattern (exact)."""
    return np.int32(np.int64(bits) << 16).view(np.float32)


@inner
def integer_at(memory: Memory, dtype: int, row: int, lane: int) -> int:
    """Return number `lane` of a row that begins at byte `row`; the low half of two int4 is first."""
    if dtype == INT4:
        half = (np.int32(memory.local[np.uint64(row + (lane >> 1))]) >> (4 * (lane & 1))) & 15
        return int(half - ((half & 8) << 1))
    value = np.int32(memory.local[np.uint64(row + lane)])
    return int(value - ((value & 128) << 1) if dtype == INT8 else value)


@inner
def integer_b(memory: Memory, dtype: int, start: int, k: int, n_fractals: int) -> Ints:
    """Return b[k, n] from ZN fractals (k1, n1, n0, k0) that begin at byte `start`."""
    b = np.empty((k, n_fractals * 16), dtype=np.int32)
    edge = k_edge(dtype)
    for k1 in range((k + edge - 1) // edge):
        for n in range(n_fractals * 16):
            row = start + (k1 * n_fractals * 16 + n) * ROW_BYTES
            for k0 in range(min(edge, k - k1 * edge)):
                b[k1 * edge + k0, n] = integer_at(memory, dtype, row, k0)
    return b


@inner
def integer_a(memory: Memory, dtype: int, start: int, pitch: int, k: int, a: Ints) -> None:
    """Fill a[rows, k] from 32-byte rows, which lie as `float_a` says."""
    edge = k_edge(dtype)
    for k1 in range((k + edge - 1) // edge):
        for m0 in range(a.shape[0]):
            row = start + k1 * pitch + m0 * ROW_BYTES
            for k0 in range(min(edge, k - k1 * edge)):
                a[m0, k1 * edge + k0] = integer_at(memory, dtype, row, k0)


@inner
def add_product(acc: Any, a: Any, b: Any, k: int) -> None:
    """Add a[rows, k] @ b[k, columns] to acc[rows, columns], each sum over k in order.

    Two rows and four steps at a time read b half as often; what is left over goes one by one.
    """
    whole, pairs = k - k % 4, acc.shape[0] - acc.shape[0] % 2
    for step in range(0, whole, 4):
        for row in range(0, pairs, 2):
            below = row + 1
            a0, a1, a2, a3 = a[row, step], a[row, step + 1], a[row, step + 2], a[row, step + 3]
            d0, d1, d2, d3 = a[below, step], a[below, step + 1], a[below, step + 2], a[below, step + 3]
            for c in range(acc.shape[1]):
                b0, b1, b2, b3 = b[step, c], b[step + 1, c], b[step + 2, c], b[step + 3, c]
                acc[row, c] = acc[row, c] + a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3
                acc[below, c] = acc[below, c] + d0 * b0 + d1 * b1 + d2 * b2 + d3 * b3
    for row in range(acc.shape[0]):
        for step in range(whole if row < pairs else 0, k):
            for c in range(acc.shape[1]):
                acc[row, c] += a[row, step] * b[step, c]


@inner
def load_floats(memory: Memory, is_half: int, start: int, pitch: int, acc: Floats) -> None:
    """Fill acc[rows, n] from NZ accumulators: fractal n1 begins at number start + n1 * pitch."""
    for n1 in range(acc.shape[1] // 16):
        for m0 in range(acc.shape[0]):
            first, row, column = np.uint64(start + n1 * pitch + m0 * 16), np.uint64(m0), np.uint64(n1 * 16)
            if is_half:
                for n0 in range(np.uint64(16)):
                    acc[row, column + n0] = widen(memory.u16[first + n0])
            else:
                for n0 in range(np.uint64(16)):
                    acc[row, column + n0] = memory.f32[first + n0]


@inner
def store_floats(memory: Memory, is_half: int, start: int, pitch: int, acc: Floats) -> None:
    """Write acc[rows, n] to NZ accumulators, which lie as `load_floats` says."""
    for n1 in range(acc.shape[1] // 16):
        for m0 in range(acc.shape[0]):
            first, row, column = np.uint64(start + n1 * pitch + m0 * 16), np.uint64(m0), np.uint64(n1 * 16)
            if is_half:
                for n0 in range(np.uint64(16)):
                    memory.u16[first + n0] = narrow(acc[row, column + n0])
            else:
                for n0 in range(np.uint64(16)):
                    memory.f32[first + n0] = acc[row, column + n0]


@inner
def store_integers(memory: Memory, is_unsigned: bool, adds: int, start: int, pitch: int, acc: Ints) -> None:
    """Write acc[rows, n] to 32-bit NZ accumulators, added to what is there or not, saturated."""
    low = 0 if is_unsigned else -(1 << 31)
    high = low + 0xFFFFFFFF
    for n1 in range(acc.shape[1] // 16):
        for m0 in range(acc.shape[0]):
            first = start + n1 * pitch + m0 * 16
            for n0 in range(16):
                total = np.int64(acc[m0, n1 * 16 + n0])
                if adds:
                    there = np.int64(memory.i32[first + n0])
                    total += there & 0xFFFFFFFF if is_unsigned else there
                bounded: Any = min(max(total, low), high)
                memory.i32[first + n0] = np.int32(bounded & 0xFFFFFFFF)
