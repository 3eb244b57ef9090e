"""Fused attention equals its reference for any lengths, and keeps half of the cube's peak busy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.check import check
from kernels.run import random_inputs, run
from kernels.tolerance import compare
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of, tilings

ATTENTION, MASKED = kernels.find("attention"), kernels.find("attention_masked")
CLEAN = {"o": 0, "lse": 0}
PICK, SEED = st.integers(0, 6), st.integers(0, 99)


@settings(max_examples=25)
@given(
    b=st.integers(1, 2), heads=st.integers(1, 3), t=st.integers(1, 200), d=st.integers(1, 80),
    s=st.integers(0, 300), pick=PICK, seed=SEED,
)  # fmt: skip
def test_attention_equals_the_reference(b, heads, t, d, s, pick, seed):
    """Any numbers of queries and keys, whole fractals or not, in every tiling."""
    assert differences(ATTENTION, shape_of(ATTENTION, b=b, heads=heads, t=t, d=d, s=s), pick, seed) == CLEAN


@settings(max_examples=15)
@given(heads=st.integers(1, 3), t=st.integers(1, 400), d=st.integers(1, 80), pick=PICK, seed=SEED)
def test_causal_attention_equals_the_reference(heads, t, d, pick, seed):
    shape = shape_of(ATTENTION, b=1, heads=heads, t=t, d=d, causal=1)
    assert differences(ATTENTION, shape, pick, seed) == CLEAN


@settings(max_examples=15)
@given(
    b=st.integers(1, 3), t=st.integers(1, 200), d=st.integers(1, 80), s=st.integers(0, 300),
    mask=st.integers(1, 2), pick=PICK, seed=SEED,
)  # fmt: skip
def test_masked_attention_equals_the_reference(b, t, d, s, mask, pick, seed):
    """One mask for all, or one per batch; any numbers."""
    shape = shape_of(MASKED, b=b, heads=2, t=t, d=d, s=s, mask=mask)
    assert differences(MASKED, shape, pick, seed) == CLEAN


@pytest.mark.parametrize("hidden", [-10000, -65504])
def test_keys_that_are_masked_do_not_count(hidden):
    """Sentences of 40 and of 70 words in a batch: what lies behind their ends is not seen."""
    shape = shape_of(MASKED, b=2, heads=2, t=100, d=32, mask=2)
    inputs = random_inputs(MASKED, shape, 4)
    inputs["mask"][:] = 0
    for batch, words in enumerate((40, 70)):
        inputs["mask"][batch, :, words:] = hidden
    masked, _ = run(MASKED, shape, inputs, Chip(P))
    for batch, words in enumerate((40, 70)):
        short = shape_of(ATTENTION, b=1, heads=2, t=100, d=32, s=words)
        given = {"q": inputs["q"][[batch]]}
        given |= {name: inputs[name][[batch], :, :words] for name in ("k", "v")}
        alone, _ = run(ATTENTION, short, given, Chip(P))
        assert np.array_equal(alone["o"][0], masked["o"][batch])


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("tile", [16, 48, 128])
def test_short_tiles_raise_the_largest_score_many_times(tile, causal):
    """Forty units of several groups on 32 cores, up to thirty tiles each."""
    shape = shape_of(ATTENTION, b=2, heads=2, t=480, d=20, causal=causal)
    tiling = ATTENTION.tiling_type(tile=tile, columns=2, groups=2, k_piece=48, v_piece=32)
    inputs = random_inputs(ATTENTION, shape, tile)
    outputs, _ = run(ATTENTION, shape, inputs, Chip(P), tiling)
    expected, lse = ATTENTION.reference(shape, *inputs.values())
    np.testing.assert_allclose(outputs["o"].astype(float), expected.astype(float), atol=0.004)
    np.testing.assert_allclose(outputs["lse"], lse, atol=0.001)


@pytest.mark.parametrize("d", [96, 128, 200, 256])
def test_wide_heads_equal_the_reference(d):
    assert differences(ATTENTION, shape_of(ATTENTION, b=1, heads=1, t=70, d=d, s=150), 0, d) == CLEAN


@pytest.mark.parametrize(("t", "d"), [(40, 24), (300, 64), (257, 128)])
def test_roundings_within_the_kernel_leave_what_attention_is_in_float64(t, d):
    """The reference rounds scores and probabilities where the kernel does; this one rounds nowhere."""
    shape = shape_of(ATTENTION, b=1, heads=2, t=t, d=d)
    inputs = random_inputs(ATTENTION, shape, 3)
    outputs, _ = run(ATTENTION, shape, inputs, Chip("ascend910a"))
    q, k, v = (inputs[name].astype(np.float64) for name in "qkv")
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(d)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    exact = powers / powers.sum(axis=-1, keepdims=True) @ v
    assert compare(outputs["o"], exact.astype(np.float16)).wrong == 0


def test_one_key_gives_its_value():
    shape = shape_of(ATTENTION, b=1, heads=2, t=37, d=20, s=1)
    inputs = random_inputs(ATTENTION, shape, 1)
    outputs, _ = run(ATTENTION, shape, inputs, Chip(P))
    assert np.array_equal(outputs["o"], np.broadcast_to(inputs["v"], outputs["o"].shape))


def test_scores_of_thousands_overflow_nowhere():
    """Whole numbers, which are exact: the largest score decides, and equal ones share."""
    shape = shape_of(ATTENTION, b=1, heads=1, t=40, d=16, s=100)
    inputs = random_inputs(ATTENTION, shape, 3)
    generator = np.random.Generator(np.random.Philox(3))
    inputs["q"] = 4 * generator.integers(-8, 9, inputs["q"].shape).astype(np.float16)
    inputs["k"] = generator.integers(-8, 9, inputs["k"].shape).astype(np.float16)
    inputs["k"][..., 50:, :] = inputs["k"][..., :50, :]
    assert differences(ATTENTION, shape, 0, 0, inputs) == CLEAN


def test_scores_far_below_zero_do_not_vanish():
    """All scores are -1000: the average of the values."""
    shape = shape_of(ATTENTION, b=1, heads=1, t=20, d=16, s=64)
    inputs = random_inputs(ATTENTION, shape, 3)
    inputs["q"][:], inputs["k"][:] = -20, 12.5
    assert differences(ATTENTION, shape, 0, 0, inputs) == CLEAN


def test_a_query_sees_no_later_value():
    """Values after the first are enormous: the first query does not notice."""
    shape = shape_of(ATTENTION, b=1, heads=1, t=50, d=16, causal=1)
    inputs = random_inputs(ATTENTION, shape, 2)
    inputs["v"][..., 1:, :] = 60000
    outputs, _ = run(ATTENTION, shape, inputs, Chip(P))
    assert np.array_equal(outputs["o"][0, 0, 0], inputs["v"][0, 0, 0])


@pytest.mark.parametrize(
    "axes", [{"t": 100, "d": 40}, {"t": 50, "d": 64, "s": 170}, {"t": 150, "d": 16, "causal": 1}]
)
def test_both_engines_give_the_same_bits(axes):
    assert engines_agree(ATTENTION, shape_of(ATTENTION, b=1, heads=1, **axes))


@pytest.mark.parametrize("axes", [{"t": 90, "d": 40, "s": 200}, {"t": 300, "d": 64, "causal": 1}])
def test_no_tiling_has_a_finding(axes):
    shape = shape_of(ATTENTION, b=1, heads=1, **axes)
    for tiling in tilings(ATTENTION, shape):
        assert [str(finding) for finding in check(ATTENTION, shape, P, tiling)] == []
    shape = shape_of(MASKED, b=1, heads=1, **axes)
    for tiling in tilings(MASKED, shape):
        assert [str(finding) for finding in check(MASKED, shape, P, tiling)] == []


def test_half_of_the_peak_is_reached_where_the_vector_unit_allows_four_sevenths():
    """12 heads, 64 wide, 4096 long on 32 cores."""
    assert 0.5 <= efficiency(ATTENTION, shape_of(ATTENTION, b=1, heads=12, t=4096, d=64)) <= 4 / 7


def test_a_mask_costs_little():
    """The cube adds it, which has time left."""
    assert efficiency(MASKED, shape_of(MASKED, b=1, heads=12, t=4096, d=64)) >= 0.42


@pytest.mark.parametrize(
    ("axes", "rule"),
    [
        ({"d": 300}, "d=300\n  rule: d is at most 256"),
        ({"causal": 2}, "causal=2\n  rule: causal is 0 or 1"),
        ({"causal": 1, "s": 9}, "t=20, s=9\n  rule: with causal there are as many keys as queries"),
    ],
)
def test_what_the_kernel_cannot_do_is_refused(axes, rule):
    with pytest.raises(BadShape) as refused:
        shape_of(ATTENTION, b=1, heads=1, **{"t": 20, "d": 16, **axes})
    assert str(refused.value) == f"kernel attention: {rule}\n  next: change the shape"
