"""Layout conversions equal those of the host, bit for bit, padding included."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from tests.kernels.equality import differences, efficiency, engines_agree, memory_share, shape_of

IMAGES, MATRICES = ("nchw_to_nc1hwc0", "nc1hwc0_to_nchw"), ("nd_to_nz", "nz_to_nd")
DTYPES = st.sampled_from(["fp16", "fp32"])
PICK, SEED = st.integers(0, 2), st.integers(0, 99)


@settings(max_examples=30)
@given(
    name=st.sampled_from(IMAGES), n=st.integers(1, 5), c=st.integers(1, 40), h=st.integers(1, 30),
    w=st.integers(1, 30), dtype=DTYPES, pick=PICK, seed=SEED,
)  # fmt: skip
def test_feature_maps_are_converted_exactly(name, n, c, h, w, dtype, pick, seed):
    """Any channels and any image: rows of whole blocks, short ones that are packed, long ones."""
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, n=n, c=c, h=h, w=w), pick, seed) == {"y": 0}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(
    "axes",
    [
        (32, 1, 32, 32),
        (32, 16, 5, 5),
        (20, 10, 1, 1),
        (2, 33, 27, 27),
        (1, 64, 7, 7),
        (3, 20, 1, 3),
        (1, 3, 40, 41),
        (40, 32, 3, 5),
        (90, 48, 7, 9),
    ],
    ids=str,
)
def test_the_ways_of_feature_maps(name, dtype, axes):
    """LeNet-5's own conversions, and one case at least of every branch."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, **dict(zip("nchw", axes, strict=True)))
    assert differences(kernel, shape, 0, 1) == {"y": 0}


@settings(max_examples=30)
@given(
    name=st.sampled_from(MATRICES),
    m=st.integers(1, 150),
    n=st.integers(1, 700),
    dtype=DTYPES,
    pick=PICK,
    seed=SEED,
)
def test_matrices_are_converted_exactly(name, m, n, dtype, pick, seed):
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, m=m, n=n), pick, seed) == {"y": 0}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize(("m", "n"), [(17, 17), (32, 10), (300, 7), (40, 1001), (1, 30000)])
def test_the_ways_of_matrices(name, m, n):
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, "fp32", m=m, n=n), 0, 1) == {"y": 0}


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("nchw_to_nc1hwc0", {"n": 2, "c": 17, "h": 4, "w": 4}),
        ("nc1hwc0_to_nchw", {"n": 2, "c": 17, "h": 5, "w": 5}),
        ("nc1hwc0_to_nchw", {"n": 1, "c": 3, "h": 11, "w": 23}),
        ("nd_to_nz", {"m": 21, "n": 33}),
        ("nz_to_nd", {"m": 21, "n": 33}),
        ("nz_to_nd", {"m": 21, "n": 301}),
    ],
)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_both_engines_give_the_same_bits(name, axes, dtype):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, dtype, **axes))


@pytest.mark.parametrize("name", MATRICES)
def test_large_matrices_are_converted_at_the_speed_of_the_memory(name):
    """They move as many bytes a cycle as device memory gives: what they write stays in L2."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, "fp32", m=1024, n=1024)
    assert memory_share(kernel, shape) >= 1
    assert efficiency(kernel, shape) <= 1
