"""Layers of transformers."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import DavinciError
from framework import Tensor, nn, ops, value_and_grad

DRAW = np.random.default_rng(4)


def test_both_ways_to_look_rows_up_give_the_same_rows_and_gradients():
    """Products with zeros and ones choose as numbers of rows do."""
    index = Tensor(np.int32([[0, 1, 1], [1, 0, 1]]))
    weights = Tensor(DRAW.normal(size=(2, 3, 5)).astype(np.float32))
    found = []
    for use_one_hot in (False, True):
        layer = nn.Embedding(2, 5, use_one_hot=use_one_hot, seed=3)
        value, slopes = value_and_grad(lambda x, cell=layer: ops.reduce_sum(cell(x) * weights), position=None,
                                       weights=layer.table)(index)  # fmt: skip
        found.append((layer(index).numpy(), value.numpy(), slopes.numpy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_attention_without_dropout_gives_what_it_gives_step_by_step():
    """In half precision it is one operator, which rounds less on the way."""
    layer = nn.MultiheadAttention(32, 2, seed=5).to_float("float16")
    x = Tensor(DRAW.normal(size=(2 * 16, 32)).astype(np.float16))
    seen = np.where(np.arange(16) < 11, 0, -10000).astype(np.float16)
    mask = Tensor(np.broadcast_to(seen, (2, 1, 1, 16)))
    q, k, v = (layer.by_heads(dense(x), 2, 16) for dense in (layer.query, layer.key, layer.value))
    gathered = layer.step_by_step(q, k, v, mask, None)
    wanted = layer.output(ops.reshape(ops.transpose(gathered, (0, 2, 1, 3)), x.shape))
    scale = np.abs(wanted.numpy()).max()
    np.testing.assert_allclose(layer(x, mask).numpy(), wanted.numpy(), atol=2.0**-8 * scale)


def test_layers_that_drop_differ_from_each_other_and_can_be_made_again():
    """One key serves all layers; a layer made from the same seed drops the same."""
    x, key = Tensor(np.ones((40, 50), np.float32)), ops.dropout_key(1, 2)
    one, same, other = (nn.Dropout(0.5, seed=seed)(x, key).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert 0.4 < (one != other).mean() < 0.6
    np.testing.assert_array_equal(nn.Dropout(0.5)(x).numpy(), x.numpy())


def test_a_layer_norm_starts_without_scale_and_offset():
    """Gamma is one and beta zero, and the dtype of x stays."""
    x = Tensor(DRAW.normal(2, 3, size=(7, 64)).astype(np.float16))
    y = nn.LayerNorm(64)(x).numpy()
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.astype(np.float64).mean(-1), 0, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Dropout(0),
            "Dropout: keep_prob is 0\n"
            "  rule: it is above 0 and at most 1\n  next: give the share that is kept",
        ),
        (
            lambda: nn.MultiheadAttention(10, 3),
            "MultiheadAttention: size 10 does not come apart in 3 heads\n"
            "  rule: heads divide the size\n  next: change one of them",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(DavinciError) as caught:
        make()
    assert str(caught.value) == message
