"""Softmax, its logarithm and their gradients equal the reference for rows of any length and magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.run import place, random_inputs, references, run
from tests.kernels.equality import P, differences, efficiency, engines_agree, memory_share, shape_of

NAMES = ("softmax", "log_softmax", "softmax_grad", "log_softmax_grad")
TYPES = {"fp16": np.float16, "fp32": np.float32}


@settings(max_examples=30)
@given(
    name=st.sampled_from(NAMES), m=st.integers(1, 90), n=st.integers(1, 700),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_matrix_is_right_with_any_tiling(name, m, n, dtype, pick, seed):
    """Packed, whole and unaligned rows, tiles of few rows, and rows in pieces."""
    kernel = kernels.find(name)
    assert set(differences(kernel, shape_of(kernel, dtype, m=m, n=n), pick, seed).values()) == {0}


def result(name: str, x: np.ndarray, tiling=None) -> tuple[np.ndarray, np.ndarray]:
    """Return what a kernel computes and what its reference does."""
    kernel = kernels.find(name)
    dtype = next(key for key, kind in TYPES.items() if kind == x.dtype)
    shape = shape_of(kernel, dtype, m=x.shape[0], n=x.shape[1])
    outputs = run(kernel, shape, {"x": x}, Chip(), tiling)[0]
    return outputs["y"], references(kernel, shape, {"x": x})["y"]


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(("m", "n"), [(20, 12), (7, 130), (5, 1000), (2, 20001), (1, 70000)])
def test_each_probability_has_its_digits(name, m, n, dtype):
    """Relative to each number: the general rule would let small probabilities be wrong."""
    x = (np.random.default_rng(n).standard_normal((m, n)) * 3).astype(TYPES[dtype])
    y, expected = result(name, x)
    unit = 2.0**-10 if dtype == "fp16" else 2.0**-18  # x - maximum is up to 20, rounded
    least = 6e-8 if dtype == "fp16" else (1e-38 if name == "softmax" else 1e-6)
    np.testing.assert_allclose(y, expected, rtol=unit, atol=least)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("columns", [5, 300, 100])
def test_extreme_rows_are_right(dtype, columns):
    """Large numbers of either sign, masked numbers (-inf), one number above all, equal numbers."""
    rows = np.zeros((8, columns))
    rows[0], rows[1], rows[2, 0], rows[3, 1] = 6e4, -6e4, 6e4, -np.inf
    rows[4, :-1], rows[5, 2], rows[6] = -np.inf, -6e4, np.linspace(-100, 100, columns)
    for name in ("softmax", "log_softmax"):
        for pieces in (None, kernels.find(name).tiling_type(1, 256, 1) if columns > 256 else None):
            y, expected = result(name, rows.astype(TYPES[dtype]), pieces)
            np.testing.assert_allclose(y, expected, rtol=2e-3 if dtype == "fp16" else 1e-5, atol=6e-8)


@pytest.mark.parametrize("columns", [5, 300])
def test_infinite_and_undefined_numbers_make_their_row_undefined(columns):
    """And no other row."""
    rows = np.zeros((20, columns), np.float32)
    rows[2, 1], rows[5, 4], rows[7] = np.inf, np.nan, -np.inf
    y, _ = result("softmax", rows)
    assert np.isnan(y[[2, 5, 7]]).all()
    assert np.isfinite(np.delete(y, [2, 5, 7], axis=0)).all()


def test_shares_and_tiles_do_not_change_the_bits():
    """Fewer rows at once, and one core instead of all: what a row becomes depends on the row alone."""
    kernel = kernels.find("softmax")
    shape = shape_of(kernel, "fp32", m=40, n=300)
    inputs = random_inputs(kernel, shape, 3)
    first = run(kernel, shape, inputs, Chip())[0]["y"]
    single = Chip(
        P.with_figures("one", ai_cores=P.figures["ai_cores"].__class__(1, "", "assumed", "one core"))
    )
    for chip, tiling in ((Chip(), kernel.tiling_type(7, 300, 1)), (single, None)):
        assert run(kernel, shape, inputs, chip, tiling)[0]["y"].tobytes() == first.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_both_engines_give_the_same_bits(name):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, "fp16", m=19, n=75))


@pytest.mark.parametrize(
    ("name", "dtype", "m", "n", "share"),
    [
        ("softmax", "fp32", 16384, 1024, 1.2), ("softmax", "fp32", 24576, 128, 0.8),
        ("log_softmax", "fp32", 16384, 1024, 1.2), ("softmax_grad", "fp32", 16384, 1024, 1.1),
        ("softmax_grad", "fp16", 16384, 1024, 1.2), ("log_softmax_grad", "fp32", 24576, 128, 1.2),
        ("softmax", "fp16", 16384, 1024, 0.75), ("softmax", "fp16", 24576, 128, 0.45),
    ],
)  # fmt: skip
def test_large_problems_keep_memory_busy(name, dtype, m, n, share):
    """In fp32 as fast as memory; in fp16 the vector unit binds, whose work is the same for half the bytes."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, m=m, n=n)
    assert memory_share(kernel, shape) >= share
    assert efficiency(kernel, shape) <= 1


def test_the_vector_unit_takes_26_cycles_for_128_numbers_of_fp16():
    """A stated bound: two conversions, subtraction, exponential, product and folds of two repeats a row."""
    kernel = kernels.find("softmax")
    placed = place(kernel, shape_of(kernel, "fp16", m=24576, n=128), None, Chip())
    assert placed.chip.trace(placed.task).busy_cycles("V") / 24576 == pytest.approx(26, abs=0.5)
