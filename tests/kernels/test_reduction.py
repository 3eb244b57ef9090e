"""Reductions equal their references over any axes, on any matrix and tiling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import BadShape
from tests.kernels.equality import differences, efficiency, engines_agree, shape_of

NAMES = ("reduce_sum", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod")


@settings(max_examples=25)
@given(
    name=st.sampled_from(NAMES), m=st.integers(1, 300), n=st.integers(1, 300), axis=st.integers(0, 1),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_reduction_equals_its_reference(name, m, n, axis, dtype, pick, seed):
    """Sums are in fp32 and rounded once; a maximum is exact."""
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, m=m, n=n, axis=axis), pick, seed) == {"y": 0}


@settings(max_examples=25)
@given(
    name=st.sampled_from(NAMES[:2]), b=st.integers(1, 90), m=st.integers(1, 60),
    n=st.one_of(st.integers(1, 70), st.sampled_from([8, 16, 32, 513, 1000])),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_an_axis_in_the_middle_is_reduced_in_one_launch(name, b, m, n, dtype, pick, seed):
    """Few columns: many matrices at once, packed in UB; many columns: rows that end within a block."""
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, b=b, m=m, n=n, axis=0), pick, seed) == {"y": 0}


@settings(max_examples=20)
@given(
    name=st.sampled_from(NAMES[:3]), axes=st.fixed_dictionaries({
        "b": st.integers(1, 3), "m": st.integers(8, 200), "n": st.integers(1, 40).map(lambda n: n * 8),
        "axis": st.integers(0, 1), "parts": st.integers(2, 8),
    }),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_parts_of_an_axis_are_reduced_for_a_second_launch(name, axes, dtype, pick, seed):
    """Columns give a row per part, rows a block of eight numbers per part, all in fp32."""
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, out_dtype=1, **axes), pick, seed) == {"y": 0}


@settings(max_examples=25)
@given(
    name=st.sampled_from(["reduce_sum", "reduce_max", "reduce_min", "reduce_prod"]), b=st.integers(1, 30),
    m=st.integers(1, 90), n=st.integers(1, 300), axis=st.integers(0, 1), pick=st.integers(0, 2),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_integers_are_reduced_exactly(name, b, m, n, axis, pick, seed):
    """All of their 32 bits: beyond these, sums and products lose what is above."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, "int32", b=b, m=m, n=n, axis=axis)
    x = np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, (b, m, n)).astype(np.int32)
    inputs = {"x": x if b > 1 else x[0]}
    assert differences(kernel, shape, pick, seed, inputs) == {"y": 0}


@pytest.mark.parametrize("name", ["reduce_sum", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("axis", [0, 1])
def test_integers_are_reduced_in_parts(name, axis):
    kernel = kernels.find(name)
    shape = shape_of(kernel, "int32", m=300, n=640, axis=axis, parts=3)
    assert differences(kernel, shape, 0, 1) == {"y": 0}
    assert engines_agree(kernel, shape_of(kernel, "int32", m=33, n=70, axis=axis))


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_several_tiles_of_several_planes_are_reduced(dtype):
    kernel = kernels.find("reduce_sum")
    assert differences(kernel, shape_of(kernel, dtype, b=900, m=49, n=16, axis=0), 0, 0) == {"y": 0}


@pytest.mark.parametrize("name", NAMES[:4])
@pytest.mark.parametrize(("m", "n"), [(17, 12345), (2000, 70), (1, 70000), (5000, 3)])
@pytest.mark.parametrize("axis", [0, 1])
def test_long_axes_are_reduced_in_pieces(name, m, n, axis):
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, "fp32", m=m, n=n, axis=axis), 1, 0) == {"y": 0}


def test_the_maximum_of_negative_numbers_is_negative():
    """Lanes without a column take no part."""
    kernel = kernels.find("reduce_max")
    x = {"x": -1 - np.arange(33 * 5, dtype=np.float32).reshape(33, 5)}
    assert differences(kernel, shape_of(kernel, "fp32", m=33, n=5), 0, 0, x) == {"y": 0}


