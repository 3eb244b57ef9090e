"""Cells that are computed again on the way back: less memory, more time, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.errors import DavinciError
from framework import Tensor, nn, ops, value_and_grad
from framework.dtypes import dtype
from framework.graph_engine import Options, Session
from framework.ir.types import TensorType
from framework.optim import Momentum
from framework.train.step import initial_state, training_step

RANDOM = np.random.Generator(np.random.Philox(5))


class Block(nn.Cell):
    """A wide layer between two narrow ones, and a residual."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Dense(64, 512), nn.Dense(512, 64)

    def construct(self, x):
        return x + self.narrow(ops.tanh(self.wide(x)))


class Net(nn.Cell):
    """Some blocks, and what they lose."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = Block(), Block(), Block()

    def construct(self, x):
        return ops.reduce_mean(ops.square(self.third(self.second(self.first(x)))))


class Doubled(nn.Cell):
    """A Cell with a gradient rule of its own."""

    def construct(self, x):
        return x + x

    def bprop(self, x, value, dy):
        return dy + dy


def net(recomputes: bool) -> Net:
    """Return the network, the same every time, its blocks computed again or kept."""
    made, numbers = Net(), np.random.Generator(np.random.Philox(3))
    for parameter in made.trainable_params():
        parameter.set_data(Tensor(0.1 * numbers.standard_normal(parameter.shape).astype(np.float32)))
    for block in (made.first, made.second, made.third) if recomputes else ():
        assert block.recompute() is block
    return made


def step(recomputes: bool) -> Session:
    """Return the session of a training step."""
    network = net(recomputes)
    optimizer = Momentum(network.trainable_params(), 0.1)
    func = training_step(network, None, optimizer, TensorType((256, 64), dtype("float32")))
    state = initial_state(network, optimizer)
    return Session(func, Chip("ascend910a"), state, Options(streams=False))


def test_gradients_are_the_same_bits():
    """What is computed again comes out as it was."""
    x = Tensor(RANDOM.standard_normal((8, 64)).astype(np.float32))
    for kept, again in zip(*(_gradients(net(each), x) for each in (False, True)), strict=True):
        assert kept.tobytes() == again.tobytes()


def _gradients(network, x):
    value, found = value_and_grad(network, position=None, weights=network.trainable_params())(x)
    return [value.numpy(), *(each.numpy() for each in found)]


def test_a_step_on_the_device_takes_less_memory_and_more_time():
    """At its peak a fifth less is alive; the forward pass is there twice; the weights come out the same."""
    feeds = {"x": RANDOM.standard_normal((1, 256, 64)).astype(np.float32), "learning_rate": np.float32([0.1])}
    kept, again = step(False), step(True)
    losses = [next(iter(each.run(feeds).outputs.values())) for each in (kept, again)]
    assert losses[0] == losses[1]
    for name, weight in kept.variables().items():
        assert weight.tobytes() == again.variables()[name].tobytes(), name
    assert again.compiled.memory.peak_bytes < 0.8 * kept.compiled.memory.peak_bytes
    assert kept.step_us() < again.step_us() < 1.5 * kept.step_us()


def test_a_cell_with_a_rule_of_its_own_is_refused():
    """Its rule says what it keeps."""
    with pytest.raises(DavinciError) as caught:
        Doubled().recompute()
    assert str(caught.value) == (
        "Doubled has a bprop, and is to be recomputed\n"
        "  rule: a gradient rule of its own says what a Cell keeps\n"
        "  next: keep less there, or call recompute() of the Cells around it"
    )
