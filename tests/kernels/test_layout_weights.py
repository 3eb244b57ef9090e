"""Weights become FRACTAL_Z as the host packs them, bit for bit, padding included."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from tests.kernels.equality import differences, efficiency, engines_agree, shape_of

NAME = "oihw_to_fractal_z"


@settings(max_examples=30)
@given(
    o=st.integers(1, 70), c=st.integers(1, 70), kh=st.integers(1, 5), kw=st.integers(1, 5),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_weights_are_converted_exactly(o, c, kh, kw, dtype, pick, seed):
    kernel = kernels.find(NAME)
    assert differences(kernel, shape_of(kernel, dtype, o=o, c=c, kh=kh, kw=kw), pick, seed) == {"y": 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("axes", [(64, 3, 7, 7), (20, 40, 11, 11), (5, 2, 30, 31), (130, 300, 1, 1)], ids=str)
def test_large_filters_come_piece_by_piece(axes, dtype):
    kernel = kernels.find(NAME)
    given_axes = dict(zip(("o", "c", "kh", "kw"), axes, strict=True))
    assert differences(kernel, shape_of(kernel, dtype, **given_axes), 0, 1) == {"y": 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_both_engines_give_the_same_bits(dtype):
    kernel = kernels.find(NAME)
    assert engines_agree(kernel, shape_of(kernel, dtype, o=20, c=20, kh=3, kw=3))


def test_large_weights_take_less_than_four_times_what_the_memory_takes():
    kernel = kernels.find(NAME)
    shape = shape_of(kernel, "fp16", o=512, c=512, kh=3, kw=3)
    assert 0.3 <= efficiency(kernel, shape) <= 1


def test_integers_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find(NAME), "int32", o=1, c=1, kh=1, kw=1)
    assert str(refused.value) == (
        "kernel oihw_to_fractal_z: dtype=int32\n  rule: dtype is fp16 or fp32\n  next: change the shape"
    )
