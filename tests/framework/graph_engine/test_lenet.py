"""A whole training step on the simulated chip equals the NumPy evaluation, and is the same every time."""

from itertools import islice

import numpy as np
import pytest

from davinci_sim.chip import Chip
from framework import data, nn
from framework.dtypes import dtype
from framework.graph_engine import DeviceRunner
from framework.ir.types import TensorType
from framework.models import lenet5
from framework.optim import Momentum
from framework.train.runner import Batch, HostRunner
from framework.train.step import initial_state, training_step

STEPS, BATCH = 20, 8


def lenet(batch: int):
    """Return the Func of a training step and its first state."""
    net = lenet5.build()
    optimizer = Momentum(net.trainable_params(), 0.05, 0.9)
    types = TensorType((batch, 1, 32, 32), dtype("float32")), TensorType((batch,), dtype("int32"))
    func = training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *types)
    return func, initial_state(net, optimizer)


def batches(count: int, batch: int):
    """Return the first batches of the recipe: real scans, with its learning rates."""
    digits, schedule = data.dataset("digits", batch, 0), lenet5.RECIPE.schedule(528)
    rows = enumerate(islice(digits.train.epoch(0), count))
    return [Batch(x, labels, schedule(step)) for step, (x, labels) in rows]


def test_twenty_steps_on_the_device_equal_numpy_loss_by_loss():
    """From the same weights, every step's loss and new weights differ by roundings of fp16 only.

    Both sides start each step from NumPy's weights: left alone, two roundings apart become two trainings.
    A loss is the mean of 8 logarithms of fp16 products: 2**-10 of it at most.
    """
    func, state = lenet(BATCH)
    host, device = HostRunner(func, state), DeviceRunner(func, state, "ascend910a")
    losses = []
    for step in batches(STEPS, BATCH):
        device.load(host.state())
        expected, got = host.run([step])[0][0], device.run([step])[0][0]
        assert abs(got - expected) <= 2.0**-10 * abs(expected)
        assert farthest(host.state(), device.state()) <= 2.0**-10
        losses.append(expected)
    assert losses[-1] < 0.6 * losses[0]


def farthest(expected, got) -> float:
    """Return the largest difference between two states, each tensor relative to its largest number."""
    weights = [name for name in expected if not name.startswith("moments")]
    return max(float(np.abs(expected[n] - got[n]).max() / np.abs(expected[n]).max()) for n in weights)


def test_a_sink_loop_gives_the_bits_of_single_steps():
    """One call of the host for six steps is six calls for one."""
    func, state = lenet(8)
    steps = batches(6, 8)
    together = DeviceRunner(func, state, "ascend910a")
    losses, _ = together.run(steps)
    alone = DeviceRunner(func, state, "ascend910a")
    singles = np.concatenate([alone.run([batch])[0] for batch in steps])
    assert losses.tobytes() == singles.tobytes()
    assert (together.session.host_calls, alone.session.host_calls) == (1, 6)
    for name, array in together.state().items():
        assert array.tobytes() == alone.state()[name].tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_bit_and_no_cycle(threads):
    """Weights after two steps, and the time of a step, have one digest."""
    func, state = lenet(8)
    first = DeviceRunner(func, state, Chip(threads=1))
    other = DeviceRunner(func, state, Chip(threads=threads))
    steps = batches(2, 8)
    first.run(steps)
    other.run(steps)
    assert {n: a.tobytes() for n, a in first.state().items()} == {
        n: a.tobytes() for n, a in other.state().items()
    }
    assert [t.cycles for t in first.session.profile()] == [t.cycles for t in other.session.profile()]


def test_remembered_times_are_those_of_fresh_simulations():
    """Turning the memory of equal tasks off changes no cycle."""
    func, state = lenet(8)
    remembering = DeviceRunner(func, state, Chip())
    fresh = DeviceRunner(func, state, Chip(remember_times=False))
    assert [t.cycles for t in remembering.session.profile()] == [t.cycles for t in fresh.session.profile()]


def test_everything_of_a_lenet_step_runs_on_the_ai_cores():
    """No node is left to the host, and convolution weights stay in the cube's format."""
    func, state = lenet(8)
    graph = DeviceRunner(func, state, "ascend910a").session.loaded.graph
    assert {node.engine for node in graph.nodes} == {"aicore", "view"}
    assert graph.values["conv1.weight"].format == "FRACTAL_Z_C04"
    assert graph.values["conv2.weight"].format == graph.values["moments.conv2.weight"].format == "FRACTAL_Z"


@pytest.mark.slow
def test_the_simpy_core_computes_a_whole_step_bit_for_bit():
    """Every task of a step gives the same memory when its data move at the ends of simulated moves.

    A hand-off that is missing in any kernel shows here: its consumer would see what was there before.
    """
    func, state = lenet(BATCH)
    fast, slow = (DeviceRunner(func, state, Chip()) for _ in range(2))
    step = batches(1, BATCH)
    slow.session.chip.run = slow.session.chip.run_reference
    assert fast.run(step)[1].tobytes() == slow.run(step)[1].tobytes()
    states = [{name: array.tobytes() for name, array in runner.state().items()} for runner in (fast, slow)]
    assert states[0] == states[1]
