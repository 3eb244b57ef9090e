"""Every model that is listed: its configurations, and its steps without numbers."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import UnknownName
from framework import models
from framework.ir.nodes import Const

BATCH = 2


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_gives_both_steps_of_its_smallest_configuration(name):
    """Feeds begin with the batch; weights, and what the optimiser keeps, are held by the device."""
    zoo = models.model(name)
    small = list(zoo.CONFIGS.values())[-1]
    training, inference = zoo.training(small, BATCH), zoo.inference(small, BATCH)
    assert training.feeds[-1] == "learning_rate"
    assert set(inference.feeds) < set(training.feeds)
    assert set(training.func.updates.values()) <= set(training.held)
    assert set(inference.held) & set(training.feeds) == set()
    assert training.func.params[0].tensor.shape[0] == BATCH


@pytest.mark.parametrize("name", models.MODELS)
def test_steps_hold_the_weights_of_the_network(name):
    """As variables, or as constants."""
    zoo = models.model(name)
    small = list(zoo.CONFIGS.values())[-1]
    step = zoo.inference(small, BATCH)
    params = step.func.params[len(step.feeds) :]
    read = (atom for binding in step.func.bindings for atom in binding.inputs)
    constants = [atom for atom in read if isinstance(atom, Const)]
    held = sum(int(np.prod(each.tensor.shape)) for each in (*params, *constants))
    net = zoo.build(small)
    everything = sum(each.numpy().size for _, each in net.parameters_and_names())
    assert 0.9 * everything <= held <= everything


def test_the_first_configuration_is_the_usual_one():
    assert models.config("bert") is models.bert.LARGE
    assert models.config("bert", "base") is models.bert.BASE


def test_an_unknown_configuration_is_refused():
    with pytest.raises(UnknownName) as refused:
        models.config("bert", "lage")
    assert str(refused.value) == (
        "unknown configuration of bert 'lage': did you mean large? Known: base, large, small"
    )
