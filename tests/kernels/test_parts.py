"""Concatenation, slices and padding equal NumPy's on any lengths, and move at the speed of the memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.check import check
from kernels.run import place
from kernels.samples import odd_shapes
from tests.kernels.equality import P, differences, efficiency, engines_agree, memory_share, shape_of

TYPES = st.sampled_from(["fp16", "fp32", "int32"])
PICK, SEED = st.integers(0, 3), st.integers(0, 99)
WIDTHS = st.one_of(st.integers(1, 40), st.integers(1, 400), st.sampled_from([16, 64, 1024, 20000]))
FAMILY = ("concat2", "concat3", "concat4", "concat8", "slice_axis", "pad")


@settings(max_examples=40)
@given(
    count=st.sampled_from([2, 3, 4, 8]), m=st.integers(1, 90),
    widths=st.lists(WIDTHS, min_size=8, max_size=8),
    dtype=TYPES, pick=PICK, seed=SEED,
)  # fmt: skip
def test_arrays_are_put_side_by_side(count, m, widths, dtype, pick, seed):
    """Narrow parts beside wide ones, rows of whole blocks and of none."""
    kernel = kernels.find(f"concat{count}")
    axes = dict(zip("abcdefgh"[:count], widths, strict=False))
    shape = shape_of(kernel, dtype, m=min(m, 400_000 // sum(axes.values())) or 1, **axes)
    assert differences(kernel, shape, pick, seed) == {"y": 0}


@settings(max_examples=40)
@given(
    m=st.integers(1, 60), start=st.integers(0, 50), k=WIDTHS, step=st.integers(1, 4), d=st.integers(1, 20),
    dtype=TYPES, pick=PICK, seed=SEED,
)  # fmt: skip
def test_slices_equal_those_of_numpy(m, start, k, step, d, dtype, pick, seed):
    kernel = kernels.find("slice_axis")
    m, d = (m, d) if k < 500 else (1 + m % 3, 1 + d % 2)
    axes = {
        "m": m,
        "n": start + (k - 1) * step + 1 + seed,
        "k": k,
        "start": start,
        "step": step,
        "d": 1 + seed % 3,
    }
    assert differences(kernel, shape_of(kernel, dtype, **axes), pick, seed) == {"y": 0}


@settings(max_examples=40)
@given(
    m=st.integers(1, 60), n=WIDTHS, before=st.integers(0, 40), after=st.integers(0, 40),
    value=st.integers(-3, 3), dtype=TYPES, pick=PICK, seed=SEED,
)  # fmt: skip
def test_padding_is_the_constant(m, n, before, after, value, dtype, pick, seed):
    kernel = kernels.find("pad")
    axes = {
        "m": m if n < 500 else 1 + m % 3,
        "n": n,
        "before": before,
        "after": after,
        "value": value,
        "d": 1 + seed % 3,
    }
    assert differences(kernel, shape_of(kernel, dtype, **axes), pick, seed) == {"y": 0}


@pytest.mark.parametrize(
    "widths", [(1,) * 7 + (2,), (15,) * 8, (17,) * 7 + (16,), (1, 17, 1, 17, 1, 17, 1, 30)], ids=str
)
def test_many_narrow_parts_are_packed_or_written_by_many_cores(widths):
    """None of them is left to a single core."""
    kernel = kernels.find("concat8")
    shape = shape_of(kernel, m=600, **dict(zip("abcdefgh", widths, strict=True)))
    assert differences(kernel, shape, 0, 1) == {"y": 0}
    assert check(kernel, shape) == []
    task = place(kernel, shape, None, Chip(P)).task
    assert min(len(program.words) for program in task.programs) > 20


@pytest.mark.parametrize("name", FAMILY)
def test_both_engines_give_the_same_bits(name):
    kernel = kernels.find(name)
    assert all(engines_agree(kernel, shape) for shape in list(odd_shapes(kernel))[:2])


@pytest.mark.parametrize("name", ["concat2", "concat3", "pad"])
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_the_last_block_of_narrow_parts_is_put_together(name, dtype):
    """The last 32 bytes belong to two parts; nothing behind the result is touched."""
    kernel = kernels.find(name)
    given = {
        "concat2": {"a": 500, "b": 1},
        "concat3": {"a": 500, "b": 2, "c": 3},
        "pad": {"n": 500, "after": 3},
    }
    for m in (1, 2, 9):
        shape = shape_of(kernel, dtype, m=m, **given[name])
        assert differences(kernel, shape, 0, 1) == {"y": 0}
        assert check(kernel, shape) == []


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("concat2", {"m": 4096, "a": 512, "b": 1536}),
        ("concat8", {"m": 1, **dict.fromkeys("abcdefgh", 1 << 19)}),
        ("slice_axis", {"m": 1, "n": 1 << 15, "k": 1 << 14, "start": 1 << 10, "d": 256}),
        ("pad", {"m": 1024, "n": 1024, "before": 16, "after": 16}),
    ],
)
def test_long_rows_move_at_nine_tenths_of_the_memory(name, axes):
    kernel = kernels.find(name)
    shape = shape_of(kernel, "fp32", **axes)
    assert memory_share(kernel, shape) >= 0.9
    assert efficiency(kernel, shape) <= 1


def test_a_slice_that_leaves_the_axis_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("slice_axis"), m=1, n=10, k=4, start=4, step=2)
    assert str(refused.value) == (
        "kernel slice_axis: start=4, k=4, step=2, n=10\n  rule: start + (k - 1) * step is below n\n"
        "  next: change the shape"
    )
