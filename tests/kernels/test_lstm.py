"""The cell of an LSTM and its gradient equal their references, and each other by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.run import random_inputs, run
from tests.kernels.equality import P, differences, efficiency, engines_agree, memory_share, shape_of

CELL, GRAD = kernels.find("lstm_cell"), kernels.find("lstm_cell_grad")
LENGTH, PICK, SEED = st.integers(1, 150), st.integers(0, 3), st.integers(0, 99)


@settings(max_examples=20)
@given(m=LENGTH, k=LENGTH, n=LENGTH, pick=PICK, seed=SEED)
def test_a_cell_equals_the_reference(m, k, n, pick, seed):
    """Also its padding is zero, though the sigmoid of zero is not."""
    wrong = differences(CELL, shape_of(CELL, m=m, k=k, n=n), pick, seed)
    assert wrong == {"h_new": 0, "c_new": 0, "gates": 0}


@settings(max_examples=20)
@given(m=LENGTH, n=LENGTH, pick=PICK, seed=SEED)
def test_a_gradient_equals_the_reference(m, n, pick, seed):
    assert differences(GRAD, shape_of(GRAD, m=m, n=n), pick, seed) == {"dgates": 0, "dc": 0}


@pytest.mark.parametrize("size", [100, 20_000])
def test_gates_of_enormous_arguments_are_open_or_closed(size):
    """Powers overflow and vanish: 0 or 1 and never NaN; the state stays, or is replaced."""
    shape = shape_of(CELL, m=3, k=16, n=20)
    inputs = random_inputs(CELL, shape, 1)
    inputs["bias"] *= size
    outputs, _ = run(CELL, shape, inputs, Chip(P))
    assert np.isfinite(outputs["c_new"]).all()
    assert differences(CELL, shape, 0, 1, inputs) == {"h_new": 0, "c_new": 0, "gates": 0}


def test_the_gradient_is_the_slope_of_the_cell():
    """A change of the state by a thousandth moves the results as dc says."""
    cell, grad = shape_of(CELL, m=4, k=5, n=6), shape_of(GRAD, m=4, n=6)
    inputs = random_inputs(CELL, cell, 5)
    kept, _ = run(CELL, cell, inputs, Chip(P))
    ones = np.ones((4, 6), np.float32)
    slopes = {"gates": kept["gates"], "c": inputs["c"], "c_new": kept["c_new"]}
    dc = run(GRAD, grad, {**slopes, "dh_new": 0 * ones, "dc_new": ones}, Chip(P))[0]["dc"]
    moved, _ = run(CELL, cell, {**inputs, "c": inputs["c"] + np.float32(0.125)}, Chip(P))
    np.testing.assert_allclose((moved["c_new"] - kept["c_new"]) / 0.125, dc, atol=1e-3)


def test_both_engines_give_the_same_bits():
    assert engines_agree(CELL, shape_of(CELL, m=20, k=40, n=30))
    assert engines_agree(GRAD, shape_of(GRAD, m=20, n=30))


def test_a_large_cell_takes_little_longer_than_its_weights():
    """64 sequences, 1024 wide: 16 MB of weights, read once."""
    assert 0.7 <= efficiency(CELL, shape_of(CELL, m=64, k=1024, n=1024)) <= 1


def test_a_large_gradient_moves_as_much_as_nine_tenths_of_the_memory():
    assert memory_share(GRAD, shape_of(GRAD, m=512, n=2048)) >= 0.9


@pytest.mark.parametrize(("kernel", "dtype", "rule"), [(CELL, "fp32", "fp16"), (GRAD, "fp16", "fp32")])
def test_other_types_are_refused(kernel, dtype, rule):
    axes = {axis: 8 for axis in kernel.axes}
    with pytest.raises(BadShape) as refused:
        shape_of(kernel, dtype, **axes)
    assert str(refused.value) == (
        f"kernel {kernel.name}: dtype={dtype}\n  rule: dtype is {rule}\n  next: change the shape"
    )
