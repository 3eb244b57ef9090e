"""The gradient of attention equals its reference, launch by launch and as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.check import check
from kernels.run import random_inputs, run
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of, tilings

LAUNCHES = ("attention_grad_prepare", "attention_grad_kv", "attention_grad_q")
MASKED = ("attention_masked_grad_kv", "attention_masked_grad_q")
PICK, SEED = st.integers(0, 3), st.integers(0, 99)


@settings(max_examples=20)
@given(
    name=st.sampled_from(LAUNCHES), b=st.integers(1, 2), heads=st.integers(1, 2), t=st.integers(1, 300),
    d=st.integers(1, 70), s=st.integers(0, 300), pick=PICK, seed=SEED,
)  # fmt: skip
def test_each_launch_equals_its_reference(name, b, heads, t, d, s, pick, seed):
    """Any numbers of queries and keys, whole fractals or not."""
    kernel = kernels.find(name)
    wrong = differences(kernel, shape_of(kernel, b=b, heads=heads, t=t, d=d, s=s), pick, seed)
    assert set(wrong.values()) == {0}


@settings(max_examples=12)
@given(
    name=st.sampled_from(MASKED), b=st.integers(1, 2), t=st.integers(1, 300), d=st.integers(1, 70),
    s=st.integers(0, 300), mask=st.integers(1, 2), pick=PICK, seed=SEED,
)  # fmt: skip
def test_a_mask_is_part_of_the_probabilities(name, b, t, d, s, mask, pick, seed):
    kernel = kernels.find(name)
    wrong = differences(kernel, shape_of(kernel, b=b, heads=2, t=t, d=d, s=s, mask=mask), pick, seed)
    assert set(wrong.values()) == {0}


@settings(max_examples=12)
@given(name=st.sampled_from(LAUNCHES[1:]), t=st.integers(1, 500), d=st.integers(1, 70), pick=PICK, seed=SEED)
def test_later_keys_get_nothing_from_a_query(name, t, d, pick, seed):
    kernel = kernels.find(name)
    wrong = differences(kernel, shape_of(kernel, b=1, heads=2, t=t, d=d, causal=1), pick, seed)
    assert set(wrong.values()) == {0}


@pytest.mark.parametrize("name", LAUNCHES)
@pytest.mark.parametrize("d", [128, 256])
def test_wide_heads_equal_the_reference(name, d):
    kernel = kernels.find(name)
    shape = shape_of(kernel, b=1, heads=1, t=70, d=d, s=150)
    assert set(differences(kernel, shape, 0, d).values()) == {0}


def gradients(inputs: dict[str, np.ndarray], do: np.ndarray, axes: dict[str, int]) -> list[np.ndarray]:
    """Return dq, dk and dv by way of the forward launch and the three of the gradient."""
    kinds = [kernels.find(name) for name in ("attention", *LAUNCHES)]
    shape = shape_of(kinds[0], **axes)
    given = {**inputs, "do": do}
    for kernel in kinds:
        wanted = [operand.name for operand in kernel.operands(shape) if not operand.is_output]
        given |= run(kernel, shape, {name: given[name] for name in wanted}, Chip(P))[0]
    return [given[name].astype(np.float64) for name in ("dq", "dk", "dv")]


def exact_gradients(inputs: dict[str, np.ndarray], do: np.ndarray, causal: int) -> list[np.ndarray]:
    """Return dq, dk and dv in float64."""
    q, k, v, do = (x.astype(np.float64) for x in (*inputs.values(), do))
    score = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if causal:
        score = np.where(np.triu(np.ones(score.shape[-2:], bool), 1), -np.inf, score)
    p = np.exp(score - score.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    dp = do @ np.swapaxes(v, -1, -2)
    ds = p * (dp - (p * dp).sum(axis=-1, keepdims=True)) / np.sqrt(q.shape[-1])
    return [ds @ k, np.swapaxes(ds, -1, -2) @ q, np.swapaxes(p, -1, -2) @ do]


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("factor", [1, 4])
def test_the_launches_together_give_the_gradient(causal, factor):
    """Also where a few keys of a query get almost all of its attention: scores with a deviation of 16."""
    axes = {"b": 1, "heads": 2, "t": 150, "d": 64, "causal": causal}
    kernel = kernels.find("attention")
    inputs = random_inputs(kernel, shape_of(kernel, **axes), 1)
    inputs["q"] *= np.float16(factor)
    inputs["k"] *= np.float16(factor)
    do = np.random.Generator(np.random.Philox(2)).standard_normal(inputs["q"].shape).astype(np.float16)
    expected = exact_gradients(inputs, do, causal)
    for ours, exact in zip(gradients(inputs, do, axes), expected, strict=True):
        assert np.abs(ours - exact).max() <= 0.004 * factor * np.abs(exact).max()


@pytest.mark.parametrize("name", LAUNCHES)
def test_both_engines_give_the_same_bits(name):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, b=1, heads=1, t=100, d=40, s=70))


@pytest.mark.parametrize("name", [*LAUNCHES, *MASKED])
@pytest.mark.parametrize("axes", [{"t": 90, "d": 40, "s": 200}, {"t": 300, "d": 64, "causal": 1}])
def test_no_tiling_has_a_finding(name, axes):
    kernel = kernels.find(name)
    shape = shape_of(kernel, b=1, heads=1, **axes)
    for tiling in tilings(kernel, shape):
        assert [str(finding) for finding in check(kernel, shape, P, tiling)] == []


@pytest.mark.parametrize(("name", "least"), [("attention_grad_kv", 0.7), ("attention_grad_q", 0.6)])
def test_the_cube_is_busy_with_long_sequences(name, least):
    """8 heads, 64 wide, 2048 long; eight of nine and six of seven cycles would be the most."""
    kernel = kernels.find(name)
    assert least <= efficiency(kernel, shape_of(kernel, b=1, heads=8, t=2048, d=64)) <= 1
