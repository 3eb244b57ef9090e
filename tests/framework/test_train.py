"""Training: the step Func, the Model, checkpoints and the data."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import CannotWrite, DavinciError, UnknownName
from framework import Model, data, models, nn, ops, optim, train
from framework.data import Dataset
from framework.dtypes import float32, int32
from framework.ir import TensorType, evaluate, parse_func, print_func, structurally_equal
from framework.models import lenet5
from framework.train.checkpoint import DamagedFile

X, LABELS = TensorType((8, 1, 32, 32), float32), TensorType((8,), int32)


def lenet_step(seed=0, compute_dtype="float16"):
    net = lenet5.build(lenet5.Config(seed=seed, compute_dtype=compute_dtype))
    optimizer = optim.Momentum(net.trainable_params(), 0.05)
    func = train.training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, X, LABELS)
    return net, optimizer, func


def test_the_step_says_which_result_updates_which_parameter():
    """Params are x, labels, learning_rate, weights, moments; results are loss, logits and the updates."""
    net, _, func = lenet_step()
    weights = [name for name, _ in net.parameters_and_names()]
    moments = [f"moments.{name}" for name in weights]
    assert [param.name for param in func.params] == ["x", "labels", "learning_rate", *weights, *moments]
    assert list(func.updates.values()) == [*weights, *moments]
    assert len(func.results) == 2 + 2 * len(weights)
    assert structurally_equal(parse_func(print_func(func)), func)


def test_the_step_is_forward_backward_and_update():
    """One step equals loss, central differences of it, and the momentum rule, in float32 with small steps."""
    net, optimizer, func = lenet_step(compute_dtype=None)
    state = train.initial_state(net, optimizer)
    generator = np.random.default_rng(0)
    x = generator.normal(size=X.shape).astype(np.float32)
    labels = generator.integers(0, 10, LABELS.shape).astype(np.int32)
    rate = np.float32(0.5)
    results = evaluate(func, [x, labels, rate, *state.values()])
    new = {name: results[index] for index, name in func.updates.items()}
    loss = results[0]
    for name in ("conv1.weight", "fc2.weight", "fc3.bias"):
        slope = new[f"moments.{name}"]
        np.testing.assert_allclose(new[name], state[name] - rate * slope, rtol=1e-6)
        scale = 1e-3 / float(np.sqrt((slope**2).sum()))
        ends = [
            evaluate(func, [x, labels, rate, *{**state, name: state[name] + sign * scale * slope}.values()])[
                0
            ]
            for sign in (1, -1)
        ]
        expected = float((slope * slope).sum()) * scale * 2
        assert float(ends[0] - ends[1]) == pytest.approx(expected, rel=0.03)
    assert np.isfinite(loss)


def test_mixed_precision_keeps_gradients_of_weights_in_float32():
    """Products take fp16 operands; weights, moments and their gradients are fp32."""
    _, _, func = lenet_step()
    for binding in func.bindings:
        if binding.op in ("conv2d", "matmul", "conv2d_backward_filter", "conv2d_backward_input"):
            assert {str(atom.type.dtype) for atom in binding.inputs} == {"float16"}
        if binding.op == "apply_momentum":
            assert {str(atom.type.dtype) for atom in binding.inputs} == {"float32"}


def tiny():
    """A linear problem that a Dense layer learns."""
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, 96).astype(np.int32)
    images = (np.eye(3)[labels] * 2 + generator.normal(scale=0.3, size=(96, 3))).astype(np.float32)
    return Dataset(images, labels, 16, seed=1, drop_remainder=True)


def test_a_model_trains():
    """Loss falls, accuracy rises, and the Cell holds the trained weights."""
    net = nn.Dense(3, 3)
    model = Model(net, nn.SoftmaxCrossEntropyWithLogits(), optim.Momentum(net.trainable_params(), 0.1))
    before, history = net.weight.numpy().copy(), train.History()
    model.train(5, tiny(), [history])
    assert len(history.losses) == 30
    assert history.losses[-1] < history.losses[0] / 3
    assert model.eval(tiny()).accuracy > 0.97
    assert not np.array_equal(net.weight.numpy(), before)


def test_sink_size_does_not_change_the_result():
    """Several steps in one call are the same steps."""
    weights = []
    for sink_size in (1, 4):
        net = nn.Dense(3, 3)
        model = Model(net, nn.SoftmaxCrossEntropyWithLogits(), optim.Momentum(net.trainable_params(), 0.1))
        model.train(2, tiny(), sink_size=sink_size)
        weights.append(net.weight.numpy())
    np.testing.assert_array_equal(*weights)


def test_divergence_is_told():
    """A loss that is no number stops training with advice."""
    net = nn.Dense(3, 3)
    model = Model(net, nn.SoftmaxCrossEntropyWithLogits(), optim.Momentum(net.trainable_params(), 1e38))
    with pytest.raises(DavinciError, match="training has diverged; lower the learning rate"):
        model.train(3, tiny())


def test_lenet_learns_the_digits():
    """Two epochs of the mixed-precision LeNet-5 are well on the way."""
    digits = data.digits(seed=0)
    net = lenet5.build()
    optimizer = optim.Momentum(net.trainable_params(), lenet5.RECIPE.schedule(2 * len(digits.train)))
    model = Model(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer)
    model.train(2, digits.train)
    assert model.eval(digits.test).accuracy > 0.9


def test_the_digits_are_split_and_shuffled_by_their_seed():
    """Sizes, normalisation, and an order that depends on (seed, epoch) alone."""
    digits = data.digits(seed=3)
    assert digits.train.images.shape == (1438, 1, 32, 32)
    assert digits.test.images.shape == (359, 1, 32, 32)
    assert abs(float(digits.train.images.mean())) < 1e-4
    assert (len(digits.train), len(digits.test)) == (44, 12)
    first, again, other = (np.concatenate([y for _, y in digits.train.epoch(number)]) for number in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_checkpoint_comes_back_and_damage_is_found(tmp_path):
    """Every bit is kept; one flipped byte is refused."""
    net, optimizer, _ = lenet_step()
    state = train.initial_state(net, optimizer)
    path = train.save_checkpoint(tmp_path / "a" / "lenet.safetensors", state)
    loaded = train.load_checkpoint(path)
    assert loaded.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(loaded[name], array)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedFile, match="is damaged: its SHA-256 is"):
        train.load_checkpoint(path)
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "lenet.safetensors",
        "lenet.safetensors.sha256",
    ]


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path):
    """A file in place of the folder is one clear message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot write"):
        train.save_checkpoint(tmp_path / "file" / "x.safetensors", {})


def test_unknown_models_and_data_sets_are_answered_with_the_nearest():
    """Names are looked up in registries."""
    with pytest.raises(UnknownName, match=r"unknown model 'lenet': did you mean lenet5 or resnet50\?"):
        models.model("lenet")
    with pytest.raises(UnknownName, match=r"unknown data set 'digit': did you mean digits\?"):
        data.dataset("digit")


def test_a_loss_must_have_a_known_reduction():
    """`reduction` is one of three."""
    with pytest.raises(UnknownName, match="unknown reduction 'average'"):
        nn.SoftmaxCrossEntropyWithLogits(reduction="average")
    losses = nn.SoftmaxCrossEntropyWithLogits(sparse=False, reduction="none")(
        ops.zeros_like(ops.cast(np.eye(3), "float32")), np.eye(3)
    )
    np.testing.assert_allclose(losses.numpy(), np.log([3.0] * 3), rtol=1e-6)
