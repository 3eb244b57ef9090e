"""Losses with smoothed labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework import Tensor, grad, nn, ops


def logits_of(seed, m=4, n=6):
    return np.random.default_rng(seed).normal(0, 3, (m, n)).astype(np.float32)


def logarithms(logits):
    wide = logits.astype(np.float64)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))


@given(seed=st.integers(0, 1000), smooth=st.floats(0, 0.9))
def test_a_smoothed_loss_is_shared_by_all_classes(seed, smooth):
    """The label's class counts 1 - smooth, the others smooth / (n - 1) each."""
    logits, labels = logits_of(seed), np.int32([0, 5, 2, 2])
    weights = np.full((4, 6), smooth / 5)
    weights[range(4), labels] = 1 - smooth
    wanted = -(weights * logarithms(logits)).sum(axis=1).mean()
    found = nn.CrossEntropySmooth(6, smooth)(Tensor(logits), Tensor(labels)).item()
    assert found == pytest.approx(wanted, rel=1e-5)


def test_without_smoothing_it_is_the_loss_with_labels_as_numbers():
    """Value and gradient."""
    logits, labels = Tensor(logits_of(1)), Tensor(np.int32([0, 5, 2, 2]))
    smooth, sparse = nn.CrossEntropySmooth(6, 0.0), nn.SoftmaxCrossEntropyWithLogits()
    assert smooth(logits, labels).item() == pytest.approx(sparse(logits, labels).item(), rel=1e-6)
    slopes = [grad(loss)(logits, labels).numpy() for loss in (smooth, sparse)]
    np.testing.assert_allclose(*slopes, atol=1e-7)


def test_the_gradient_is_what_the_loss_gave_beside_its_value():
    """It is multiplied by the cotangent; softmax is not computed again."""
    loss = nn.CrossEntropySmooth(6)
    compiled = grad(loss).compiled(Tensor(logits_of(2)), Tensor(np.int32([0, 5, 2, 2])))
    assert set(compiled.func.ops()) <= {"one_hot", "mul", "add", "softmax_cross_entropy_with_logits"}


def test_more_smoothing_than_there_is_is_refused():
    """The probabilities must add up to one."""
    with pytest.raises(DavinciError) as caught:
        nn.CrossEntropySmooth(1000, 1.0)
    assert str(caught.value) == (
        "CrossEntropySmooth: smooth_factor 1.0 of 1000 classes\n"
        "  rule: 0 <= smooth_factor < 1, and at least 2 classes share\n"
        "  next: 0.1 is usual; SoftmaxCrossEntropyWithLogits does not smooth"
    )


def test_labels_of_another_shape_are_refused():
    """One probability for each logit."""
    with pytest.raises(ShapeMismatch) as caught:
        ops.softmax_cross_entropy_with_logits(Tensor(logits_of(0)), Tensor(np.ones(4, np.float32)))
    assert str(caught.value) == (
        "softmax_cross_entropy_with_logits: labels float32[4] must be probabilities float32[4, 6]"
    )
