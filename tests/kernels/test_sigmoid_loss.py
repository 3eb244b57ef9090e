"""Sigmoid cross-entropy and its gradient equal their references, and overflow nowhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.run import run
from tests.kernels.equality import differences, memory_share, shape_of

NAMES = ("sigmoid_cross_entropy", "sigmoid_cross_entropy_grad")


@settings(max_examples=15)
@given(
    name=st.sampled_from(NAMES), n=st.integers(1, 30000), dtype=st.sampled_from(["fp16", "fp32"]),
    pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_loss_and_gradient_equal_the_reference(name, n, dtype, pick, seed):
    kernel = kernels.find(name)
    assert set(differences(kernel, shape_of(kernel, dtype, n=n), pick, seed).values()) == {0}


def values(name: str, **inputs: list[float]) -> list[float]:
    """Return what a kernel computes in fp32."""
    kernel = kernels.find(name)
    arrays = {key: np.array(numbers, np.float32) for key, numbers in inputs.items()}
    shape = shape_of(kernel, "fp32", n=len(inputs["logits"]))
    return next(iter(run(kernel, shape, arrays, Chip())[0].values())).tolist()


def test_certain_logits_have_the_limits_as_their_loss():
    """Right and sure costs nothing, wrong and sure costs the logit; exponentials of 1e4 would be infinite."""
    logits, labels = [1e4, -1e4, 1e4, -1e4, 0.0], [1.0, 0.0, 0.0, 1.0, 0.5]
    loss = values("sigmoid_cross_entropy", logits=logits, labels=labels)
    assert loss == pytest.approx([0, 0, 1e4, 1e4, np.log(2)])
    gradient = values("sigmoid_cross_entropy_grad", logits=logits, labels=labels, dloss=[2.0] * 5)
    assert gradient == [0, 0, 2, -2, 0]


@pytest.mark.parametrize("name", NAMES)
def test_long_streams_of_fp32_move_nine_tenths_of_the_memory(name):
    kernel = kernels.find(name)
    assert memory_share(kernel, shape_of(kernel, "fp32", n=1 << 22)) >= 0.9
