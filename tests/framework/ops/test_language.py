"""Operators of language models: what they compute, and how their kernels are called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from davinci_sim.errors import DavinciError
from framework import Tensor, ops
from framework.ops.lowering import broadcasting
from kernels.tiling.broadcast import binary_axes


def test_a_normalised_row_has_mean_zero_and_deviation_one():
    """Then come gamma and beta; mean and 1 / deviation are given in float32."""
    x = np.random.default_rng(1).normal(3, 5, (2, 3, 64)).astype(np.float16)
    ones = np.ones(64, np.float16)
    y, mean, rstd = ops.layer_norm(Tensor(x), Tensor(ones), Tensor(ones * 0))
    np.testing.assert_allclose(y.numpy().astype(np.float64).mean(-1), 0, atol=1e-3)
    np.testing.assert_allclose(y.numpy().astype(np.float64).std(-1), 1, atol=1e-3)
    assert str(mean.dtype) == str(rstd.dtype) == "float32"
    np.testing.assert_allclose(mean.numpy(), x.astype(np.float64).mean(-1), rtol=1e-5)


def test_gelu_has_two_forms_that_are_close():
    """The tanh form is within 5e-4 of the exact one."""
    x = Tensor(np.linspace(-6, 6, 101))
    np.testing.assert_allclose(ops.gelu(x, True).numpy(), ops.gelu(x).numpy(), atol=5e-4)


@given(
    seed=st.integers(0, 2**32 - 1), keep=st.integers(1, 1000), size=st.integers(1, 3000),
    dtype=st.sampled_from([np.float16, np.float32]),
)  # fmt: skip
def test_masks_are_those_of_the_kernel(seed, keep, size, dtype):
    """Values and mask, bit by bit: host and chip drop the same elements."""
    kernel = kernels.find("dropout")
    key = ops.dropout_key(seed, 5)
    x = np.random.default_rng(seed).normal(size=size).astype(dtype)
    shape = kernel.shape_type.of(
        "dropout", {"n": size, "keep": keep}, "fp16" if dtype == np.float16 else "fp32"
    )
    wanted = kernel.reference(shape, x, key.numpy())
    found = ops.dropout(Tensor(x), key, keep / 1000)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)


def test_shares_that_are_kept_are_those_asked_for():
    """Of a million elements nine tenths stay, each divided by 0.9, so that the mean stays."""
    y, _ = ops.dropout(Tensor(np.ones(1_000_000, np.float32)), ops.dropout_key(1), 0.9)
    kept = (y.numpy() != 0).mean()
    assert abs(kept - 0.9) < 1e-3
    assert abs(y.numpy().mean() - 1) < 2e-3


def test_rows_outside_of_a_table():
    """Gathering, a number outside means the nearest row; adding, it means none."""
    table, index = Tensor(np.arange(6.0).reshape(3, 2)), Tensor([-1, 2, 7])
    assert ops.gather(table, index).numpy().tolist() == [[0, 1], [4, 5], [4, 5]]
    found = ops.scatter_add(Tensor(np.ones((3, 2), np.float16)), index, 3)
    assert found.numpy().tolist() == [[0, 0], [0, 0], [1, 1]]
    assert str(found.dtype) == "float32"


def test_attention_is_softmax_of_scores_times_values():
    """And lse is the logarithm of the sum of the exponentials of the scores."""
    draw = np.random.default_rng(3)
    q, k, v = (draw.normal(size=(2, 3, length, 8)) for length in (4, 5, 5))
    mask = draw.normal(size=(2, 1, 4, 5))
    scores = Tensor(q @ k.swapaxes(-1, -2) / np.sqrt(8) + mask)
    o, lse = ops.attention(*map(Tensor, (q, k, v, mask)))
    np.testing.assert_allclose(o.numpy(), ops.matmul(ops.softmax(scores), Tensor(v)).numpy(), rtol=1e-12)
    np.testing.assert_allclose(lse.numpy(), ops.logsumexp(scores, -1).numpy(), rtol=1e-12)


def test_a_wide_bias_goes_with_half_precision():
    """The sum is rounded once, to the dtype of x."""
    x, b = np.float16([[1, 2]]), np.float32([2.0**-11, 0.5])
    y = ops.bias_add(Tensor(x), Tensor(b)).numpy()
    np.testing.assert_array_equal(y, (x + b).astype(np.float16))


SHAPES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("=ab")), min_size=1, max_size=5)


@given(SHAPES)
def test_broadcasts_have_the_keys_of_the_kernels(axes):
    """The framework finds them without the kernels, which agree."""
    a = tuple(1 if who == "b" else size for size, who in axes)
    b = tuple(1 if who == "a" else size for size, who in axes)
    mine, theirs = broadcasting.keys("add", a, b), binary_axes(a, b)
    assert {"rows": 1} | mine == {"rows": 1} | theirs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.layer_norm(Tensor([[1.0, 2.0]]), Tensor([1.0]), Tensor([0.0, 0.0])),
            "layer_norm: gamma and beta must be float32[2] for float32[1, 2], found float32[1]",
        ),
        (
            lambda: ops.gather(Tensor([1.0]), Tensor([0])),
            "gather: table float32[1] must be rows [v, d]",
        ),
        (
            lambda: ops.gather(Tensor([[1.0]]), Tensor([0.5])),
            "gather: index float32[1] must be integers",
        ),
        (
            lambda: ops.scatter_add(Tensor([[1.0]]), Tensor([0, 1]), 3),
            "scatter_add: float32[1, 1] must be one row per number of int32[2]",
        ),
        (
            lambda: ops.dropout(Tensor([1.0]), Tensor([1])),
            "dropout: a key is int32[16], found int32[1]; make it with ops.dropout_key",
        ),
        (
            lambda: ops.dropout(Tensor([1.0]), ops.dropout_key(0), 0.0),
            "dropout: keep_prob is 0.0\n"
            "  rule: it is a share of at least 0.001 and at most 1\n  next: give the share that is kept",
        ),
        (
            lambda: ops.dropout_grad(Tensor([1.0]), ops.dropout(Tensor(np.ones(300)), ops.dropout_key(0))[1]),
            "dropout_grad: the mask of float32[1] is uint8[32], found uint8[64]",
        ),
        (
            lambda: ops.attention(*(Tensor(np.ones((1, 2, size, 4))) for size in (3, 5, 6))),
            "attention: q float64[1, 2, 3, 4], k float64[1, 2, 5, 4] and v float64[1, 2, 6, 4] must be "
            "[b, heads, t, d] and [b, heads, s, d], of one float dtype",
        ),
        (
            lambda: ops.attention(*(Tensor(np.ones((1, 2, 3, 4))),) * 3, Tensor(np.ones((1, 2, 3, 3)))),
            "attention: mask float64[1, 2, 3, 3] must be float64[1, 1, 3, 3], or one for all",
        ),
        (
            lambda: ops.gelu_grad(Tensor([1.0]), Tensor([1.0, 2.0])),
            "gelu_grad: dy float32[1] and x float32[2] must have one type",
        ),
        (
            lambda: ops.softmax_grad(Tensor([1.0]), Tensor([1.0, 2.0])),
            "softmax_grad: dy float32[1] and y float32[2] must have one type",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    """The messages name the tensors and the rule."""
    with pytest.raises(DavinciError) as caught:
        call()
    assert str(caught.value) == message
