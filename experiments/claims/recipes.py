"""The training step of a network, as its model has it or with MindSpore's guards of mixed precision."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from framework import nn
from framework.ir.nodes import Func
from framework.ir.types import TensorType
from framework.models import bert, config, model
from framework.optim import LAMB, without_decay_of_vectors
from framework.train import training_step
from framework.train.scale import DynamicLossScale

CLIP_NORM = 1.0
"""What the norm of all gradients together may be; assumed, as is usual for BERT."""


class Case(NamedTuple):
    """A network and how many samples a step takes.

    `guarded`: the loss scale adapts, gradients are checked to be finite, and clipped by their norm.
    """

    network: str
    batch: int
    configuration: str = ""
    guarded: bool = False

    @property
    def title(self) -> str:
        """Print for people."""
        named = {"resnet50": "ResNet-50", "bert": "BERT-Large"}.get(self.network, self.network)
        return f"{named}, batch {self.batch}{', guarded' if self.guarded else ''}"


@lru_cache(maxsize=2)
def step_of(case: Case) -> Func:
    """Return the step; weights have no numbers."""
    sizes = config(case.network, case.configuration)
    step = model(case.network).training(sizes, case.batch)
    if not case.guarded:
        return step.func
    feeds = step.func.params[: len(step.feeds) - 1]  # the last one is the learning rate
    types = [param.type for param in feeds if isinstance(param.type, TensorType)]
    with nn.shapes_only():
        net = bert.PreTraining(bert.build(sizes))
    params = without_decay_of_vectors(net.trainable_params(), bert.RECIPE.weight_decay)
    optimizer = LAMB(params, bert.RECIPE.peak_learning_rate)
    return training_step(net, None, optimizer, *types, loss_scale=DynamicLossScale(), clip_norm=CLIP_NORM)
