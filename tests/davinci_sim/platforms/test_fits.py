"""The fitted figures of the 910B1 against the points that they were fitted to.

KiB moved and GiB/s measured on 910B1, from the tables of msKPP, the vendor's operator modelling tool. A move
of n bytes takes a head and n bytes at the rate of the path, or of what it shares if that is slower.
"""

from __future__ import annotations

import statistics

import pytest

from davinci_sim.platforms import platform

CHIP = platform("ascend910b1")
SHARED_BY_48_VECTOR_CORES = 45.6  # B/cycle for each, from the sizes at which GM to UB levels off
TABLES = {
    "GM to L1": (
        "gm_read_head_cycles", "gm_to_l1_bytes_per_cycle", None,
        {1: 9.93, 2: 17.86, 4: 29.33, 16: 93.19, 48: 166.22, 112: 221.55, 192: 248.04, 320: 252.6,
         512: 261.86},
    ),
    "GM to UB": (
        "gm_read_head_cycles", "gm_to_ub_bytes_per_cycle", SHARED_BY_48_VECTOR_CORES,
        {1: 7.29, 2: 13.48, 3: 18.62, 6: 32.99, 11: 51.86, 19: 70.54, 34: 76.14, 62: 77.54, 111:
         78.52, 200: 78.56},
    ),
    "UB to GM": (
        "gm_write_head_cycles", "ub_to_gm_bytes_per_cycle", CHIP.l2_write_bytes_per_cycle,
        {1: 11.39, 2: 22.11, 3: 30.27, 4: 37.91, 7: 56.18, 11: 72.16, 18: 89.67, 29: 108.24, 47:
         110.04, 76: 110.15},
    ),
    "L1 to L0A": (
        "load2d_l0a_head_cycles", "load2d_l0a_bytes_per_cycle", None,
        {1: 286.91, 2: 349.61, 3: 375.72, 5: 399.19, 8: 414.09, 12: 422.43, 18: 428.7, 27: 432.8, 64: 437.55},
    ),
    "L1 to L0B": (
        "load2d_l0b_head_cycles", "load2d_l0b_bytes_per_cycle", None,
        {1: 174.08, 2: 194.68, 3: 202.77, 5: 209.63, 8: 213.5, 12: 215.84, 18: 217.38, 27: 218.42,
         64: 219.64},
    ),
}  # fmt: skip
MMAD = {1: 25.0, 4: 27.0, 8: 31.0, 16: 39.0, 32: 55.0, 128: 151.0}  # products: cycles of an mmad alone, 910B3


@pytest.mark.parametrize("table", TABLES)
def test_the_fitted_figures_meet_the_points(table):
    """Half of the points within 5 %, all within 15 %."""
    head, path, shared, points = TABLES[table]
    errors = []
    for kib, gib_per_s in points.items():
        size = kib * 1024
        cycles = getattr(CHIP, head) + size / getattr(CHIP, path)
        if shared:
            cycles = max(cycles, size / shared)
        errors.append(abs(cycles / (size / (gib_per_s * 2**30) * CHIP.clock_hz) - 1))
    assert statistics.median(errors) <= 0.05
    assert max(errors) <= 0.15


@pytest.mark.parametrize("products", MMAD)
def test_a_product_alone_takes_head_and_drain_more(products):
    """The head holds the cube, the drain is what is left until the result is there."""
    alone = products + CHIP.mmad_head_cycles + CHIP.mmad_drain_cycles
    assert alone == pytest.approx(MMAD[products], rel=0.05)
