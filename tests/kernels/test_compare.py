"""Comparisons give exactly 1 or 0, for any shapes that broadcast."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from kernels.tiling.broadcast import binary_axes
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


@settings(max_examples=25)
@given(
    name=st.sampled_from(NAMES), rows=st.integers(1, 70), columns=st.integers(1, 400),
    pattern=st.integers(1, 3), dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_number_a_row_or_a_column_is_compared_with_all(name, rows, columns, pattern, dtype, pick, seed):
    """Short rows that are packed, rows of whole blocks, and long ones that come piece by piece."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, n=rows * columns, rows=rows, pattern=pattern)
    assert differences(kernel, shape, pick, seed) == {"c": 0}


@pytest.mark.parametrize(
    ("a", "b"), [((7, 1, 90), (5, 1)), ((3, 20, 1, 6), (20, 9, 1)), ((1, 2000), (40, 1)), ((2, 1, 3), (4, 3))]
)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_any_axes_are_compared(a, b, dtype):
    kernel = kernels.find("less_equal")
    assert differences(kernel, shape_of(kernel, dtype, **binary_axes(a, b)), 0, 1) == {"c": 0}


@pytest.mark.parametrize("name", NAMES)
def test_special_numbers_compare_as_they_do_elsewhere(name):
    """NaN is unequal to all, zeros of both signs are equal, infinities are in order."""
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], np.float32)
    a, b = (side.reshape(-1) for side in np.meshgrid(special, special))
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, "fp32", n=36), 0, 0, {"a": a, "b": b}) == {"c": 0}


@pytest.mark.parametrize("axes", [{"n": 70_000}, {"n": 3300, "rows": 33, "pattern": 3}])
def test_both_engines_give_the_same_bits(axes):
    kernel = kernels.find("less")
    assert engines_agree(kernel, shape_of(kernel, "fp16", **axes))


def test_long_comparisons_move_as_much_as_nine_tenths_of_the_memory():
    kernel = kernels.find("greater")
    assert memory_share(kernel, shape_of(kernel, "fp32", n=4_000_000)) >= 0.9


def test_integers_are_not_compared():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("less"), "int32", n=10)
    assert str(refused.value) == (
        "kernel less: dtype=int32\n  rule: dtype is fp16 or fp32\n  next: change the shape"
    )
