"""Constants, ranges, copies and one-hot rows equal NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from tests.kernels.equality import differences, efficiency, engines_agree, memory_share, shape_of

NUMBERS = st.sampled_from(["fp16", "fp32", "int32"])
PICK, SEED, LENGTH = st.integers(0, 3), st.integers(0, 99), st.integers(1, 50_000)


@settings(max_examples=15)
@given(n=LENGTH, value=st.integers(-2000, 2000), dtype=NUMBERS, pick=PICK)
def test_all_elements_are_the_number(n, value, dtype, pick):
    kernel = kernels.find("fill_value")
    assert differences(kernel, shape_of(kernel, dtype, n=n, value=value), pick, 0) == {"y": 0}


@settings(max_examples=15)
@given(n=LENGTH, dtype=st.sampled_from(["fp16", "fp32", "int32", "int8", "uint8"]), pick=PICK, seed=SEED)
def test_a_copy_is_the_same_bytes(n, dtype, pick, seed):
    kernel = kernels.find("copy")
    assert differences(kernel, shape_of(kernel, dtype, n=n), pick, seed) == {"y": 0}


@settings(max_examples=20)
@given(
    n=LENGTH, start=st.one_of(st.integers(-50, 50), st.integers(-(1 << 30), 1 << 30)),
    step=st.integers(1, 500), dtype=st.sampled_from(["int32", "fp32"]), pick=PICK,
)  # fmt: skip
def test_numbers_follow_each_other(n, start, step, dtype, pick):
    """Integers are exact also where float32, in which constants are carried, is not."""
    kernel = kernels.find("arange")
    assert differences(kernel, shape_of(kernel, dtype, n=n, start=start, step=step), pick, 0) == {"y": 0}


@settings(max_examples=25)
@given(
    m=st.integers(1, 300), n=st.one_of(st.integers(1, 200), st.integers(1900, 5000)), on=st.integers(-3, 9),
    off=st.integers(-3, 3), dtype=NUMBERS, pick=PICK, seed=SEED,
)  # fmt: skip
def test_rows_are_on_at_one_place(m, n, on, off, dtype, pick, seed):
    """Numbers outside of the row, which are drawn too, leave it off."""
    kernel = kernels.find("one_hot")
    shape = shape_of(kernel, dtype, m=m if n < 1000 else 1 + m % 9, n=n, on=on, off=off)
    assert differences(kernel, shape, pick, seed) == {"y": 0}


@pytest.mark.parametrize("n", [10, 1001, 3000])
def test_extreme_numbers_have_no_place(n):
    """Long rows hold one block each that is written by its place."""
    kernel = kernels.find("one_hot")
    x = np.array([0, 9, n - 1, n, -1, 1 << 30, -(1 << 31), (1 << 31) - 1], np.int32)
    assert differences(kernel, shape_of(kernel, m=8, n=n), 0, 0, {"x": x}) == {"y": 0}


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("fill_value", {"n": 3000}),
        ("copy", {"n": 3000}),
        ("arange", {"n": 3000}),
        ("one_hot", {"m": 40, "n": 10}),
    ],
)
def test_both_engines_give_the_same_bits(name, axes):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, **axes))


def test_large_arrays_are_written_and_copied_at_the_speed_of_the_memory():
    """Writes go at the rate of the cores' own paths until L2 is full."""
    fill, copy = kernels.find("fill_value"), kernels.find("copy")
    assert memory_share(copy, shape_of(copy, "fp32", n=1 << 23)) >= 0.9
    assert 0.7 <= efficiency(fill, shape_of(fill, "fp32", n=1 << 24)) <= 1


def test_a_range_beyond_32_bits_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("arange"), n=1 << 23, step=300)
    assert str(refused.value) == (
        "kernel arange: start=0, step=300, n=8388608\n  rule: all numbers are below 2 ** 31\n"
        "  next: change the shape"
    )
