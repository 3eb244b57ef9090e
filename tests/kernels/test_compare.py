"""Comparisons give exactly 1 or 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from tests.kernels.equality import differences, engines_agree, memory_share, shape_of

NAMES = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


@settings(max_examples=25)
@given(
    name=st.sampled_from(NAMES), n=st.integers(1, 40000), dtype=st.sampled_from(["fp16", "fp32"]),
    pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_comparison_equals_the_reference(name, n, dtype, pick, seed):
    """Small whole numbers, so that many are equal."""
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, n=n), pick, seed) == {"c": 0}


@pytest.mark.parametrize("name", NAMES)
def test_special_numbers_compare_as_they_do_elsewhere(name):
    """NaN is unequal to all, zeros of both signs are equal, infinities are in order."""
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], np.float32)
    a, b = (side.reshape(-1) for side in np.meshgrid(special, special))
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, "fp32", n=36), 0, 0, {"a": a, "b": b}) == {"c": 0}


def test_both_engines_give_the_same_bits():
    kernel = kernels.find("less")
    assert engines_agree(kernel, shape_of(kernel, "fp16", n=70_000))


def test_long_comparisons_move_as_much_as_nine_tenths_of_the_memory():
    kernel = kernels.find("greater")
    assert memory_share(kernel, shape_of(kernel, "fp32", n=4_000_000)) >= 0.9
