"""Norms, clipping, layer-wise rates and the check for finite numbers equal their references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.run import run
from tests.kernels.equality import differences, engines_agree, memory_share, shape_of

FLOATS = st.sampled_from(["fp16", "fp32"])
CODES = {"fp16": 0, "fp32": 1}
LENGTH, PICK, SEED = st.integers(1, 60000), st.integers(0, 3), st.integers(0, 99)


def sums_of(x: np.ndarray, chip: str = "ascend910a") -> np.ndarray:
    """Return the partial sums of squares that a chip computes."""
    kernel = kernels.find("square_sum")
    outputs, _ = run(kernel, kernel.shape_type(n=x.size), {"x": x}, Chip(chip))
    return outputs["sums"]


def status_of(*tensors: np.ndarray) -> float:
    """Return what the two launches say about tensors, one after the other."""
    check, combine = kernels.find("all_finite"), kernels.find("float_status")
    dtype = CODES["fp16" if tensors[0].dtype == np.float16 else "fp32"]
    sums = [
        run(check, check.shape_type(n=x.size, dtype=dtype), {"x": x}, Chip("ascend910a"))[0]["sums"]
        for x in tensors
    ]
    shape = combine.shape_type(n=len(tensors))
    return float(run(combine, shape, {"sums": np.stack(sums)}, Chip("ascend910a"))[0]["status"][0])


@settings(max_examples=20)
@given(name=st.sampled_from(["square_sum", "all_finite"]), n=LENGTH, dtype=FLOATS, pick=PICK, seed=SEED)
def test_partial_sums_equal_the_reference(name, n, dtype, pick, seed):
    """Parts without elements are zero."""
    kernel = kernels.find(name)
    assert differences(kernel, shape_of(kernel, dtype, n=n), pick, seed) == {"sums": 0}


@settings(max_examples=20)
@given(name=st.sampled_from(["clip_by_norm", "lars_update"]), n=LENGTH, dtype=FLOATS, pick=PICK, seed=SEED)
def test_scaled_gradients_equal_the_reference(name, n, dtype, pick, seed):
    kernel = kernels.find(name)
    shape = shape_of(kernel, n=n, grad_dtype=CODES[dtype])
    assert set(differences(kernel, shape, pick, seed).values()) == {0}


@settings(max_examples=8)
@given(n=st.integers(1, 70), name=st.sampled_from(["global_norm", "float_status"]), seed=SEED)
def test_totals_equal_the_reference(n, name, seed):
    kernel = kernels.find(name)
    assert set(differences(kernel, shape_of(kernel, n=n), 0, seed).values()) == {0}


@pytest.mark.parametrize("n", [1, 129, 20_001])
def test_partial_sums_are_the_same_bits_on_chips_of_32_and_of_2_cores(n):
    x = np.random.Generator(np.random.Philox(n)).standard_normal(n).astype(np.float32)
    assert sums_of(x).tobytes() == sums_of(x, "ascend310").tobytes()


def test_partial_sums_are_the_same_bits_for_every_tiling():
    kernel, outputs = kernels.find("square_sum"), set()
    shape = shape_of(kernel, n=100_001)
    x = np.random.Generator(np.random.Philox(1)).standard_normal(shape.n).astype(np.float32)
    for tile in (128, 1024, 4096):
        tiling = kernel.tiling_type(tile=tile)
        outputs.add(run(kernel, shape, {"x": x}, Chip("ascend910a"), tiling)[0]["sums"].tobytes())
    assert len(outputs) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_one_number_that_is_not_finite_sets_the_status(dtype, wrong):
    """In any tensor, at any place, also the last."""
    clean, x = np.full(300, np.finfo(dtype).max, dtype), np.zeros(5001, dtype)
    assert status_of(clean, x) == 0
    x[-1] = wrong
    assert status_of(clean, x) == 1
    assert status_of(x, clean) == 1


def test_gradients_below_the_limit_are_not_clipped():
    """The clipped ones have the norm that is allowed."""
    kernel, g = kernels.find("clip_by_norm"), np.float32([3, 4])
    for limit, expected in ((10, [3, 4]), (1, [0.6, 0.8])):
        inputs = {"g": g, "norm": np.float32([5]), "clip_norm": np.float32([limit])}
        outputs, _ = run(kernel, kernel.shape_type(n=2), inputs, Chip("ascend910a"))
        np.testing.assert_allclose(outputs["clipped"], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["lars_update", "lamb_apply"])
def test_a_layer_whose_weights_are_zero_is_not_scaled(name):
    """The ratio of the norms is 1 where one of them is 0, and not NaN."""
    kernel = kernels.find(name)
    shape = kernel.shape_type(n=4)
    inputs = {operand.name: np.ones(operand.shape, np.float32) for operand in kernel.operands(shape)}
    inputs["w_sums"] = np.zeros(512, np.float32)
    (result,), expected = (
        run(kernel, shape, inputs, Chip("ascend910a"))[0].values(),
        {"lars_update": 2.0, "lamb_apply": 0.0}[name],
    )
    assert result.tolist() == [expected] * 4


def test_both_engines_give_the_same_bits():
    for name in ("square_sum", "clip_by_norm", "lars_update"):
        kernel = kernels.find(name)
        assert engines_agree(kernel, shape_of(kernel, n=3000))


@pytest.mark.parametrize("name", ["square_sum", "all_finite"])
def test_sums_read_at_nine_tenths_of_the_bandwidth_of_the_memory(name):
    kernel = kernels.find(name)
    assert memory_share(kernel, shape_of(kernel, n=6_000_000)) >= 0.9
