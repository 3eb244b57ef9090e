"""Sixteen-bit floats are bit patterns: every one widens exactly, every float32 is rounded to nearest even."""

from __future__ import annotations

import numpy as np

from davinci_sim.isa import FP16, FP32, vconv
from davinci_sim.memory.spaces import Space

HALF = 64 * 1024  # bytes: where results begin
CHUNK = 8192  # numbers: 128 repeats of 64


def converted(machine, values, to, result):
    """Convert float numbers chunk by chunk, contiguous."""
    dtype = FP16 if values.dtype == np.float16 else FP32
    size, to_size = values.itemsize, np.dtype(result).itemsize
    parts = []
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK]
        machine.view(Space.UB, values.dtype)[: len(part)] = part
        machine.run(
            vconv, dst=machine.handle(Space.UB, HALF), src=machine.handle(Space.UB), to=to, dtype=dtype,
            repeat=len(part) // 64, mask=64, dst_rep=2 * to_size, src_rep=2 * size,
        )  # fmt: skip
        parts.append(machine.view(Space.UB, result)[HALF // to_size : HALF // to_size + len(part)].copy())
    return np.concatenate(parts)


def test_all_65536_half_floats_widen_as_numpy_says(machine):
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    wide = converted(machine, halves, FP32, np.float32)
    numbers = ~np.isnan(halves)
    assert np.array_equal(wide[numbers].view(np.uint32), halves[numbers].astype(np.float32).view(np.uint32))
    assert np.isnan(wide[~numbers]).all()


def test_all_65536_half_floats_come_back(machine):
    """Narrowing what was widened gives the same bits; a NaN stays one."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    back = converted(machine, converted(machine, halves, FP32, np.float32), FP16, np.float16)
    numbers = ~np.isnan(halves)
    assert np.array_equal(back[numbers].view(np.uint16), halves[numbers].view(np.uint16))
    assert np.isnan(back[~numbers]).all()


def test_ties_are_rounded_to_even_and_neighbours_to_the_nearest(machine):
    """The middle between each half float and the next, and the float32 before and after it."""
    low = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    high = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (low + high) / 2
    below, above = np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))
    values = np.concatenate([middle, below, above])
    values = np.concatenate([values, -values, np.zeros(-2 * len(values) % 64, np.float32)])
    got = converted(machine, values, FP16, np.float16)
    assert np.array_equal(got.view(np.uint16), values.astype(np.float16).view(np.uint16))


def test_what_is_too_large_becomes_infinity_and_too_small_zero(machine):
    edge = np.float32(65520)  # half-way between the largest half float and what would follow
    tiny = np.float32(2**-25)  # half of the smallest one
    values = [
        65504,
        np.nextafter(edge, np.float32(0)),
        edge,
        1e38,
        np.inf,
        tiny,
        np.nextafter(tiny, edge),
        1e-40,
    ]
    got = converted(machine, np.array(values * 8, dtype=np.float32), FP16, np.float16)[:8]
    assert got.tolist() == [65504, 65504, np.inf, np.inf, np.inf, 0, 2**-24, 0]
