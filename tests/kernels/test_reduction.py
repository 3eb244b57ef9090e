"""Reductions equal their references on any matrix, axis and tiling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from tests.kernels.equality import differences, efficiency, engines_agree, shape_of

NAMES = ("reduce_sum", "reduce_max", "reduce_mean")


@settings(max_examples=25)
@given(
    name=st.sampled_from(NAMES), m=st.integers(1, 300), n=st.integers(1, 300), axis=st.integers(0, 1),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_reduction_equals_its_reference(name, m, n, axis, dtype, pick, seed):
    """Sums are in fp32 and rounded once; a maximum is exact."""
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, m=m, n=n, axis=axis), pick, seed) == {"y": 0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("m", "n"), [(17, 12345), (2000, 70), (1, 70000), (5000, 3)])
@pytest.mark.parametrize("axis", [0, 1])
def test_long_axes_are_reduced_in_pieces(name, m, n, axis):
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, "fp32", m=m, n=n, axis=axis), 1, 0) == {"y": 0}


def test_the_maximum_of_negative_numbers_is_negative():
    """Lanes without a column take no part."""
    kernel = kernels.find("reduce_max")
    x = {"x": -1 - np.arange(33 * 5, dtype=np.float32).reshape(33, 5)}
    assert differences(kernel, shape_of(kernel, "fp32", m=33, n=5), 0, 0, x) == {"y": 0}


@settings(max_examples=25)
@given(m=st.integers(1, 400), n=st.integers(1, 200), pick=st.integers(0, 1), seed=st.integers(0, 99))
def test_the_gradient_of_a_bias_sums_the_rows(m, n, pick, seed):
    kernel = kernels.find("bias_add_grad")
    assert differences(kernel, shape_of(kernel, m=m, n=n), pick, seed) == {"db": 0}


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("reduce_sum", {"m": 33, "n": 70}),
        ("reduce_max", {"m": 33, "n": 70}),
        ("reduce_mean", {"m": 33, "n": 70, "axis": 0}),
        ("bias_add_grad", {"m": 33, "n": 21}),
    ],
)
def test_both_engines_give_the_same_bits(name, axes):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, **axes))


@pytest.mark.parametrize(("name", "least"), [("reduce_sum", 0.85), ("reduce_max", 0.8)])
def test_wide_rows_are_reduced_near_the_speed_of_the_memory(name, least):
    """A maximum has no instruction that reduces a repeat: its last rows are transposed and folded."""
    kernel = kernels.find(name)
    assert least <= efficiency(kernel, shape_of(kernel, "fp32", m=2048, n=1024)) <= 1.0


def test_another_axis_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("reduce_sum"), m=4, n=4, axis=2)
    assert str(refused.value) == "kernel reduce_sum: axis=2\n  rule: axis is 0 or 1\n  next: change the shape"
