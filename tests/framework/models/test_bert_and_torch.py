"""BERT beside PyTorch, where that is installed: loss and the gradients of all weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from framework import Tensor
from framework.autodiff import differentiate
from framework.frontend.trace import trace
from framework.host import compile_host
from framework.models import bert
from framework.passes import FLAT, run

torch = pytest.importorskip(
    "torch", reason="PyTorch is compared where it is installed: pip install -e .[compare]"
)
functional = torch.nn.functional

CONFIG = replace(bert.SMOKE, compute_dtype=None, dropout=0.0)


def normalised(weights, name, x):
    numbers = weights[f"{name}.gamma"], weights[f"{name}.beta"]
    return functional.layer_norm(x, x.shape[-1:], *numbers, eps=CONFIG.eps)


def dense(weights, name, x):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def gelu(x):
    return functional.gelu(x, approximate="tanh")


def attended(weights, name, x, mask):
    """Return what attention makes of x[b, t, d]; mask[b, t] is 1 where a position is seen."""
    b, t, d = x.shape
    q, k, v = (
        dense(weights, f"{name}.{part}", x).reshape(b, t, CONFIG.heads, -1).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    hidden = (mask[:, None, None, :] - 1.0) * -bert.HIDDEN
    gathered = functional.scaled_dot_product_attention(q, k, v, attn_mask=hidden.expand(b, 1, t, t))
    return dense(weights, f"{name}.output", gathered.transpose(1, 2).reshape(b, t, d))


def layer(weights, name, x, mask):
    x = normalised(weights, f"{name}.attention_norm", x + attended(weights, f"{name}.attention", x, mask))
    made = dense(weights, f"{name}.dense_out", gelu(dense(weights, f"{name}.dense_in", x)))
    return normalised(weights, f"{name}.norm", x + made)


def loss(weights, data):
    """Return the loss of pre-training, in PyTorch's functions over weights by our names."""
    table = weights["bert.embeddings.words.table"]
    x = table[data["ids"]] + weights["bert.embeddings.types.table"][data["types"]]
    positions = weights["bert.embeddings.positions"][: CONFIG.sequence]
    x = normalised(weights, "bert.embeddings.norm", x + positions)
    for number in range(CONFIG.layers):
        x = layer(weights, f"bert.layer{number}", x, data["mask"])
    holes = x[torch.arange(len(x))[:, None], data["positions"]]
    holes = normalised(weights, "norm", gelu(dense(weights, "transform", holes)))
    words = functional.linear(holes, table, weights["bias"]).flatten(0, 1)
    of_words = functional.cross_entropy(words, data["labels"].flatten(), reduction="none")
    counted = data["weights"].flatten()
    follows = dense(weights, "follows", torch.tanh(dense(weights, "bert.pooler", x[:, 0])))
    of_words = (of_words * counted).sum() / (counted.sum() + 1e-5)
    return of_words + functional.cross_entropy(follows, data["is_next"])


def _tensor(array):
    """Return an array as PyTorch wants it: as an index, or as a weight."""
    return torch.tensor(array if array.dtype == np.float32 else array.astype(np.int64))


def test_loss_and_gradients_of_all_weights_are_those_of_pytorch():
    """In float32, from the same weights."""
    net, data = bert.build(CONFIG), bert.inputs(CONFIG, 2)
    objective = bert.PreTrainingLoss()

    def forward(ids, types, mask, positions, labels, weights, is_next):
        words, follows = net(ids, types, mask, positions)
        return objective(words, follows, labels, weights, is_next)

    net.rename_parameters()
    trained = net.trainable_params()
    traced = trace(forward, [Tensor.wrap(each) for each in data.values()], {}, weights=trained).func
    names = [each.name for each in trained]
    func = run(differentiate(traced, [traced.param(name) for name in names], keep_results=True), FLAT)
    state = {each.name: each.numpy() for each in trained}
    found, *slopes = compile_host(func)([(data | state)[param.name] for param in func.params])
    weights = {name: torch.tensor(each, requires_grad=True) for name, each in state.items()}
    expected = loss(weights, {name: _tensor(each) for name, each in data.items()})
    expected.backward()
    wanted = {name: each.grad.numpy() for name, each in weights.items()}
    assert abs(float(found) - expected.item()) < 1e-5
    for name, ours in zip(names, slopes, strict=True):
        # what moves all keys alike moves no share: of these slopes roundings are all that there is
        scale = np.abs(wanted[name.replace("key.bias", "query.bias")]).max()
        np.testing.assert_allclose(ours, wanted[name], rtol=0, atol=2.0**-12 * scale, err_msg=name)
