"""BERT: as many weights as published, equal layers once, a whole training step on the cores."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from davinci_sim.platforms import platform
from framework import Tensor, nn, ops
from framework.autodiff import differentiate
from framework.frontend.trace import trace
from framework.graph_engine import compile_for_device
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import split
from framework.host import compile_host
from framework.models import bert
from framework.passes import FLAT, run

P = platform("ascend910a")
FEEDS = ["ids", "types", "mask", "positions", "key", "labels", "weights", "is_next"]
LOSS_SCALE = 1024
"""Lifts gradients above the smallest numbers of float16."""


class Case:
    """The gradients of all weights of a BERT, as a Func, and arrays for its parameters."""

    def __init__(self, config: bert.Config, batch: int) -> None:
        self.net = bert.build(config)
        loss, net = bert.PreTrainingLoss(), self.net
        self.data = bert.inputs(config, batch) | {"key": ops.dropout_key(7, 3).numpy()}

        def forward(ids, types, mask, positions, key, labels, weights, is_next):
            words, follows = net(ids, types, mask, positions, key)
            return loss(words, follows, labels, weights, is_next) * LOSS_SCALE

        examples = [Tensor.wrap(self.data[name]) for name in FEEDS]
        net.rename_parameters()
        self.names = [each.name for each in net.trainable_params()]
        self.traced = trace(forward, examples, {}, weights=net.trainable_params()).func
        params = [self.traced.param(name) for name in self.names]
        self.func = run(differentiate(self.traced, params, keep_results=True), FLAT)

    def arrays(self):
        """Return an array per parameter of the Func."""
        weights = {name: each.numpy() for name, each in self.net.parameters_and_names()}
        return [(self.data | weights)[param.name] for param in self.func.params]


@cache
def small() -> Case:
    return Case(bert.SMOKE, 2)


def formula(config: bert.Config) -> int:
    """Count weights: three tables, layers, pooler, and the heads of words and of sentences."""
    h, wide = config.hidden, config.intermediate
    tables = (config.vocabulary + config.positions + config.types) * h + 2 * h
    layer = 4 * (h * h + h) + 2 * h + (h * wide + wide) + (wide * h + h) + 2 * h
    heads = (h * h + h) + 2 * h + config.vocabulary + 2 * h + 2
    return tables + config.layers * layer + (h * h + h) + heads


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (bert.LARGE, 326), (bert.BASE, 102), (bert.SMOKE, 0),
        (replace(bert.BASE, vocabulary=30522), 110), (replace(bert.LARGE, vocabulary=30522), 336),
    ],
)  # fmt: skip
def test_there_are_as_many_weights_as_the_formula_says(config, millions):
    """The paper says 110 and 340 million with its vocabulary of 30522; 340 is a round number."""
    with nn.shapes_only():
        net = bert.build(config)
    count = sum(each.type.size for each in net.trainable_params())
    assert count == formula(config)
    assert count // 10**6 == millions


def test_equal_layers_are_one_func_that_is_called_for_each():
    """The encoder is compiled once, however many layers there are."""
    with nn.shapes_only():
        case = Case(replace(bert.SMOKE, layers=12), 2)
    inside = {id(each): each for binding in case.traced.bindings for each in binding.funcs.values()}
    (of_bert,) = [each for each in inside.values() if each.name.startswith("BertForPreTraining")]
    (encoder,) = [each for b in of_bert.bindings for each in b.funcs.values() if each.name == "Bert"]
    called = [each for b in encoder.bindings for each in b.funcs.values() if "Layer" in each.name]
    assert len({id(each) for each in called}) < 3
    assert case.func.ops().count("softmax") == 12


@pytest.mark.parametrize(("batch", "dropout"), [(2, 0.1), (96, 0.1), (96, 0.0)])
def test_every_node_of_a_training_step_has_a_kernel(batch, dropout):
    """Of BERT-Large's step nothing ends on the host or the AI CPU; two layers have all kinds of nodes."""
    with nn.shapes_only():
        case = Case(replace(bert.LARGE, layers=2, dropout=dropout), batch)
    placed = split(prepare(case.func), P)
    assert {node.engine for node in placed.nodes} == {"aicore", "view"}, [
        (node.name, node.reason) for node in placed.nodes if node.engine not in {"aicore", "view"}
    ]


@pytest.mark.parametrize("dropout", [0.1, 0.0])
def test_loss_and_gradients_on_the_chip_equal_numpy(dropout):
    """Two layers, batch 2: the same masks of dropout, or attention as one kernel.

    Roundings of fp16, 2**-11 each, add up along the way: to 2**-7 of the largest slope of a weight at most.
    """
    case = small() if dropout else Case(replace(bert.SMOKE, dropout=0.0), 2)
    assert ("attention" in case.func.ops()) == (not dropout)
    expected = compile_host(case.func)(case.arrays())
    found = compile_for_device(case.func, "ascend910a")(case.arrays())
    assert abs(found[0] - expected[0]) <= 2.0**-10 * abs(expected[0])
    slopes = dict(zip(case.names, expected[1:], strict=True))
    for name, ours in zip(case.names, found[1:], strict=True):
        # what moves all keys alike moves no share: of these slopes roundings are all that there is
        scale = np.abs(slopes[name.replace("key.bias", "query.bias")]).max()
        np.testing.assert_allclose(ours, slopes[name], rtol=0, atol=2.0**-7 * scale, err_msg=name)


def test_the_key_decides_what_is_dropped():
    """The same key gives the same loss, another step another one, and without a key nothing is dropped."""
    config, case = bert.SMOKE, small()
    data = case.data
    feeds = [Tensor(data[name]) for name in ("ids", "types", "mask", "positions")]
    first, again, other = (case.net(*feeds, ops.dropout_key(1, step))[1].numpy() for step in (0, 0, 1))
    plain = case.net(*feeds)[1].numpy()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != plain).any()
    whole = bert.build(replace(config, dropout=0.0))
    np.testing.assert_array_equal(whole(*feeds, ops.dropout_key(1, 0))[1].numpy(), plain)


def test_positions_that_are_masked_change_nothing():
    """Words behind the end of a sentence are not seen."""
    case = small()
    data = dict(case.data)
    feeds = [data[name] for name in ("ids", "types", "mask", "positions")]
    words = np.where(data["mask"] == 1, feeds[0], 5).astype(np.int32)
    one, other = (case.net(*map(Tensor, (ids, *feeds[1:])))[0].numpy() for ids in (feeds[0], words))
    np.testing.assert_allclose(one, other, atol=1e-3)
