"""Adaptive max pooling tells where each maximum was seen first, and its gradient goes there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.errors import BadShape
from kernels import find
from kernels.check import check
from kernels.run import random_inputs
from tests.kernels.equality import P, differences, engines_agree, shape_of

POOL, GRAD = "adaptive_max_pool_with_argmax", "adaptive_max_pool_grad"
NAMES = (POOL, GRAD)


@settings(max_examples=20, deadline=None)
@given(
    axes=st.fixed_dictionaries({
        "n": st.integers(1, 3), "c": st.integers(1, 40), "h": st.integers(1, 20), "w": st.integers(1, 30),
        "oh": st.integers(1, 12), "ow": st.integers(1, 12),
    }),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 1), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_first_of_equal_maxima_is_found_and_gets_the_gradient(axes, dtype, pick, seed):
    """Whole numbers from -2 to 2, so that many are equal; windows that overlap and windows that repeat."""
    pool, grad = find(POOL), find(GRAD)
    shape = shape_of(pool, dtype, **axes)
    generator = np.random.default_rng(seed)
    x = generator.integers(-2, 3, (shape.n, shape.c, shape.h, shape.w)).astype(f"float{dtype[2:]}")
    assert differences(pool, shape, pick, seed, {"x": x}) == {"y": 0, "argmax": 0}
    inputs = random_inputs(grad, shape, seed) | {"argmax": pool.reference(shape, x)[1]}
    assert differences(grad, shape, pick, seed, inputs) == {"dx": 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(("w", "ow"), [(1900, 3), (600, 300), (5, 300), (130, 129)])
def test_rows_longer_than_a_tile_and_batches_of_windows(dtype, w, ow):
    pool, grad = find(POOL), find(GRAD)
    shape = shape_of(pool, dtype, n=1, c=20, h=3, w=w, oh=2, ow=ow)
    x = np.random.default_rng(1).integers(-9, 9, (1, 20, 3, w)).astype(f"float{dtype[2:]}")
    assert differences(pool, shape, 0, 1, {"x": x}) == {"y": 0, "argmax": 0}
    inputs = random_inputs(grad, shape, 1) | {"argmax": pool.reference(shape, x)[1]}
    assert differences(grad, shape, 0, 1, inputs) == {"dx": 0}
    assert check(pool, shape, P) == []
    assert check(grad, shape, P) == []


def test_windows_of_nothing_but_infinities_have_their_first_position():
    pool = find(POOL)
    x = np.full((1, 16, 5, 300), -np.inf, np.float16)
    assert differences(pool, shape_of(pool, "fp16", n=1, c=16, h=5, w=300, oh=2, ow=2), 0, 0, {"x": x}) == {
        "y": 0, "argmax": 0,
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_both_engines_give_the_same_bits(name):
    kernel = find(name)
    shape = shape_of(kernel, "fp16", n=3, c=20, h=13, w=11, oh=4, ow=3)
    assert engines_agree(kernel, shape)
    assert check(kernel, shape, P) == []


def test_more_positions_than_fp32_counts_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find(POOL), n=1, c=1, h=4097, w=4096, oh=1, ow=1)
    assert str(refused.value) == (
        f"kernel {POOL}: h=4097, w=4096\n  rule: at most 16777216 positions, so that fp32 counts them\n"
        "  next: change the shape"
    )
