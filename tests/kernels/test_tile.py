"""Repeated rows equal NumPy's, whichever way they take."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from tests.kernels.equality import differences, efficiency, engines_agree, memory_share, shape_of

TYPES = st.sampled_from(["fp16", "fp32", "int32"])
PICK, SEED = st.integers(0, 3), st.integers(0, 99)
LENGTH = st.one_of(st.integers(1, 70), st.sampled_from([1, 64, 1000, 9001]))


@settings(max_examples=50)
@given(m=st.integers(1, 40), k=LENGTH, n=LENGTH, dtype=TYPES, pick=PICK, seed=SEED)
def test_rows_are_repeated(m, k, n, dtype, pick, seed):
    """One row or many, single numbers and long rows, of whole blocks and of none."""
    kernel = kernels.find("tile")
    m = max(1, min(m, 400_000 // (k * n)))
    k = max(1, min(k, 400_000 // n))
    assert differences(kernel, shape_of(kernel, dtype, m=m, k=k, n=n), pick, seed) == {"y": 0}


@pytest.mark.parametrize(
    "axes", [(1, 700, 5), (40, 30, 1), (2, 30000, 1), (5, 40, 32), (9, 3, 70), (40, 3, 7)], ids=str
)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_both_engines_give_the_same_bits(axes, dtype):
    kernel = kernels.find("tile")
    assert engines_agree(kernel, shape_of(kernel, dtype, **dict(zip("mkn", axes, strict=True))))


@pytest.mark.parametrize(
    "axes", [(1, 1 << 22, 1), (1, 1 << 14, 256), (4096, 1024, 1), (64, 256, 256)], ids=str
)
def test_large_results_are_written_as_fast_as_the_cores_can(axes):
    """What is read is little; writes go at the rate of the cores' own paths, which L2 takes."""
    kernel = kernels.find("tile")
    shape = shape_of(kernel, "fp32", **dict(zip("mkn", axes, strict=True)))
    assert memory_share(kernel, shape) >= 0.9
    assert efficiency(kernel, shape) <= 1
