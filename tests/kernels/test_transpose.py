"""Axes in any order, exactly, near the speed of the memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.run import random_inputs, run
from kernels.transpose import ORDERS, TransposeShape
from tests.kernels.equality import differences, efficiency, engines_agree, memory_share, shape_of

TYPES = st.sampled_from(["fp16", "fp32", "int32"])
PICK, SEED = st.integers(0, 3), st.integers(0, 99)
LENGTH = st.one_of(st.integers(1, 20), st.sampled_from([1, 16, 33, 64, 130]))


@settings(max_examples=60)
@given(
    lengths=st.tuples(LENGTH, LENGTH, LENGTH, LENGTH),
    perm=st.integers(0, 23),
    dtype=TYPES,
    pick=PICK,
    seed=SEED,
)
def test_any_order_of_four_axes(lengths, perm, dtype, pick, seed):
    kernel = kernels.find("transpose")
    a, b, c, d = lengths
    shape = shape_of(kernel, dtype, a=1 if b * c * d > 50_000 else a, b=b, c=c, d=d, perm=perm)
    assert differences(kernel, shape, pick, seed) == {"y": 0}


@settings(max_examples=30)
@given(m=st.integers(1, 300), n=st.integers(1, 300), b=st.integers(1, 3), dtype=TYPES, pick=PICK, seed=SEED)
def test_matrices_are_turned(m, n, b, dtype, pick, seed):
    kernel = kernels.find("transpose")
    assert differences(kernel, shape_of(kernel, dtype, b=b, c=m, d=n, perm=1), pick, seed) == {"y": 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(("m", "n"), [(3, 20000), (20000, 3), (1, 5000), (5000, 1), (17, 3000), (1001, 130)])
def test_long_and_narrow_matrices_are_turned(m, n, dtype):
    kernel = kernels.find("transpose")
    assert differences(kernel, shape_of(kernel, dtype, c=m, d=n, perm=1), 0, 1) == {"y": 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(
    "axes",
    [
        {"c": 40, "d": 30, "perm": 1},
        {"b": 4, "c": 20, "d": 16, "perm": 2},
        {"b": 9, "c": 3, "d": 2, "perm": 1},
    ],
)
def test_both_engines_give_the_same_bits(axes, dtype):
    kernel = kernels.find("transpose")
    assert engines_agree(kernel, shape_of(kernel, dtype, **axes))


@given(lengths=st.lists(st.integers(1, 3), min_size=1, max_size=6), data=st.data())
def test_neighbours_that_stay_count_as_one(lengths, data):
    """Any number of axes, as long as four of them remain."""
    axes = data.draw(st.permutations(range(len(lengths))))
    try:
        shape = TransposeShape.along(lengths, axes)
    except BadShape:
        return
    x = np.arange(np.prod(lengths)).reshape(lengths)
    turned = x.reshape(shape.lengths).transpose(ORDERS[shape.perm])
    assert np.array_equal(turned.ravel(), x.transpose(axes).ravel())


@pytest.mark.parametrize(
    ("dtype", "axes", "share"),
    [
        ("fp16", {"c": 2048, "d": 2048, "perm": 1}, 0.9),
        ("fp32", {"c": 2048, "d": 2048, "perm": 1}, 0.7),
        ("fp16", {"a": 8, "b": 512, "c": 16, "d": 64, "perm": 2}, 0.9),
        ("fp16", {"a": 8, "b": 16, "c": 512, "d": 64, "perm": 2}, 0.9),
    ],
)
def test_large_arrays_are_turned_near_the_speed_of_the_memory(dtype, axes, share):
    """Four-byte numbers pass the vector unit twice, which takes longer than the memory."""
    kernel = kernels.find("transpose")
    shape = shape_of(kernel, dtype, **axes)
    assert memory_share(kernel, shape) >= share
    assert efficiency(kernel, shape) <= 1


@pytest.mark.parametrize("item", [64, 80, 96, 160, 192, 240, 256])
def test_items_of_any_number_of_blocks_find_room(item):
    """128 to 512 bytes of each place go together."""
    kernel = kernels.find("transpose")
    shape = shape_of(kernel, "fp16", a=2, b=40, c=24, d=item, perm=ORDERS.index((0, 2, 1, 3)))
    x = random_inputs(kernel, shape, 1)
    outputs, _ = run(kernel, shape, x, Chip("ascend910a"))
    assert np.array_equal(outputs["y"], x["x"].transpose(0, 2, 1, 3))


def test_more_than_four_axes_that_all_move_are_refused():
    with pytest.raises(BadShape) as refused:
        TransposeShape.along((2, 3, 2, 3, 2), (4, 3, 2, 1, 0))
    assert str(refused.value) == (
        "kernel transpose: axes (4, 3, 2, 1, 0) of (2, 3, 2, 3, 2)\n  rule: at most four axes are left when "
        "neighbours that stay so count as one\n  next: transpose in two steps"
    )
