"""Rows by number, and rows added by number, equal NumPy's; the sums are the same bits at every run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.check import check
from kernels.run import random_inputs, run
from tests.kernels.equality import P, differences, engines_agree, shape_of

FLOATS, PICK, SEED = st.sampled_from(["fp16", "fp32"]), st.integers(0, 3), st.integers(0, 99)


@settings(max_examples=30)
@given(
    n=st.integers(1, 300), v=st.integers(1, 300),
    d=st.one_of(st.integers(1, 200), st.sampled_from([64, 5000])),
    dtype=st.sampled_from(["fp16", "fp32", "int32"]), pick=PICK, seed=SEED,
)  # fmt: skip
def test_rows_are_gathered(n, v, d, dtype, pick, seed):
    """Rows of whole blocks and of none, short ones and long ones."""
    kernel = kernels.find("gather")
    assert differences(kernel, shape_of(kernel, dtype, n=n, v=v, d=d), pick, seed) == {"y": 0}


@settings(max_examples=30)
@given(
    n=st.integers(1, 300),
    v=st.integers(1, 300),
    d=st.integers(1, 300),
    dtype=FLOATS,
    pick=PICK,
    seed=SEED,
)
def test_rows_of_any_length_are_added(n, v, d, dtype, pick, seed):
    kernel = kernels.find("scatter_add")
    assert differences(kernel, shape_of(kernel, dtype, n=n, v=v, d=d), pick, seed) == {"dtable": 0}


@pytest.mark.parametrize(
    ("name", "d"),
    [("gather", 24), ("gather", 5), ("scatter_add", 24), ("scatter_add", 27), ("scatter_add", 3)],
)
@pytest.mark.parametrize("outside", [-1, 9, 1 << 30, -(1 << 31)])
def test_numbers_outside_mean_the_nearest_row_or_none(name, d, outside):
    """Gathering, the nearest; adding, none."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, n=40, v=9, d=d)
    inputs = random_inputs(kernel, shape, 1)
    inputs["index"][::3] = outside
    assert set(differences(kernel, shape, 0, 1, inputs).values()) == {0}


def test_a_sum_of_many_rows_is_the_same_bits_at_every_run():
    """All rows meet in two of the table."""
    kernel = kernels.find("scatter_add")
    shape = shape_of(kernel, n=500, v=2, d=64)
    inputs = random_inputs(kernel, shape, 3)
    first, second = (run(kernel, shape, inputs, Chip(P))[0]["dtable"] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    expected = np.zeros((2, 64), np.float32)
    for number, row in zip(inputs["index"], inputs["dy"], strict=True):
        expected[number] += row
    assert first.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["gather", "scatter_add"])
def test_both_engines_give_the_same_bits(name):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, n=40, v=30, d=48))


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(
    ("v", "d"), [(1, 1), (7, 1), (9, 1), (2, 3), (3, 5), (16, 7), (1, 7), (5, 9), (3, 1027)]
)
def test_rows_shorter_than_a_block_do_not_reach_beyond_the_table(v, d, dtype):
    """Nor do the ends of longer ones reach into the row behind."""
    kernel = kernels.find("scatter_add")
    shape = shape_of(kernel, dtype, n=35, v=v, d=d)
    assert differences(kernel, shape, 0, 1) == {"dtable": 0}
    assert check(kernel, shape, P) == []
