"""Weights become FRACTAL_Z as the host packs them, bit for bit, padding included, and come back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from kernels.check import check
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of

NAME = "oihw_to_fractal_z"
OUTPUTS = {NAME: "y", "fractal_z_to_oihw": "w"}


@settings(max_examples=30)
@given(
    name=st.sampled_from(list(OUTPUTS)), o=st.integers(1, 70), c=st.integers(1, 70),
    kh=st.integers(1, 5), kw=st.integers(1, 5),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_weights_are_converted_exactly(name, o, c, kh, kw, dtype, pick, seed):
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, o=o, c=c, kh=kh, kw=kw)
    assert differences(kernel, shape, pick, seed) == {OUTPUTS[name]: 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("axes", [(64, 3, 7, 7), (20, 40, 11, 11), (5, 2, 30, 31), (130, 300, 1, 1)], ids=str)
@pytest.mark.parametrize("name", OUTPUTS)
def test_large_filters_come_piece_by_piece(name, axes, dtype):
    kernel = kernels.find(name)
    given_axes = dict(zip(("o", "c", "kh", "kw"), axes, strict=True))
    assert differences(kernel, shape_of(kernel, dtype, **given_axes), 0, 1) == {OUTPUTS[name]: 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(
    "axes",
    [(9, 3, 1, 1), (70, 7, 1, 1), (40, 1, 3, 3), (33, 17, 1, 1), (20, 257, 1, 1), (4, 2, 7, 7)],
    ids=str,
)
def test_rows_of_weights_that_are_less_than_a_block_are_written_exactly(axes, dtype):
    """All of a row, or what its last group has."""
    kernel = kernels.find("fractal_z_to_oihw")
    shape = shape_of(kernel, dtype, **dict(zip(("o", "c", "kh", "kw"), axes, strict=True)))
    for pick in range(3):
        assert differences(kernel, shape, pick, 1) == {"w": 0}
    assert check(kernel, shape, P) == []


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_both_engines_give_the_same_bits(name, dtype):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, dtype, o=20, c=20, kh=3, kw=3))


@pytest.mark.parametrize("name", OUTPUTS)
def test_large_weights_take_less_than_four_times_what_the_memory_takes(name):
    kernel = kernels.find(name)
    shape = shape_of(kernel, "fp16", o=512, c=512, kh=3, kw=3)
    assert 0.3 <= efficiency(kernel, shape) <= 1


def test_integers_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find(NAME), "int32", o=1, c=1, kh=1, kw=1)
    assert str(refused.value) == (
        "kernel oihw_to_fractal_z: dtype=int32\n  rule: dtype is fp16 or fp32\n  next: change the shape"
    )
