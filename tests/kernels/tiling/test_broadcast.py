"""Any two shapes that broadcast come down to one launch of an element-wise kernel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import ShapeMismatch
from kernels.pieces.broadcast import AXES, COLUMN, NUMBER, ROW, SAME
from kernels.tiling.broadcast import binary_axes, merged
from tests.kernels.equality import differences, engines_agree, memory_share, shape_of


@st.composite
def pairs(draw):
    """Draw two shapes of up to five axes that broadcast; some axes are missing or 1."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 7, 16, 40]), min_size=1, max_size=5))
    a = tuple(length if draw(st.booleans()) else 1 for length in shape)
    b = tuple(
        length if draw(st.booleans()) or left == 1 else 1 for length, left in zip(shape, a, strict=True)
    )
    return a, b[draw(st.integers(0, len(b))) :] if draw(st.booleans()) else b


@settings(max_examples=60, deadline=None)
@given(
    shapes=pairs(), name=st.sampled_from(["sub", "div", "maximum"]), dtype=st.sampled_from(["fp16", "fp32"]),
    pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_broadcast_equals_the_reference(shapes, name, dtype, pick, seed):
    """Either source, or each in turn, may lack axes; rows are packed, aligned, or stored one by one."""
    a, b = shapes
    kernel, keys = kernels.find(name), binary_axes(a, b)
    shape = shape_of(kernel, dtype, **keys)
    assert shape.n == np.prod(np.broadcast_shapes(a, b))
    assert not any(differences(kernel, shape, pick, seed).values())


@settings(max_examples=60)
@given(shapes=pairs())
def test_the_kernels_reference_computes_what_numpy_broadcasts(shapes):
    """The keys mean the shapes that they were made of."""
    generator = np.random.Generator(np.random.Philox(1))
    a, b = (generator.standard_normal(shape).astype(np.float32) for shape in shapes)
    kernel = kernels.find("sub")
    shape = shape_of(kernel, "fp32", **binary_axes(*shapes))
    left, right = (o.shape for o in kernel.operands(shape)[:2])
    (found,) = kernel.reference(shape, a.reshape(left), b.reshape(right))
    assert np.array_equal(found.reshape(-1), (a - b).reshape(-1))


@pytest.mark.parametrize(
    ("a", "b", "pattern"),
    [
        ((4, 5), (4, 5), SAME), ((4, 5), (), NUMBER), ((4, 5), (5,), ROW), ((4, 5), (4, 1), COLUMN),
        ((5,), (4, 5), AXES), ((2, 3, 4), (3, 1), AXES),
    ],
)  # fmt: skip
def test_common_broadcasts_keep_their_own_ways(a, b, pattern):
    assert binary_axes(a, b)["pattern"] == pattern


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3, 5000), (3, 1)), ((3, 1, 4100), (1, 5, 4100)), ((300, 1), (1, 2049)),
        ((2, 9, 1001), (2, 1, 1001)), ((1000, 2, 3), (1000, 1, 3)),
    ],
)  # fmt: skip
def test_long_and_tiny_planes_are_right(a, b):
    """Rows in pieces, rows that end within a block, planes of a few bytes."""
    kernel = kernels.find("sub")
    assert not any(differences(kernel, shape_of(kernel, "fp16", **binary_axes(a, b)), 0, 1).values())


@pytest.mark.parametrize(
    ("a", "b"), [((9, 200, 70), (200, 1)), ((900, 1), (1, 37)), ((4, 1, 64), (4, 9, 64))]
)
def test_both_engines_give_the_same_bits(a, b):
    kernel = kernels.find("sub")
    assert engines_agree(kernel, shape_of(kernel, "fp16", **binary_axes(a, b)))


@pytest.mark.parametrize(
    ("a", "b"),
    [((32, 64, 56, 56), (64, 1, 1)), ((8, 12, 512, 512), (8, 1, 512, 512)), ((4096, 1), (1, 4096))],
)
def test_large_broadcasts_are_bound_by_the_memory(a, b):
    """A bias per channel, a mask that all heads share, an outer sum."""
    kernel = kernels.find("add")
    assert memory_share(kernel, shape_of(kernel, "fp32", **binary_axes(a, b))) >= 0.9


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ShapeMismatch) as refused:
        merged((4, 3), (4, 2))
    assert str(refused.value) == (
        "shapes (4, 3) and (4, 2) cannot be broadcast\n"
        "  rule: from the last axis on, lengths are equal or one of them is 1\n  next: change a shape"
    )


def test_more_than_five_axes_are_refused():
    with pytest.raises(ShapeMismatch) as refused:
        binary_axes((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 2))
    assert str(refused.value) == (
        "shapes (2, 1, 2, 1, 2, 1) and (1, 2, 1, 2, 1, 2) alternate 6 times between those who have an axis\n"
        "  rule: at most 5 axes are left where neighbours of one kind are merged\n"
        "  next: copy one of them to the shape of the result first"
    )