@pytest.mark.parametrize(("name", "value"), [("reduce_max", -np.inf), ("reduce_min", np.inf)])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_extreme_of_nothing_but_infinities_is_infinite(name, value, axis):
    kernel = kernels.find(name)
    x = {"x": np.full((20, 70), value, np.float16)}
    assert differences(kernel, shape_of(kernel, "fp16", m=20, n=70, axis=axis), 0, 0, x) == {"y": 0}


def test_a_sum_of_half_precision_does_not_overflow_on_the_way():
    """60000 + 60000 - 60000 - 59999 ... in fp32."""
    kernel = kernels.find("reduce_sum")
    x = np.full((16, 400), 60000, np.float16)
    x[:, 200:] = -60000
    x[:, 0] = 59968
    assert differences(kernel, shape_of(kernel, "fp16", m=16, n=400), 0, 0, {"x": x}) == {"y": 0}


@settings(max_examples=25)
@given(
    dtype=st.sampled_from(["fp16", "fp32"]), m=st.integers(1, 400), n=st.integers(1, 200),
    pick=st.integers(0, 1), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_gradient_of_a_bias_sums_the_rows_in_fp32(dtype, m, n, pick, seed):
    kernel = kernels.find("bias_add_grad")
    assert differences(kernel, shape_of(kernel, dtype, m=m, n=n), pick, seed) == {"db": 0}


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("reduce_sum", {"m": 33, "n": 70}),
        ("reduce_max", {"m": 33, "n": 70}),
        ("reduce_mean", {"m": 33, "n": 70, "axis": 0}),
        ("reduce_sum", {"b": 50, "m": 3, "n": 5, "axis": 0}),
        ("reduce_max", {"b": 20, "m": 49, "n": 16, "axis": 0}),
        ("reduce_sum", {"b": 3, "m": 7, "n": 777, "axis": 0}),
        ("bias_add_grad", {"m": 33, "n": 21}),
    ],
)
def test_both_engines_give_the_same_bits(name, axes):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, **axes))


@pytest.mark.parametrize(("name", "least"), [("reduce_sum", 0.85), ("reduce_max", 0.8)])
def test_wide_rows_are_reduced_near_the_speed_of_the_memory(name, least):
    """A maximum has no instruction that reduces a repeat: its last rows are transposed and folded."""
    kernel = kernels.find(name)
    assert least <= efficiency(kernel, shape_of(kernel, "fp32", m=2048, n=1024)) <= 1.0


@pytest.mark.parametrize(
    ("dtype", "axes", "least"),
    [
        ("fp32", {"m": 16000, "n": 2048, "axis": 0}, 0.8),
        ("fp32", {"b": 512, "m": 3136, "n": 16, "axis": 0}, 0.95),
        ("fp16", {"b": 512, "m": 3136, "n": 16, "axis": 0}, 0.9),
        ("fp32", {"b": 32, "m": 512, "n": 768, "axis": 0}, 0.95),
        ("fp32", {"m": 500_000, "n": 64, "axis": 0, "parts": 32}, 0.95),
        ("fp16", {"m": 8192, "n": 4096, "out_dtype": 0}, 0.85),
    ],
)  # fmt: skip
def test_large_reductions_are_bound_by_the_memory(dtype, axes, least):
    """Columns, planes of 16 channels, an axis in the middle, columns in parts, and long rows."""
    kernel = kernels.find("reduce_sum")
    assert least <= efficiency(kernel, shape_of(kernel, dtype, **axes)) <= 1.0


def test_parts_of_columns_that_are_no_whole_blocks_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("reduce_sum"), "fp32", m=4, n=9, axis=0, parts=2, out_dtype=1)
    assert str(refused.value) == (
        "kernel reduce_sum: parts=2, axis=0, m=4, n=9\n  rule: parts of columns are whole blocks\n"
        "  next: change the shape"
    )


def test_a_mean_of_integers_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("reduce_mean"), "int32", m=4, n=4)
    assert str(refused.value) == (
        "kernel reduce_mean: dtype=int32\n  rule: dtype is fp16 or fp32\n  next: change the shape"
    )


def test_another_axis_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("reduce_sum"), m=4, n=4, axis=2)
    assert str(refused.value) == "kernel reduce_sum: axis=2\n  rule: axis is 0 or 1\n  next: change the shape"
