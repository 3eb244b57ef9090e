"""Softmax cross-entropy and its gradient equal their references, also for large logits and any classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.run import run
from tests.kernels.equality import P, differences, engines_agree, shape_of

LOSS, GRAD = kernels.find("softmax_cross_entropy"), kernels.find("softmax_cross_entropy_grad")


def inputs_for(m: int, n: int, seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Return logits, labels among the classes and weights."""
    generator = np.random.Generator(np.random.Philox(seed))
    return {
        "logits": (scale * generator.standard_normal((m, n))).astype(np.float32),
        "labels": generator.integers(0, n, m).astype(np.int32),
        "dloss": generator.standard_normal(m).astype(np.float32),
    }


@settings(max_examples=25)
@given(
    m=st.integers(1, 70), n=st.integers(1, 200), pick=st.integers(0, 2), seed=st.integers(0, 99),
    scale=st.sampled_from([1.0, 50.0]),
)  # fmt: skip
def test_loss_and_gradient_equal_their_references(m, n, pick, seed, scale):
    """Logits of +-150 do not overflow, since the maximum is subtracted; padding of the gradient is zero."""
    inputs = inputs_for(m, n, seed, scale)
    assert differences(LOSS, shape_of(LOSS, m=m, n=n), pick, seed, inputs) == {"loss": 0}
    assert differences(GRAD, shape_of(GRAD, m=m, n=n), pick, seed, inputs) == {"dlogits": 0}


@pytest.mark.parametrize("n", [1000, 1024, 1037, 5003])
def test_rows_that_fit_and_longer_ones_are_taken(n):
    """Rows of many classes come in pieces."""
    inputs = inputs_for(20, n, 3, 5.0)
    assert differences(LOSS, shape_of(LOSS, m=20, n=n), 0, 3, inputs) == {"loss": 0}
    assert differences(GRAD, shape_of(GRAD, m=20, n=n), 0, 3, inputs) == {"dlogits": 0}


@pytest.mark.parametrize("place", [0, 1500, 2399])
def test_a_row_is_as_good_whichever_piece_holds_its_largest_number(place):
    """Sums of pieces are brought below the maximum of all; infinite and very low numbers are no others."""
    inputs = inputs_for(3, 2400, 5)
    inputs["logits"][:, place] = 300.0
    inputs["logits"][1, place - 7] = -np.inf
    inputs["logits"][2] -= 1e30
    assert differences(LOSS, shape_of(LOSS, m=3, n=2400), 1, 0, inputs) == {"loss": 0}
    assert differences(GRAD, shape_of(GRAD, m=3, n=2400), 1, 0, inputs) == {"dlogits": 0}


def test_a_label_that_is_no_class_picks_nothing():
    inputs = {**inputs_for(5, 10, 0), "labels": np.array([-1, 10, 3, 99, 0], np.int32)}
    assert differences(LOSS, shape_of(LOSS, m=5, n=10), 0, 0, inputs) == {"loss": 0}
    assert differences(GRAD, shape_of(GRAD, m=5, n=10), 0, 0, inputs) == {"dlogits": 0}


def test_rows_of_the_gradient_sum_to_zero():
    outputs, _ = run(GRAD, shape_of(GRAD, m=32, n=10), inputs_for(32, 10, 1), Chip(P))
    assert np.abs(outputs["dlogits"].sum(axis=1)).max() < 1e-6


@pytest.mark.parametrize("kernel", [LOSS, GRAD], ids=lambda kernel: kernel.name)
def test_both_engines_give_the_same_bits(kernel):
    assert engines_agree(kernel, shape_of(kernel, m=33, n=17), inputs_for(33, 17, 2))


def test_too_many_classes_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(LOSS, m=4, n=(1 << 24) + 1)
    assert str(refused.value) == (
        "kernel softmax_cross_entropy: n=16777217\n  rule: n is at most 16777216, as far as fp32 counts\n"
        "  next: change the shape"
    )
