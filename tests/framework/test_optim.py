"""Optimisers, loss scales and steps of any network: equal to plain NumPy, on the host and on the chip."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.errors import DavinciError
from framework import Parameter, nn, ops, optim
from framework.dtypes import float32, int32
from framework.graph_engine import DeviceRunner, Session
from framework.ir import TensorType
from framework.models import bert, lenet5
from framework.optim import LAMB, SGD, Adam, AdamW, Betas, Momentum, without_decay_of_vectors
from framework.train import Batch, DynamicLossScale, HostRunner, initial_state, training_step

X, Y = TensorType((4, 6), float32), TensorType((4, 40), float32)
RATE, DECAY, STEPS = 0.05, 0.1, 3
SUMS = 512
"""Numbers that LAMB takes norms from: what is shorter is not written in place."""


class Fit(nn.Cell):
    """Half the squared distance of two layers from a target: returns its own loss, and what it predicts."""

    def __init__(self, compute_dtype=None):
        """Draw the layers, of more weights than the partial sums of a norm have numbers."""
        super().__init__()
        self.hidden, self.out = nn.Dense(6, 24, seed=1), nn.Dense(24, 40, seed=2)
        self.seen = Parameter(np.float32(0.0), requires_grad=False)
        self.shift = Parameter(np.full(6, 0.25, np.float32), requires_grad=False)
        if compute_dtype is not None:
            self.to_float(compute_dtype)

    def construct(self, x, target):
        """Return loss and prediction, and count the step."""
        ops.assign(self.seen, self.seen + 1.0)
        found = self.out(ops.tanh(self.hidden(x + self.shift)))
        away = found - target
        return 0.5 * ops.reduce_sum(away * away), found


def feeds(steps=STEPS, seed=3, size=1.0):
    """Return inputs of some steps."""
    draw = np.random.default_rng(seed)
    return {
        "x": size * draw.normal(size=(steps, *X.shape)).astype(np.float32),
        "target": size * draw.normal(size=(steps, *Y.shape)).astype(np.float32),
        "learning_rate": np.full(steps, RATE, np.float32),
    }


def slopes_of(weights, x, target):
    """Return loss and gradients of Fit, written out in float64."""
    w1, b1, w2, b2 = (weights[n] for n in ("hidden.weight", "hidden.bias", "out.weight", "out.bias"))
    x = x.astype(np.float64) + 0.25
    h = np.tanh(x @ w1.T + b1)
    away = h @ w2.T + b2 - target
    back = (away @ w2) * (1 - h * h)
    found = {"hidden.weight": back.T @ x, "hidden.bias": back.sum(0)}
    found |= {"out.weight": away.T @ h, "out.bias": away.sum(0)}
    return 0.5 * (away * away).sum(), found


def sgd(w, g, state, t, decay):
    """One step of SGD."""
    return w - RATE * (g + decay * w)


def momentum(w, g, state, t, decay):
    """One step with momentum."""
    state["m"] = 0.9 * state.get("m", 0) + g + decay * w
    return w - RATE * state["m"]


def nesterov(w, g, state, t, decay):
    """One step with momentum, looking ahead."""
    state["m"] = 0.9 * state.get("m", 0) + g + decay * w
    return w - RATE * (0.9 * state["m"] + g + decay * w)


def moments(g, state):
    """Move the moments of the adaptive optimisers."""
    state["m"] = 0.8 * state.get("m", 0) + 0.2 * g
    state["v"] = 0.9 * state.get("v", 0) + 0.1 * g * g


def adam(w, g, state, t, decay):
    """One step of AdamW, of Adam if nothing decays."""
    moments(g, state)
    step = state["m"] / (1 - 0.8**t) / (np.sqrt(state["v"] / (1 - 0.9**t)) + 1e-6 / np.sqrt(1 - 0.9**t))
    return w * (1 - RATE * decay) - RATE * step


def uncorrected(w, g, state, t, decay):
    """One step of the AdamWeightDecay of BERT."""
    moments(g, state)
    return w * (1 - RATE * decay) - RATE * state["m"] / (np.sqrt(state["v"]) + 1e-6)


def lamb(w, g, state, t, decay):
    """One step of LAMB."""
    moments(g, state)
    u = state["m"] / (1 - 0.8**t) / (np.sqrt(state["v"] / (1 - 0.9**t)) + 1e-6) + decay * w
    norms = np.linalg.norm(w), np.linalg.norm(u)
    return w - RATE * (norms[0] / norms[1] if min(norms) > 0 else 1.0) * u


BETAS = Betas(0.8, 0.9, 1e-6)
OPTIMIZERS = {
    "sgd": (lambda p: SGD(without_decay_of_vectors(p, DECAY), RATE), sgd, DECAY),
    "momentum": (lambda p: Momentum(p, RATE), momentum, 0.0),
    "momentum_decay": (lambda p: Momentum(without_decay_of_vectors(p, DECAY), RATE), momentum, DECAY),
    "nesterov": (
        lambda p: Momentum(without_decay_of_vectors(p, DECAY), RATE, nesterov=True),
        nesterov,
        DECAY,
    ),
    "adam": (lambda p: Adam(p, RATE, BETAS), adam, 0.0),
    "adamw": (lambda p: AdamW(without_decay_of_vectors(p, DECAY), RATE, BETAS), adam, DECAY),
    "adam_weight_decay": (
        lambda p: AdamW(without_decay_of_vectors(p, DECAY), RATE, BETAS, corrects_bias=False),
        uncorrected,
        DECAY,
    ),
    "lamb": (lambda p: LAMB(without_decay_of_vectors(p, DECAY), RATE, BETAS), lamb, DECAY),
}


def by_hand(name, given, clip=None):
    """Return losses and weights of the steps in NumPy."""
    net = Fit()
    weights = {n: p.numpy().astype(np.float64) for n, p in net.parameters_and_names() if p.requires_grad}
    state = {n: {} for n in weights}
    losses = []
    for at, (x, target) in enumerate(zip(given["x"], given["target"], strict=True)):
        loss, slopes = slopes_of(weights, x, target)
        if clip is not None:
            norm = np.sqrt(sum((g * g).sum() for g in slopes.values()))
            slopes = {n: g * clip / max(norm, clip) for n, g in slopes.items()}
        losses.append(loss)
        _, update, decay = OPTIMIZERS[name]
        for n, g in slopes.items():
            own = decay if n.endswith("weight") else 0.0
            weights[n] = update(weights[n], g, state[n], at + 1, own)
    return losses, weights


def runner_for(name, device=None, compute_dtype=None, **options):
    """Return what runs steps of Fit with an optimiser."""
    net = Fit(compute_dtype)
    optimizer = OPTIMIZERS[name][0](net.trainable_params())
    func = training_step(net, None, optimizer, X, Y, **options)
    state = initial_state(net, optimizer, options.get("loss_scale"))
    return HostRunner(func, state) if device is None else DeviceRunner(func, state, device)


@pytest.mark.parametrize("device", [None, "ascend910a"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_an_optimiser_equal_plain_numpy(name, device):
    """Losses and weights after three steps, with its groups of weight decay; the network counts its steps."""
    given = feeds()
    losses, weights = by_hand(name, given)
    runner = runner_for(name, device)
    found, predicted = runner.feed(given)
    np.testing.assert_allclose(found, losses, rtol=2e-4)
    assert predicted.shape == (STEPS, *Y.shape)
    state = runner.state()
    for n, expected in weights.items():
        np.testing.assert_allclose(state[n], expected, rtol=2e-3, atol=2e-4)
    assert state["seen"] == STEPS
    np.testing.assert_array_equal(state["shift"], np.full(6, 0.25))


@pytest.mark.parametrize("device", [None, "ascend910a"])
def test_a_loss_scale_changes_no_step(device):
    """Gradients of the scaled loss are divided by the scale; the loss that is shown is the loss itself."""
    losses, weights = by_hand("momentum_decay", feeds())
    runner = runner_for("momentum_decay", device, loss_scale=1024.0)
    np.testing.assert_allclose(runner.feed(feeds())[0], losses, rtol=2e-4)
    for n, expected in weights.items():
        np.testing.assert_allclose(runner.state()[n], expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("device", [None, "ascend910a"])
def test_gradients_are_clipped_by_their_common_norm(device):
    """The norm goes over all Parameters."""
    losses, weights = by_hand("sgd", feeds(), clip=1.5)
    runner = runner_for("sgd", device, loss_scale=8.0, clip_norm=1.5)
    np.testing.assert_allclose(runner.feed(feeds())[0], losses, rtol=2e-4)
    for n, expected in weights.items():
        np.testing.assert_allclose(runner.state()[n], expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("device", [None, "ascend910a"])
def test_steps_whose_gradients_overflow_are_skipped(device):
    """Weights and moments stay as they are and the scale is halved; after two good steps it is doubled.

    Half precision overflows at 65504: of the third step's inputs, hundreds of thousands of times as large.
    """
    given = feeds(6, size=0.1)
    given["x"][2] *= 1e6
    scale = DynamicLossScale(first=64.0, window=2)
    runner = runner_for("adamw", device, compute_dtype="float16", loss_scale=scale)
    states = [runner.state()]
    for at in range(6):
        runner.feed({name: array[at : at + 1] for name, array in given.items()})
        states.append(runner.state())
    assert [float(each["loss_scale"]) for each in states] == [64.0, 64.0, 128.0, 64.0, 64.0, 128.0, 128.0]
    assert [int(each["good_steps"]) for each in states] == [0, 1, 0, 0, 1, 0, 1]
    kept = [name for name in states[0] if name not in ("loss_scale", "good_steps", "seen", "shift")]
    for at in range(6):
        same = [np.array_equal(states[at][name], states[at + 1][name]) for name in kept]
        assert all(same) if at == 2 else not any(same)
    assert float(states[6]["beta1_power"]) == pytest.approx(0.8**5)
    assert float(states[6]["seen"]) == 6


def test_a_scale_that_overflows_again_and_again_stays_at_least_one():
    """It cannot become smaller than no scale at all."""
    given = feeds(4)
    given["x"][:] = np.inf
    runner = runner_for("sgd", loss_scale=DynamicLossScale(first=4.0))
    runner.feed(given)
    assert float(runner.state()["loss_scale"]) == 1.0


def test_a_skipped_step_copies_no_tensor_and_neither_does_one_that_is_made():
    """New weights and moments are written over the old ones: only numbers of the loss scale are copied."""
    runner = runner_for("lamb", "ascend910a", loss_scale=DynamicLossScale())
    copies = [task for task in runner.session.loaded.compiled.tasks if task.kind == "memcpy"]
    values = runner.session.loaded.graph.values
    small = {name for name, value in values.items() if value.type.size <= SUMS}
    assert {task.operands["dst"] for task in copies} & {"loss_scale", "good_steps"}
    assert [task.name for task in copies if task.operands["dst"] not in small] == []


def test_a_step_with_a_dynamic_loss_scale_is_timed_without_data():
    """It is timed as one that is made, which is what it takes when it runs."""
    net, scale = Fit("float16"), DynamicLossScale(first=64.0, window=2)
    optimizer = OPTIMIZERS["adamw"][0](net.trainable_params())
    func = training_step(net, None, optimizer, X, Y, loss_scale=scale)
    state = initial_state(net, optimizer, scale)
    timed, ran = (Session(func, Chip("ascend910a", data=data), state) for data in (False, True))
    ran.run(feeds(1))
    assert timed.step_us() == ran.step_us() > 0
    assert [each.name for each in timed.profile()] == [each.name for each in ran.profile()]


LENET = (TensorType((8, 1, 32, 32), float32), TensorType((8,), int32))


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_lenet_learns_alike_on_the_host_and_on_the_chip(name):
    """Four steps in half precision with a dynamic loss scale: the losses differ by roundings, and fall."""
    net, scale = lenet5.build(), DynamicLossScale(first=128.0, window=2)
    optimizer = OPTIMIZERS[name][0](net.trainable_params())
    func = training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *LENET, loss_scale=scale)
    state = initial_state(net, optimizer, scale)
    draw = np.random.default_rng(5)
    x = draw.normal(size=LENET[0].shape).astype(np.float32)
    batch = Batch(x, draw.integers(0, 10, 8).astype(np.int32), 0.002)
    host, device = HostRunner(func, state), DeviceRunner(func, state, "ascend910a")
    expected, found = host.run([batch] * 4)[0], device.run([batch] * 4)[0]
    np.testing.assert_allclose(found, expected, rtol=2e-2)
    assert expected[-1] < expected[0]
    assert float(device.state()["loss_scale"]) == float(host.state()["loss_scale"]) == 512.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD([], 0.1), "SGD has no parameters to update; pass net.trainable_params()"),
        (lambda p: SGD(p, 0.1, -1.0), "SGD: weight_decay is -1.0, it must be at least 0"),
        (
            lambda p: SGD([optim.Group(p, 0.1), optim.Group(p[:1], 0.0)], 0.1),
            "SGD: Parameter(hidden.weight: float32[24, 6]) is in two groups; each Parameter is updated once",
        ),
        (lambda p: Adam(p, 0.1, Betas(1.0)), "Adam: beta1 is 1.0, it must be at least 0 and below 1"),
        (lambda p: LAMB(p, 0.1, Betas(epsilon=0.0)), "LAMB: epsilon is 0.0, it must be positive"),
        (
            lambda p: Adam([optim.Group(p, 0.1)]),
            "Adam has no weight decay; take AdamW, whose weights decay by themselves",
        ),
        (lambda p: DynamicLossScale(0.5), "DynamicLossScale: first is 0.5, it must be at least 1"),
        (lambda p: DynamicLossScale(factor=1.0), "DynamicLossScale: factor is 1.0, it must be above 1"),
        (lambda p: DynamicLossScale(window=0), "DynamicLossScale: window is 0, it must be at least 1 step"),
    ],
)
def test_numbers_that_cannot_train_are_refused(make, message):
    """The message names the optimiser, the number and the rule."""
    with pytest.raises(DavinciError) as refused:
        make(Fit().trainable_params())
    assert str(refused.value) == message


def test_feeds_that_lack_an_input_are_refused():
    """Every input has rows for as many steps."""
    runner, given = runner_for("sgd"), feeds()
    with pytest.raises(DavinciError) as refused:
        runner.feed({"x": given["x"]})
    assert str(refused.value) == (
        "@train_Fit takes x, target, learning_rate, it is fed x\n"
        "  next: feed every input, with an axis of steps in front"
    )
    with pytest.raises(DavinciError) as refused:
        runner.feed({**given, "x": given["x"][:1]})
    assert str(refused.value) == (
        "@train_Fit is fed rows for {'x': 1, 'target': 3, 'learning_rate': 3} steps\n"
        "  rule: all inputs have the same number, at least 1"
    )


def test_rates_fall_as_lines_and_powers():
    """Both rise linearly first, and stay at the end where they are."""
    line = optim.warmup_linear(1.0, 2, 6, final=0.2)
    assert [line(step) for step in (0, 1, 2, 4, 6, 9)] == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2, 0.2])
    power = optim.warmup_polynomial(1.0, 0, 4, 0.5)
    assert [power(step) for step in (0, 3, 4)] == pytest.approx([1.0, 0.5, 0.0])


@pytest.mark.slow
@pytest.mark.parametrize("first", [2.0**10, 2.0**30])
def test_a_bert_step_with_a_dynamic_loss_scale_is_the_devices_alone(first):
    """Nothing runs on the host or the AI CPU, numbers alone are copied, and what overflows is skipped."""
    net = bert.PreTraining(bert.build(bert.SMOKE))
    params = without_decay_of_vectors(net.trainable_params(), 0.01)
    optimizer, scale = AdamW(params, RATE, corrects_bias=False), DynamicLossScale(first)
    given = {**bert.inputs(bert.SMOKE, 2), "key": ops.dropout_key(0).numpy()}
    types = [TensorType.of(each) for each in given.values()]
    func, state = (
        training_step(net, None, optimizer, *types, loss_scale=scale),
        initial_state(net, optimizer, scale),
    )
    host, device = HostRunner(func, state), DeviceRunner(func, state, "ascend910a")
    batch = {name: each[np.newaxis] for name, each in {**given, "learning_rate": np.float32(1e-4)}.items()}
    np.testing.assert_allclose(device.feed(batch)[0], host.feed(batch)[0], rtol=1e-3)
    found, expected = device.state(), host.state()
    assert float(found["loss_scale"]) == float(expected["loss_scale"])
    same = [np.array_equal(found[each.name], state[each.name]) for each in optimizer.params]
    assert all(same) if first == 2.0**30 else not any(same)
    graph, tasks = device.session.loaded.graph, device.session.compiled.tasks
    assert {node.engine for node in graph.nodes} <= {"aicore", "view", "rts"}
    assert sum(graph.values[task.operands["src"]].nbytes for task in tasks if task.kind == "memcpy") <= 64
