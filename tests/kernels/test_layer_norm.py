"""Layer normalisation equals its reference for rows of any length, with large means and without variance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.run import references, run
from tests.kernels.equality import differences, efficiency, engines_agree, memory_share, shape_of

KERNEL = kernels.find("layer_norm")
TYPES = {"fp16": np.float16, "fp32": np.float32}


@settings(max_examples=20)
@given(
    m=st.integers(1, 90), n=st.integers(1, 700), dtype=st.sampled_from(["fp16", "fp32"]),
    pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_matrix_is_right_with_any_tiling(m, n, dtype, pick, seed):
    """Packed, whole and unaligned rows, tiles of fewer than eight rows, and rows in pieces."""
    assert set(differences(KERNEL, shape_of(KERNEL, dtype, m=m, n=n), pick, seed).values()) == {0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(("m", "n"), [(11, 5000), (3, 20001)])
def test_long_rows_are_right(m, n, dtype):
    """Three rows at once, and none."""
    assert set(differences(KERNEL, shape_of(KERNEL, dtype, m=m, n=n), 0, 1).values()) == {0}


def outcome(x: np.ndarray, tiling=None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what the kernel computes of rows x, gamma 1 and beta 0, and what the reference does."""
    dtype = next(key for key, kind in TYPES.items() if kind == x.dtype)
    shape = shape_of(KERNEL, dtype, m=x.shape[0], n=x.shape[1])
    inputs = {"x": x, "gamma": np.ones(x.shape[1], x.dtype), "beta": np.zeros(x.shape[1], x.dtype)}
    return run(KERNEL, shape, inputs, Chip(), tiling)[0], references(KERNEL, shape, inputs)


@pytest.mark.parametrize("tiling", [None, KERNEL.tiling_type(1, 128, 1), KERNEL.tiling_type(2, 1000, 2)])
@pytest.mark.parametrize("mean", [1e3, -1e5, 1e6])
def test_large_means_cost_no_digits(mean, tiling):
    """Rows of deviation 1 around a million: the mean of squares less the square of the mean has none left."""
    noise = np.random.default_rng(0).standard_normal((9, 1000))
    actual, expected = outcome((noise + mean).astype(np.float32), tiling)
    np.testing.assert_allclose(actual["mean"], expected["mean"], rtol=2e-7)
    np.testing.assert_allclose(actual["rstd"], expected["rstd"], rtol=1e-6)
    np.testing.assert_allclose(actual["y"], expected["y"], atol=4e-6)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_extreme_rows_are_right(dtype):
    """Equal numbers have no variance and become beta; the largest numbers of fp16 do not overflow."""
    rows = np.zeros((5, 300))
    rows[0], rows[1], rows[2, ::2], rows[3, 7] = 5.5, -6e4, 6e4, 6e4
    actual, expected = outcome(rows.astype(TYPES[dtype]))
    assert (actual["y"][[0, 1, 4]] == 0).all()
    np.testing.assert_allclose(actual["y"], expected["y"], rtol=1e-3 if dtype == "fp16" else 1e-6, atol=1e-6)
    np.testing.assert_allclose(actual["rstd"], expected["rstd"], rtol=1e-6)


def test_epsilon_is_a_power_of_ten():
    """A row of equal numbers shows it: its deviation is the root of epsilon."""
    for digits in (1, 3, 12):
        shape = shape_of(KERNEL, "fp32", m=1, n=8, digits=digits)
        inputs = {name: np.ones(8, np.float32) for name in ("gamma", "beta")}
        actual = run(KERNEL, shape, {"x": np.ones((1, 8), np.float32), **inputs}, Chip())[0]
        assert actual["rstd"][0] == pytest.approx(10 ** (digits / 2), rel=1e-6)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_both_engines_give_the_same_bits(dtype):
    assert engines_agree(KERNEL, shape_of(KERNEL, dtype, m=11, n=75))


@pytest.mark.parametrize(
    ("dtype", "m", "n", "share"),
    [("fp32", 16384, 1024, 1.05), ("fp32", 24576, 128, 0.7), ("fp16", 16384, 1024, 0.6)],
)
def test_large_problems_keep_memory_busy(dtype, m, n, share):
    """In fp32 as fast as memory; fp16 has the same work for half the bytes, and the vector unit binds."""
    shape = shape_of(KERNEL, dtype, m=m, n=n)
    assert memory_share(KERNEL, shape) >= share
    assert efficiency(KERNEL, shape) <= 1


def test_an_epsilon_of_no_size_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(KERNEL, m=1, n=8, digits=13)
    assert str(refused.value) == (
        "kernel layer_norm: digits=13\n  rule: digits is from 1 to 12\n  next: change the shape"
    )
