"""Pooling to any size of result equals its reference, and so does the gradient of averages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.errors import BadShape
from kernels import find
from kernels.pooling_adaptive import covered, spans
from tests.kernels.equality import P, differences, engines_agree, shape_of

NAMES = ("adaptive_avg_pool", "adaptive_max_pool", "adaptive_avg_pool_grad")


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    axes=st.fixed_dictionaries({
        "n": st.integers(1, 3), "c": st.integers(1, 40), "h": st.integers(1, 20), "w": st.integers(1, 30),
        "oh": st.integers(1, 12), "ow": st.integers(1, 12),
    }),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_size_of_result_equals_the_reference(name, axes, dtype, pick, seed):
    """Windows that overlap, that repeat the image, and that are the whole image."""
    kernel = find(name)
    assert not any(differences(kernel, shape_of(kernel, dtype, **axes), pick, seed).values())


@given(windows=st.integers(1, 50), length=st.integers(1, 50))
def test_windows_cover_the_axis_in_order(windows, length):
    """The first begins at 0, the last ends at the end, and none leaves a gap to the next."""
    found = spans(windows, length)
    assert (found[0].start, found[-1].stop) == (0, length)
    assert all(left.stop >= right.start for left, right in pairwise(found))
    emitted = [covered.py_func(None, i, windows, length) for i in range(windows)]
    assert [(span.start, span.end) for span in emitted] == [(span.start, span.stop) for span in found]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_rows_longer_than_a_tile_are_pooled_in_pieces(name, dtype):
    kernel = find(name)
    shape = shape_of(kernel, dtype, n=1, c=20, h=3, w=1900, oh=2, ow=3)
    assert not any(differences(kernel, shape, 0, 1).values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "axes", [(2, 20, 1, 130, 1, 3), (1, 16, 3, 5, 2, 150), (2, 16, 90, 90, 2, 2)], ids=str
)
def test_planes_that_are_wide_or_large_are_pooled_by_rows(name, axes):
    """Where instructions cannot step from row to row, or a plane does not fit."""
    kernel = find(name)
    shape = shape_of(kernel, "fp16", **dict(zip(("n", "c", "h", "w", "oh", "ow"), axes, strict=True)))
    assert kernel.tiling_type.default(shape, P).planes == 0
    assert not any(differences(kernel, shape, 0, 1).values())


@pytest.mark.parametrize("name", NAMES)
def test_both_engines_give_the_same_bits(name):
    kernel = find(name)
    assert engines_agree(kernel, shape_of(kernel, "fp16", n=3, c=20, h=13, w=11, oh=4, ow=3))


def test_more_columns_than_a_buffer_holds_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("adaptive_avg_pool"), n=1, c=1, h=5, w=5, oh=1, ow=1025)
    assert str(refused.value) == (
        "kernel adaptive_avg_pool: ow=1025\n  rule: at most 1024 columns of results\n  next: change the shape"
    )
