"""The loss picks one number of each row, and its gradient puts one there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.roofline import gm_bytes
from kernels.run import place, random_inputs
from tests.kernels.equality import P, differences, engines_agree, memory_share, shape_of

OUTPUTS = {"nll_loss": "loss", "nll_loss_grad": "dx"}


@settings(max_examples=30)
@given(
    name=st.sampled_from(list(OUTPUTS)), m=st.integers(1, 700),
    n=st.one_of(st.integers(1, 300), st.sampled_from([1001, 2000, 5003])),
    dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 1), seed=st.integers(0, 99),
)  # fmt: skip
def test_losses_and_gradients_equal_the_reference(name, m, n, dtype, pick, seed):
    """Some labels lie outside: -1 and n."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, m=min(m, 200_000 // n + 1), n=n)
    assert differences(kernel, shape, pick, seed) == {OUTPUTS[name]: 0}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("outside", [-100, 21, 1 << 30, (1 << 31) - 1, -(1 << 31)])
def test_labels_outside_count_for_nothing(name, outside):
    """Even where the number that lies there instead is not finite."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, "fp32", m=70, n=21)
    inputs = random_inputs(kernel, shape, 1)
    inputs["labels"][::3] = outside
    for given_ in inputs.values():
        if given_.dtype == np.float32:
            given_[::3] = np.inf
    assert differences(kernel, shape, 0, 1, inputs) == {OUTPUTS[name]: 0}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_both_engines_give_the_same_bits(name, dtype):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, dtype, m=50, n=37))


def test_the_loss_fetches_no_more_than_a_block_of_a_row():
    """3,000 rows of 5,000 numbers: 32 bytes and a label each, and the loss."""
    kernel = kernels.find("nll_loss")
    task = place(kernel, shape_of(kernel, "fp16", m=3000, n=5000), None, Chip(P)).task
    assert sum(gm_bytes(task)) <= 3000 * (32 + 4 + 2) + 32 * 32


def test_large_gradients_are_written_near_the_speed_of_the_memory():
    kernel = kernels.find("nll_loss_grad")
    assert memory_share(kernel, shape_of(kernel, "fp16", m=2048, n=30_522)) >= 0.9


def test_more_classes_than_float32_counts_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("nll_loss"), m=1, n=1 << 24)
    assert str(refused.value) == (
        "kernel nll_loss: n=16777216\n  rule: n is below 2 ** 24\n  next: change the shape"
    )
