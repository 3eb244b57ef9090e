"""A whole training step on the simulated chip equals the NumPy evaluation, and is the same every time."""

import numpy as np
import pytest

from davinci_sim.chip import Chip
from framework import nn
from framework.graph_engine import DeviceRunner
from framework.ir.types import TensorType
from framework.dtypes import dtype
from framework.models import lenet5
from framework.optim import Momentum
from framework.train.runner import Batch, HostRunner
from framework.train.step import initial_state, training_step

STEPS, BATCH = 20, 32


def lenet(batch: int):
    """Return the Func of a training step and its first state."""
    net = lenet5.build()
    optimizer = Momentum(net.trainable_params(), 0.05, 0.9)
    types = TensorType((batch, 1, 32, 32), dtype("float32")), TensorType((batch,), dtype("int32"))
    func = training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *types)
    return func, initial_state(net, optimizer)


def batches(count: int, batch: int):
    """Return random batches that hang together: each class is a bright patch."""
    generator = np.random.Generator(np.random.Philox(3))
    made = []
    for _ in range(count):
        labels = generator.integers(0, 10, batch).astype(np.int32)
        x = 0.3 * generator.standard_normal((batch, 1, 32, 32)).astype(np.float32)
        for row, label in enumerate(labels):
            x[row, 0, 3 * label : 3 * label + 4, 5:25] += 1
        made.append(Batch(x, labels, 0.02))
    return made


def test_twenty_steps_on_the_device_equal_numpy_loss_by_loss():
    """Only the order of fp32 additions and fp16 roundings near ties may differ: at most 2**-9 of the loss."""
    func, state = lenet(BATCH)
    data = batches(STEPS, BATCH)
    expected, _ = HostRunner(func, state).run(data)
    got, _ = DeviceRunner(func, state, "ascend910a").run(data)
    assert np.abs(got - expected).max() <= 2.0**-9 * np.abs(expected).max()
    assert expected[-1] < 0.7 * expected[0]


def test_a_sink_loop_gives_the_bits_of_single_steps():
    """One call of the host for six steps is six calls for one."""
    func, state = lenet(8)
    data = batches(6, 8)
    together = DeviceRunner(func, state, "ascend910a")
    losses, _ = together.run(data)
    alone = DeviceRunner(func, state, "ascend910a")
    singles = np.concatenate([alone.run([batch])[0] for batch in data])
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
    data = batches(2, 8)
    first.run(data)
    other.run(data)
    assert {n: a.tobytes() for n, a in first.state().items()} == {n: a.tobytes() for n, a in other.state().items()}
    assert [t.cycles for t in first.session.profile()] == [t.cycles for t in other.session.profile()]


def test_remembered_times_are_those_of_fresh_simulations():
    """Turning the memory of equal tasks off changes no cycle."""
    func, state = lenet(4)
    remembering = DeviceRunner(func, state, Chip())
    fresh = DeviceRunner(func, state, Chip(remember_times=False))
    assert [t.cycles for t in remembering.session.profile()] == [t.cycles for t in fresh.session.profile()]


def test_everything_of_a_lenet_step_runs_on_the_ai_cores():
    """No node is left to the host, and convolution weights stay in the cube's format."""
    func, state = lenet(4)
    graph = DeviceRunner(func, state, "ascend910a").session.loaded.graph
    assert {node.engine for node in graph.nodes} == {"aicore", "view"}
    assert graph.values["conv1.weight"].format == graph.values["moments.conv2.weight"].format == "FRACTAL_Z"
