"""Activations equal their references on any length and type, at every magnitude, and keep memory busy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.run import random_inputs, references, run
from tests.kernels.equality import differences, memory_share, shape_of

NAMES = [name for name, each in kernels.load().items() if each.module == "kernels.activation"]
FORWARD = [name for name in NAMES if not name.endswith("_grad")]
EXTREME = np.array(
    [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 6e4, -6e4, 3, -3, 6, 1e-3, -1e-3, 6e-8, -6e-8, 20, -20, 88, -88,
     90, -90, 104, -104, 0.06, -0.06, 11, -11, 4, -4],
)  # fmt: skip


def axes_of(name: str, option: int) -> dict[str, int]:
    """Return the option of a kernel that has one."""
    keys = kernels.find(name).axes
    return {key: value for key, value in {"erf": option, "percent": 10 * option}.items() if key in keys}


@settings(max_examples=40)
@given(
    name=st.sampled_from(NAMES), n=st.integers(1, 30000), dtype=st.sampled_from(["fp16", "fp32"]),
    option=st.integers(0, 1), pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_curves_and_gradients_equal_the_reference(name, n, dtype, option, pick, seed):
    """Any length, type, form and tiling."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, n=n, **axes_of(name, option))
    assert set(differences(kernel, shape, pick, seed).values()) == {0}


@pytest.mark.parametrize(("name", "low"), [("sigmoid", 0.0), ("tanh", -1.0), ("elu", -1.0)])
def test_gradients_of_values_are_drawn_from_the_whole_range_of_their_curve(name, low):
    """Where a curve has negative values, what the checks run on has them, too."""
    kernel = kernels.find(f"{name}_grad")
    drawn = random_inputs(kernel, shape_of(kernel, n=5000), 0)["y"]
    assert low <= drawn.min() < low + 0.01
    assert drawn.max() >= 0.99


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("option", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_every_magnitude_is_right(name, option, dtype):
    """Infinities have their limits, NaN stays, nothing overflows on the way; to 1 in 2**18 or 2**9."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, n=len(EXTREME), **axes_of(name, option))
    inputs = {
        operand.name: EXTREME.astype(operand.device_dtype.numpy)
        for operand in kernel.operands(shape)
        if not operand.is_output
    }
    if "dy" in inputs:
        inputs["dy"] = np.full_like(inputs["dy"], 2)
    result = run(kernel, shape, inputs, Chip())[0]
    for output, expected in references(kernel, shape, inputs).items():
        unit = 2.0**-9 if dtype == "fp16" else 2.0**-18
        np.testing.assert_allclose(result[output], expected, rtol=unit, atol=unit / 4)


def values(name: str, x: list[float], **axes: int) -> list[float]:
    """Return a kernel's values at a few numbers in fp32."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, "fp32", n=len(x), **axes)
    return run(kernel, shape, {"x": np.array(x, np.float32)}, Chip())[0]["y"].tolist()


def test_limits_are_exact():
    """A saturated curve is not nearly but exactly its limit."""
    infinite = [-math.inf, -1e4, 1e4, math.inf]
    assert values("tanh", infinite) == [-1, -1, 1, 1]
    assert values("sigmoid", infinite) == [0, 0, 1, 1]
    assert values("gelu", infinite) == values("gelu", infinite, erf=1) == [0, 0, 1e4, math.inf]
    assert values("swish", infinite) == values("hswish", infinite) == [0, 0, 1e4, math.inf]


def test_small_tangents_keep_their_digits():
    """1 - 2 / (1 + e ** 2x) alone would lose them: at 1e-6 it is off by a percent."""
    x = np.concatenate([np.linspace(-0.2, 0.2, 2001), np.logspace(-30, 0, 61)]).astype(np.float32)
    y = np.array(values("tanh", x.tolist()))
    wide = np.tanh(x.astype(np.float64))
    assert np.abs(y - wide).max() <= 2e-7
    assert (np.abs(y - wide) <= 2e-6 * np.abs(wide)).all()


def test_the_exact_gelu_differs_from_its_tanh_form():
    """They part by up to 5e-4, near 2; the exact one is right to 4e-7."""
    x = np.linspace(-6, 6, 1201).astype(np.float32)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    assert np.abs(np.array(values("gelu", x.tolist(), erf=1)) - exact).max() < 4e-7
    assert 4e-4 < np.abs(np.array(values("gelu", x.tolist())) - exact).max() < 5e-4


@pytest.mark.parametrize("name", ["sigmoid", "gelu", "swish", "hswish", "relu6", "elu", "softplus", "tanh"])
def test_long_streams_of_fp32_move_nine_tenths_of_the_memory(name):
    """Sixteen million numbers leave L2; in fp16 the same arithmetic has half of the bytes to hide behind."""
    assert memory_share(kernels.find(name), shape_of(kernels.find(name), "fp32", n=1 << 24)) >= 0.9


@pytest.mark.parametrize("name", ["sigmoid", "hsigmoid", "relu6_grad", "tanh_grad", "sigmoid_grad"])
def test_few_instructions_keep_up_with_fp16_too(name):
    assert memory_share(kernels.find(name), shape_of(kernels.find(name), "fp16", n=1 << 24)) >= 0.9


def test_other_forms_and_slopes_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("gelu"), n=10, erf=2)
    assert str(refused.value) == (
        "kernel gelu: erf=2\n  rule: erf is 0 (the tanh form) or 1\n  next: change the shape"
    )
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("leaky_relu"), n=10, percent=101)
    assert str(refused.value) == (
        "kernel leaky_relu: percent=101\n"
        "  rule: percent is from 0 to 100, the slope of negative numbers in hundredths\n"
        "  next: change the shape"
    )
