"""Softmax cross-entropy with a distribution per row equals its reference, loss and gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.run import run
from tests.kernels.equality import differences, efficiency, engines_agree, memory_share, shape_of

KERNEL = kernels.find("softmax_cross_entropy_with_logits")


@settings(max_examples=20)
@given(
    m=st.integers(1, 60), n=st.integers(1, 600), dtype=st.sampled_from(["fp16", "fp32"]),
    pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_matrix_is_right_with_any_tiling(m, n, dtype, pick, seed):
    """Packed, whole and unaligned rows, tiles of fewer than eight rows, and rows in pieces."""
    assert set(differences(KERNEL, shape_of(KERNEL, dtype, m=m, n=n), pick, seed).values()) == {0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize(("m", "n"), [(11, 5000), (3, 20001)])
def test_long_rows_are_right(m, n, dtype):
    assert set(differences(KERNEL, shape_of(KERNEL, dtype, m=m, n=n), 0, 1).values()) == {0}


@pytest.mark.parametrize("n", [10, 300])
def test_one_hot_labels_give_the_loss_of_classes(n):
    """Sure and right costs nothing, sure and wrong the logits' difference, unsure the logarithm of n."""
    logits = np.zeros((12, n), np.float32)
    logits[:4, 3] = 5e4
    labels = np.zeros_like(logits)
    labels[:2, 3] = labels[2:, 5] = 1
    outputs = run(KERNEL, shape_of(KERNEL, "fp32", m=12, n=n), {"logits": logits, "labels": labels}, Chip())[
        0
    ]
    np.testing.assert_allclose(outputs["loss"], [0, 0, 5e4, 5e4, *[np.log(n)] * 8], rtol=1e-6)
    gradient = np.full((12, n), 1 / n)
    gradient[:4], gradient[:4, 3] = 0, 1
    np.testing.assert_allclose(outputs["dlogits"], gradient - labels, atol=1e-7)


def test_both_engines_give_the_same_bits():
    assert engines_agree(KERNEL, shape_of(KERNEL, "fp16", m=19, n=75))


def test_large_problems_keep_memory_busy():
    shape = shape_of(KERNEL, "fp32", m=16384, n=1024)
    assert memory_share(KERNEL, shape) >= 0.9
    assert efficiency(KERNEL, shape) <= 1
