"""The index of an extreme number is that of the first one that is as large or small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from tests.kernels.equality import differences, engines_agree, shape_of


@settings(max_examples=25)
@given(
    name=st.sampled_from(["argmax", "argmin"]), m=st.integers(1, 150), n=st.integers(1, 300),
    axis=st.integers(0, 1), dtype=st.sampled_from(["fp16", "fp32"]), has_ties=st.booleans(),
    pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_index_is_that_of_the_first_extreme_number(name, m, n, axis, dtype, has_ties, pick, seed):
    """Whatever the axis, type and tiling; with ties, zeros of both signs among them."""
    kernel = kernels.find(name)
    inputs = None
    if has_ties:
        few = np.random.Generator(np.random.Philox(seed)).integers(-1, 2, (m, n)) * 0.5
        few[few == 0] *= -1
        inputs = {"x": few.astype(np.float16 if dtype == "fp16" else np.float32)}
    assert differences(kernel, shape_of(kernel, dtype, m=m, n=n, axis=axis), pick, seed, inputs) == {"y": 0}


@pytest.mark.parametrize(("m", "n", "axis"), [(3, 30_000, 1), (5000, 70, 0), (2, 20_000, 0), (1, 1, 1)])
def test_long_axes_are_searched_in_pieces(m, n, axis):
    kernel = kernels.find("argmax")
    assert differences(kernel, shape_of(kernel, "fp32", m=m, n=n, axis=axis), 0, 0) == {"y": 0}


@pytest.mark.parametrize("axis", [0, 1])
def test_infinities_are_numbers(axis):
    """Nothing but -inf: the first one; among others the largest, which may be inf."""
    x = np.full((20, 90), -np.inf, np.float32)
    x[3, 70], x[4, 5], x[4, 80] = -5, np.inf, np.inf
    kernel = kernels.find("argmax")
    assert differences(kernel, shape_of(kernel, "fp32", m=20, n=90, axis=axis), 0, 0, {"x": x}) == {"y": 0}


@pytest.mark.parametrize("axis", [0, 1])
def test_both_engines_give_the_same_bits(axis):
    kernel = kernels.find("argmax")
    assert engines_agree(kernel, shape_of(kernel, "fp16", m=33, n=150, axis=axis))


def test_more_numbers_than_fp32_counts_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("argmax"), m=2, n=1 << 25)
    assert str(refused.value) == (
        "kernel argmax: m=2, n=33554432\n  rule: at most 16777216 numbers are compared, so that fp32 counts "
        "them\n  next: change the shape"
    )
