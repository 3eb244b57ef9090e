"""Batch normalisation equals its references, also where means are large and deviations zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.run import run
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of

PLAIN = ("batch_norm_reduce", "batch_norm_update_grad", "batch_norm_reduce_grad")
WITH_RELU = ("batch_norm", "batch_norm_update", "batch_norm_update_add")
DTYPES = st.sampled_from(["fp16", "fp32"])


@settings(max_examples=40)
@given(
    name=st.sampled_from(PLAIN + WITH_RELU),
    axes=st.fixed_dictionaries({
        "n": st.integers(1, 5), "c": st.integers(1, 40), "h": st.integers(1, 40), "w": st.integers(1, 40),
        "parts": st.integers(1, 6),
    }),
    relu=st.integers(0, 1), dtype=DTYPES, pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
def test_each_launch_equals_its_reference(name, axes, relu, dtype, pick, seed):
    """Small images, of which a tile takes several, and large ones, which are cut; groups half full."""
    kernel = kernels.find(name)
    options = {"relu": relu} if name in WITH_RELU else {}
    shape = shape_of(kernel, dtype, **axes, **options)
    assert not any(differences(kernel, shape, pick, seed).values())


def launch(name, shape, **inputs):
    """Return what a launch gives."""
    kernel = kernels.find(name)
    problem = kernel.shape_type.of(name, {k: v for k, v in shape.items() if k != "dtype"}, shape["dtype"])
    return run(kernel, problem, inputs, Chip(P))[0]


def trained(x, dtype):
    """Return y and the statistics of a batch, by both launches; gamma is 1 and beta 0."""
    n, c, h, w = x.shape
    axes = {"n": n, "c": c, "h": h, "w": w, "dtype": dtype}
    sums = launch("batch_norm_reduce", axes, x=x)
    one, zero = np.ones(c, np.float32), np.zeros(c, np.float32)
    numbers = {"eps": np.float32([1e-5]), "factor": np.float32([0.1])}
    given = {"gamma": one, "beta": zero, "mean": zero, "variance": one}
    return launch("batch_norm_update", axes, x=x, **sums, **given, **numbers)


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (1000, 1), (-5000, 0.25), (1e-3, 1e-3)])
def test_a_large_mean_costs_no_accuracy(mean, deviation):
    """Sums of squares alone would lose all digits of the variance."""
    generator = np.random.Generator(np.random.Philox(3))
    x = (mean + deviation * generator.standard_normal((4, 20, 14, 14))).astype(np.float32)
    found, wide = trained(x, "fp32"), x.astype(np.float64)
    variance = wide.var(axis=(0, 2, 3))
    np.testing.assert_allclose(found["batch_mean"], wide.mean(axis=(0, 2, 3)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["inverse"], 1 / np.sqrt(variance + 1e-5), rtol=1e-4)
    wanted = (wide - wide.mean(axis=(0, 2, 3), keepdims=True)) * found["inverse"][:, None, None]
    np.testing.assert_allclose(found["y"], wanted, atol=2e-3)


def test_channels_without_variance_become_beta():
    """Equal numbers, also large ones: no negative variance, no NaN."""
    x = np.full((2, 18, 5, 5), 60000, np.float16)
    found = trained(x, "fp16")
    assert np.array_equal(found["y"], np.zeros_like(x))
    np.testing.assert_allclose(found["inverse"], 1 / np.sqrt(1e-5), rtol=1e-5)


def test_the_gradient_is_that_of_the_normalisation():
    """Central differences of sum(y * dy) in float64 against the two launches."""
    generator = np.random.Generator(np.random.Philox(5))
    x, dy = (generator.standard_normal((3, 3, 4, 4)).astype(np.float32) for _ in range(2))
    mean, inverse = x.mean(axis=(0, 2, 3)), 1 / np.sqrt(x.var(axis=(0, 2, 3)) + 1e-5)
    axes = {"n": 3, "c": 3, "h": 4, "w": 4, "dtype": "fp32"}
    given = {"batch_mean": mean, "inverse": inverse.astype(np.float32)}
    sums = launch("batch_norm_update_grad", axes, dy=dy, x=x, **given)
    parts = {"dgamma_parts": sums["dgamma"], "dbeta_parts": sums["dbeta"]}
    dx = launch("batch_norm_reduce_grad", axes, dy=dy, x=x, gamma=np.ones(3, np.float32), **given, **parts)[
        "dx"
    ]

    def loss(x):
        apart = x - x.mean(axis=(0, 2, 3), keepdims=True)
        return (apart / np.sqrt((apart**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5) * dy).sum()

    for place in [(0, 0, 0, 0), (2, 1, 3, 2), (1, 2, 0, 3)]:
        step = np.zeros(x.shape)
        step[place] = 1e-4
        slope = (loss(x + step) - loss(x - step)) / 2e-4
        assert dx[place] == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize("name", PLAIN + WITH_RELU)
def test_both_engines_give_the_same_bits(name):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, "fp16", n=3, c=20, h=7, w=7))


@pytest.mark.parametrize(
    ("name", "dtype", "least"),
    [
        ("batch_norm_reduce", "fp32", 0.9), ("batch_norm_reduce", "fp16", 0.55),
        ("batch_norm_update", "fp32", 0.65), ("batch_norm_update", "fp16", 0.6),
        ("batch_norm_update_grad", "fp32", 0.9), ("batch_norm_reduce_grad", "fp32", 0.7),
    ],
)  # fmt: skip
def test_all_cores_normalise_few_groups_of_channels(name, dtype, least):
    """ResNet-50's first stage, batch 8: fp32 is bound by the memory, fp16 by the vector unit's fp32."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, n=8, c=256, h=56, w=56)
    assert kernel.tiling(shape, P).blocks(shape, P) == P.ai_cores
    assert least <= efficiency(kernel, shape) <= 1


def test_more_parts_than_fit_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("batch_norm_reduce"), n=1, c=1, h=9, w=9, parts=65)
    assert str(refused.value) == (
        "kernel batch_norm_reduce: parts=65\n  rule: at most 64 parts\n  next: change the shape"
    )
