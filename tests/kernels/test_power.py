"""Powers of any base and exponent are those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from kernels.check import check
from tests.kernels.equality import P, differences, engines_agree, memory_share, shape_of

TYPES = {"fp16": np.float16, "fp32": np.float32}


@settings(max_examples=25)
@given(
    n=st.integers(1, 20_000), dtype=st.sampled_from(list(TYPES)), pattern=st.integers(0, 1),
    pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_powers_of_positive_numbers_equal_the_reference(n, dtype, pattern, pick, seed):
    kernel = kernels.find("pow")
    assert differences(kernel, shape_of(kernel, dtype, n=n, pattern=pattern), pick, seed) == {"c": 0}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("exponent", [-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 1.5, np.inf, -np.inf])
def test_one_exponent_for_bases_of_all_kinds(dtype, exponent):
    """Whole exponents keep or drop the sign of negative bases, whose other powers are not real."""
    a = np.array([-np.inf, -4.0, -1.0, -0.25, 0.0, 0.25, 1.0, 4.0, np.inf, np.nan], TYPES[dtype])
    kernel, inputs = kernels.find("pow"), {"a": a, "b": np.array([exponent], TYPES[dtype])}
    assert differences(kernel, shape_of(kernel, dtype, n=len(a), pattern=1), 0, 0, inputs) == {"c": 0}


@pytest.mark.parametrize("dtype", TYPES)
def test_every_base_meets_every_exponent(dtype):
    special = [-np.inf, -7.0, -2.0, -1.0, -0.5, 0.0, 0.3, 1.0, 2.0, 3.0, 9.0, 2048.0, 2049.0, np.inf, np.nan]
    a, b = (side.ravel() for side in np.meshgrid(*[np.array(special, TYPES[dtype])] * 2))
    kernel = kernels.find("pow")
    assert differences(kernel, shape_of(kernel, dtype, n=len(a)), 0, 0, {"a": a, "b": b}) == {"c": 0}


def test_nothing_to_the_power_of_nothing_is_one():
    kernel = kernels.find("pow")
    zero = np.zeros(1, np.float32)
    assert kernel.reference(shape_of(kernel, "fp32", n=1), zero, zero)[0] == 1
    assert differences(kernel, shape_of(kernel, "fp32", n=1), 0, 0, {"a": zero, "b": zero}) == {"c": 0}


@pytest.mark.parametrize(("dtype", "pattern"), [("fp16", 0), ("fp32", 1)])
def test_both_engines_give_the_same_bits(dtype, pattern):
    kernel = kernels.find("pow")
    shape = shape_of(kernel, dtype, n=5000, pattern=pattern)
    assert engines_agree(kernel, shape)
    assert check(kernel, shape, P) == []


def test_a_long_array_to_one_power_moves_near_the_speed_of_the_memory():
    kernel = kernels.find("pow")
    assert memory_share(kernel, shape_of(kernel, "fp32", n=4_000_000, pattern=1)) >= 0.7


def test_another_pattern_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("pow"), n=4, pattern=2)
    assert str(refused.value) == (
        "kernel pow: pattern=2\n  rule: pattern is 0 (an exponent for each base) or 1 (one for all)\n"
        "  next: change the shape"
    )
