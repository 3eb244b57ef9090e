"""Products of int8 are exact, and dequantised within one rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import FP16, FP32
from kernels.matmul_int8 import matmul_bias_dequant, matmul_dequant, matmul_int8
from kernels.run import random_inputs, run
from kernels.tiling.matmul import MatmulTiling
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of

EDGES, PICKS, SEEDS = st.integers(1, 150), st.integers(0, 15), st.integers(0, 99)
AXES = {"m": EDGES, "k": EDGES, "n": EDGES, "b": st.integers(1, 3), "shared": st.integers(0, 2)}


def checked(axes: dict[str, int]) -> dict[str, int]:
    """Return axes of which only a batch shares something."""
    return axes | {"shared": axes["shared"] if axes["b"] > 1 else 0}


@settings(max_examples=15, deadline=None)
@given(
    axes=st.fixed_dictionaries(AXES), act=st.integers(0, 1), pick=st.integers(0, 15), seed=st.integers(0, 99)
)
def test_sums_of_int8_products_are_exact(axes, act, pick, seed):
    """Any shape and tiling; padding is zero."""
    shape = shape_of(matmul_int8, **checked(axes), act=act)
    assert differences(matmul_int8, shape, pick, seed) == {"c": 0}


@settings(max_examples=20, deadline=None)
@given(
    axes=st.fixed_dictionaries(AXES),
    act=st.integers(0, 3),
    out_dtype=st.sampled_from([FP16, FP32]),
    is_single=st.booleans(),
    pick=PICKS,
    seed=SEEDS,
)
def test_sums_are_scaled_for_all_or_for_each_column(axes, act, out_dtype, is_single, pick, seed):
    """One scale, or one for each column, and an activation on top."""
    scales = 1 if is_single else axes["n"]
    shape = shape_of(matmul_dequant, **checked(axes), act=act, out_dtype=out_dtype, scales=scales)
    assert differences(matmul_dequant, shape, pick, seed) == {"c": 0}


@pytest.mark.parametrize("scales", [1, 50])
@pytest.mark.parametrize("kernel", [matmul_dequant, matmul_bias_dequant], ids=lambda kernel: kernel.name)
def test_the_simpy_core_computes_the_same_bits_of_int8(kernel, scales):
    assert engines_agree(kernel, shape_of(kernel, m=70, k=90, n=50, b=2, act=2, scales=scales))


def test_a_bias_of_whole_numbers_is_added_before_scaling():
    """(3 * 5 + 7) * 0.5 is exact."""
    shape = shape_of(matmul_bias_dequant, m=1, k=1, n=2, scales=2)
    inputs = {
        "a": np.array([[3]], np.int8),
        "b": np.array([[5], [-5]], np.int8),
        "bias": np.array([7, 7], np.int32),
        "scale": np.array([0.5, 0.25], np.float32),
    }
    outputs, _ = run(matmul_bias_dequant, shape, inputs, Chip(P))
    assert outputs["c"].tolist() == [[11.0, -2.0]]


def test_padding_behind_a_bias_of_whole_numbers_is_zero():
    shape = shape_of(matmul_bias_dequant, m=333, k=50, n=21, scales=21)
    assert differences(matmul_bias_dequant, shape, 0, 1) == {"c": 0}


def test_the_largest_products_do_not_overflow():
    """4096 times 127 * -128 fits 32 bits."""
    shape = shape_of(matmul_int8, m=1, k=4096, n=1)
    inputs = {"a": np.full((1, 4096), 127, np.int8), "b": np.full((1, 4096), -128, np.int8)}
    outputs, _ = run(matmul_int8, shape, inputs, Chip(P))
    assert outputs["c"].tolist() == [[-66584576]]


@pytest.mark.parametrize(
    ("kernel", "axes", "rule", "numbers"),
    [
        (matmul_int8, {"dtype": "fp16"}, "dtype is int8", "dtype=fp16"),
        (matmul_int8, {"out_dtype": FP16}, "out_dtype is int32", "out_dtype=fp16"),
        (matmul_int8, {"act": 2}, "act of whole numbers is 0 or 1", "act=2"),
        (
            matmul_int8,
            {"trans_a": 1},
            "fractals of int8 are not transposed: a is stored (m, k), b (n, k)",
            "trans_a=1, trans_b=1",
        ),
        (matmul_dequant, {"scales": 3}, "scales is 1 or n", "n=8, scales=3"),
    ],
)
def test_what_the_cube_does_not_take_is_refused(kernel, axes, rule, numbers):
    with pytest.raises(BadShape) as refused:
        shape_of(kernel, m=4, k=4, n=8, **axes)
    expected = f"kernel {kernel.name}: {numbers}\n  rule: {rule}\n  next: change the shape"
    assert str(refused.value) == expected


@pytest.mark.parametrize(
    ("kernel", "axes", "least"),
    [
        (matmul_int8, {}, 0.80),
        (matmul_dequant, {"scales": 2048}, 0.80),
        (matmul_bias_dequant, {"act": 1}, 0.75),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_int8_keeps_the_cube_busy_at_twice_the_rate(kernel, axes, least):
    """Of 524 TOPS."""
    assert efficiency(kernel, shape_of(kernel, m=2048, k=4096, n=2048, **axes)) >= least


def test_int8_inputs_are_drawn_with_either_sign():
    inputs = random_inputs(matmul_int8, shape_of(matmul_int8, m=30, k=30, n=30), 1)
    assert inputs["a"].min() < 0 < inputs["a"].max()


def test_the_default_tiling_of_int8_has_whole_fractals():
    """32 numbers make a row of a fractal."""
    tiling = MatmulTiling.default(shape_of(matmul_int8, m=300, k=1000, n=300), P)
    assert (tiling.k0 % 32, tiling.l1_k % 32, tiling.head_k % 32) == (0, 0, 0)
