"""Gradients of layer normalisation equal their references, the sums over the rows to the bit for any cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.run import random_inputs, run
from tests.kernels.equality import differences, efficiency, engines_agree, memory_share, shape_of

GRAD, SUM = kernels.find("layer_norm_grad"), kernels.find("layer_norm_grad_sum")


@settings(max_examples=20)
@given(
    m=st.integers(1, 90), n=st.integers(1, 600), parts=st.integers(1, 40),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_matrix_is_right_with_any_tiling(m, n, parts, dtype, pick, seed):
    """More parts than rows, fewer than cores, tiles of few rows, and rows in pieces."""
    shape = shape_of(GRAD, dtype, m=m, n=n, parts=parts)
    assert set(differences(GRAD, shape, pick, seed).values()) == {0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(("m", "n"), [(11, 5000), (3, 9001)])
def test_long_rows_are_right(m, n, dtype):
    assert set(differences(GRAD, shape_of(GRAD, dtype, m=m, n=n), 0, 1).values()) == {0}


@settings(max_examples=10)
@given(n=st.integers(1, 2000), parts=st.integers(1, 70), seed=st.integers(0, 99))
def test_parts_are_added(n, parts, seed):
    assert set(differences(SUM, shape_of(SUM, n=n, parts=parts), 0, seed).values()) == {0}


def gradients(m: int, n: int, chip: Chip, tiling=None) -> dict[str, np.ndarray]:
    """Return all three gradients of both launches."""
    shape = shape_of(GRAD, "fp32", m=m, n=n)
    first = run(GRAD, shape, random_inputs(GRAD, shape, 5), chip, tiling)[0]
    parts = {"parts_of_sums": first["parts_of_sums"]}
    return {"dx": first["dx"], **run(SUM, shape_of(SUM, n=n), parts, chip)[0]}


def test_tiles_and_chips_do_not_change_the_bits_of_the_sums():
    """Rows are added one after the other within a part, and parts in their order."""
    expected = gradients(300, 100, Chip())
    for chip, tiling in ((Chip(), GRAD.tiling_type(5, 100, 1)), (Chip("ascend310p3"), None)):
        found = gradients(300, 100, chip, tiling)
        for name in ("dgamma", "dbeta"):
            assert found[name].tobytes() == expected[name].tobytes()


def test_gradients_are_those_of_the_function():
    """Finite differences of the normalisation itself, in float64, along a random direction of each input."""
    m, n, step = 6, 40, 1e-6
    shape = shape_of(GRAD, "fp32", m=m, n=n)
    inputs = random_inputs(GRAD, shape, 1)
    rng = np.random.default_rng(0)
    point = [inputs["x"].astype(np.float64), inputs["gamma"].astype(np.float64), rng.standard_normal(n)]

    def loss(x, gamma, beta):
        rstd = 1 / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        y = (x - x.mean(axis=1, keepdims=True)) * rstd * gamma + beta
        return (y * inputs["dy"].astype(np.float64)).sum()

    inputs["mean"] = point[0].mean(axis=1).astype(np.float32)
    inputs["rstd"] = (1 / np.sqrt(point[0].var(axis=1) + 1e-5)).astype(np.float32)
    first = run(GRAD, shape, inputs, Chip())[0]
    second = run(SUM, shape_of(SUM, n=n), {"parts_of_sums": first["parts_of_sums"]}, Chip())[0]
    for place, found in enumerate((first["dx"], second["dgamma"], second["dbeta"])):
        direction = rng.standard_normal(found.shape)
        ends = []
        for sign in (1, -1):
            moved = list(point)
            moved[place] = moved[place] + sign * step * direction
            ends.append(loss(*moved))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert (found * direction).sum() == pytest.approx(slope, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_both_engines_give_the_same_bits(dtype):
    assert engines_agree(GRAD, shape_of(GRAD, dtype, m=19, n=75, parts=4))


@pytest.mark.parametrize(("dtype", "share"), [("fp32", 0.85), ("fp16", 0.5)])
def test_large_problems_keep_memory_busy(dtype, share):
    """In fp32 close to memory; fp16 has the same work for half the bytes, and the vector unit binds."""
    shape = shape_of(GRAD, dtype, m=16384, n=1024)
    assert memory_share(GRAD, shape) >= share
    assert efficiency(GRAD, shape) <= 1
