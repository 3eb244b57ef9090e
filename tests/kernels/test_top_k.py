"""The largest numbers of rows and their places equal NumPy's, ties by the lowest place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from tests.kernels.equality import differences, engines_agree, shape_of

FLOATS, PICK, SEED = st.sampled_from(["fp16", "fp32"]), st.integers(0, 3), st.integers(0, 99)
RIGHT = {"values": 0, "indices": 0}


@settings(max_examples=20)
@given(
    m=st.integers(1, 80), n=st.one_of(st.integers(1, 150), st.integers(1900, 4200)), k=st.integers(1, 20),
    few=st.booleans(), dtype=FLOATS, pick=PICK, seed=SEED,
)  # fmt: skip
def test_the_largest_come_first(m, n, k, few, dtype, pick, seed):
    """Random numbers, and numbers of which there are few different ones."""
    kernel = kernels.find("top_k")
    m, k = (m if n < 1000 else 1 + m % 9), min(k, n)
    generator = np.random.default_rng(seed)
    x = generator.integers(-3, 3, (m, n)) if few else generator.normal(size=(m, n))
    inputs = {"x": x.astype(np.float16 if dtype == "fp16" else np.float32)}
    assert differences(kernel, shape_of(kernel, dtype, m=m, n=n, k=k), pick, seed, inputs) == RIGHT


def test_all_numbers_can_be_asked_for():
    """Then rows are sorted."""
    kernel = kernels.find("top_k")
    assert differences(kernel, shape_of(kernel, "fp32", m=3, n=100, k=100), 0, 1) == RIGHT


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_infinities_and_equal_numbers_keep_their_order(dtype):
    """-inf counts as the lowest finite number, which it is again in fp16."""
    kernel = kernels.find("top_k")
    x = np.array([[np.inf, 1, np.inf, 1, -5, 0.0, -0.0, 7]], np.float16 if dtype == "fp16" else np.float32)
    assert differences(kernel, shape_of(kernel, dtype, m=1, n=8, k=8), 0, 0, {"x": x}) == RIGHT
    x = np.array([[-np.inf, 3, -np.inf, 1]], np.float16)
    assert differences(kernel, shape_of(kernel, m=1, n=4, k=4), 0, 0, {"x": x}) == RIGHT


@pytest.mark.parametrize(("m", "n", "k"), [(20, 40, 3), (3, 2100, 9)])
def test_both_engines_give_the_same_bits(m, n, k):
    kernel = kernels.find("top_k")
    assert engines_agree(kernel, shape_of(kernel, "fp32", m=m, n=n, k=k))


def test_more_results_than_numbers_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("top_k"), m=2, n=4, k=5)
    assert str(refused.value) == ("kernel top_k: k=5, n=4\n  rule: k is at most n\n  next: change the shape")
