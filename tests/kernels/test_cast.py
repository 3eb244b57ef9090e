"""Casts to and from integers of one byte; those among wider types stand with the element-wise kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from kernels.cast import NUMPY
from tests.kernels.equality import differences, engines_agree, memory_share, shape_of

CODES = {"fp16": 0, "fp32": 1, "int32": 2, "int8": 3, "uint8": 4}
TYPES = st.sampled_from(list(CODES))


@settings(max_examples=30)
@given(n=st.integers(1, 40_000), source=TYPES, to=TYPES, pick=st.integers(0, 3), seed=st.integers(0, 99))
def test_casts_between_all_types_round_to_nearest_even(n, source, to, pick, seed):
    kernel = kernels.find("cast")
    with np.errstate(all="ignore"):
        x = np.random.default_rng(seed).normal(60, 60, n).clip(0, 127).astype(NUMPY[CODES[source]])
    shape = shape_of(kernel, source, n=n, out_dtype=CODES[to])
    assert differences(kernel, shape, pick, seed, {"x": x}) == {"y": 0}


@pytest.mark.parametrize("source", ["fp16", "fp32", "int32"])
@pytest.mark.parametrize(("to", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255)])
def test_bytes_saturate_and_are_rounded_once(source, to, low, high):
    """0.50001 becomes 1 although fp16, on the way, does not tell it from 0.5."""
    kernel = kernels.find("cast")
    x = np.array([0.5, 1.5, 0.50001, 127.4, 128, 254.6, 300, -0.6, -128.4, -200, 1e6, -1e6])
    x = x.clip(-60000, 60000).astype(NUMPY[CODES[source]])
    shape = shape_of(kernel, source, n=len(x), out_dtype=CODES[to])
    assert differences(kernel, shape, 0, 0, {"x": x}) == {"y": 0}
    y = kernel.reference(shape, x)[0]
    assert (y.min(), y.max()) == (low, high)
    assert y[2] == int(np.rint(float(x[2])))


def test_no_number_becomes_zero():
    kernel = kernels.find("cast")
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    shape = shape_of(kernel, "fp32", n=3, out_dtype=CODES["int8"])
    assert differences(kernel, shape, 0, 0, {"x": x}) == {"y": 0}
    assert kernel.reference(shape, x)[0].tolist() == [0, 127, -128]


@pytest.mark.parametrize(("source", "to"), [("fp32", "int8"), ("uint8", "fp16"), ("int8", "int32")])
def test_both_engines_give_the_same_bits(source, to):
    kernel = kernels.find("cast")
    assert engines_agree(kernel, shape_of(kernel, source, n=3000, out_dtype=CODES[to]))


def test_a_large_cast_of_bytes_moves_at_nine_tenths_of_the_memory():
    kernel = kernels.find("cast")
    assert memory_share(kernel, shape_of(kernel, "uint8", n=1 << 24, out_dtype=CODES["fp16"])) >= 0.9


def test_other_types_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("cast"), "bf16", n=3, out_dtype=0)
    assert str(refused.value) == (
        "kernel cast: dtype=bf16\n  rule: dtype is fp16 or fp32 or int32 or int8 or uint8\n"
        "  next: change the shape"
    )
