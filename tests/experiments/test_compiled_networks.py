"""The networks whose compilation is timed: their sizes, and what is compiled of them once."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.bench.networks.layers import Weight, size_of
from experiments.bench.networks.resnet import ResNet50
from experiments.bench.networks.training import Training, compiled
from experiments.bench.networks.transformer import BERT_LARGE, Encoder, Sizes
from framework.ir.nodes import Func
from framework.passes.walk import distinct


@pytest.mark.parametrize(
    ("network", "size"),
    [(ResNet50, 25_557_032), (lambda: Encoder(BERT_LARGE), 335_143_938)],
    ids=["resnet50", "bert_large"],
)
def test_networks_have_the_published_number_of_weights(network, size):
    assert size_of(network()) == size


def test_weights_take_no_memory():
    assert Weight(1024, 1024).numpy().strides == (0, 0)


def funcs(layers: int) -> tuple[list[Func], list[Func]]:
    """Return the Funcs of a transformer's training step, when differentiated and after all passes."""
    training = Training(lambda: Encoder(Sizes(layers, 8, 2, 50, 10)), (2, 4), "int32")
    found = training.step().optimized(training.batch(), {})
    return distinct(found.traced.func), distinct(found.func)


def test_equal_layers_are_traced_differentiated_and_optimised_once():
    """More layers make more calls, of the same Funcs: one ahead and one back are left of the layers."""
    few, many = funcs(12), funcs(24)
    assert [len(each) for each in few] == [len(each) for each in many]
    assert [each.name for each in many[1]] == ["EncoderLayer_ahead", "EncoderLayer_back", "grad_WithLoss"]
    callees = [binding.callee for binding in many[1][-1].bindings if binding.callee is not None]
    assert [callees.count(each) for each in many[1][:2]] == [24, 24]


def test_many_layers_are_differentiated_without_closures():
    """Their residuals are many, some 17 for each layer, but each is there once."""
    traced, _ = funcs(40)
    assert {op for each in traced for op in each.ops()} & {"closure", "apply"} == set()


def test_equal_blocks_of_resnet_are_one_func_before_the_passes():
    """Each of the four stages has a first block and others, which are equal; so have their ways back."""
    names = [each.name.split("~")[0] for each in distinct(compiled("resnet50").traced.func)]
    assert names.count("Bottleneck_ahead") == names.count("Bottleneck_back") == 4
    assert names.count("FirstBottleneck_ahead") == names.count("FirstBottleneck_back") == 4


def test_a_small_network_of_the_kind_learns():
    """The gradients are those of the loss: a step against them makes it smaller."""
    training = Training(lambda: Encoder(Sizes(2, 8, 2, 50, 10)), (2, 4), "int32")
    step, batch = training.step(), training.batch()
    weights = step.wanted.parameters
    draw = np.random.default_rng(0)
    for weight in weights:
        weight.set_data(draw.normal(0, 0.3, weight.shape).astype(np.float32))
    before, gradients = step(*batch)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.set_data(weight.numpy() - 0.01 * gradient.numpy())
    assert step(*batch)[0].item() < before.item()
