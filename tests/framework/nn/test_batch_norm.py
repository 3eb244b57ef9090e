"""Batch normalisation: what it computes, what it learns, and what its gradient leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.errors import ShapeMismatch
from framework import Tensor, grad, jit, nn, ops, value_and_grad
from framework.models import resnet50

SHAPE = (4, 3, 5, 2)


def images(seed=0, shape=SHAPE, dtype=np.float32):
    return (np.random.default_rng(seed).normal(2, 3, shape)).astype(dtype)


def by_channel(vector):
    return vector.reshape(1, -1, 1, 1)


def test_in_training_every_channel_has_mean_0_and_variance_1():
    """Of the batch, however x is distributed."""
    y = nn.BatchNorm2d(3).set_train()(Tensor(images())).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("compile_it", [jit, lambda cell: cell])
def test_moving_averages_follow_the_batches(compile_it):
    """They keep `momentum` of what they were; the variance is that of all from which the batch is drawn."""
    layer = nn.BatchNorm2d(3, momentum=0.8).set_train()
    run = compile_it(layer)
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = images(seed)
        run(Tensor(x))
        mean = 0.8 * mean + 0.2 * x.mean(axis=(0, 2, 3))
        variance = 0.8 * variance + 0.2 * x.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)


def test_in_use_the_moving_averages_are_taken_and_stay():
    """The same numbers whatever else is in the batch."""
    layer = nn.BatchNorm2d(3)
    layer.moving_mean.set_data(np.float32([1, 2, 3]))
    layer.moving_variance.set_data(np.float32([4, 5, 6]))
    x = images()
    wanted = (x - by_channel(np.float32([1, 2, 3]))) / np.sqrt(by_channel(np.float32([4, 5, 6])) + 1e-5)
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(Tensor(x[:1])).numpy(), layer(Tensor(x)).numpy()[:1])
    assert layer.moving_mean.numpy().tolist() == [1, 2, 3]


def test_moving_averages_are_not_trained():
    """They are Parameters, but not for the optimiser."""
    layer = nn.BatchNorm2d(3)
    assert [each.name for each in layer.trainable_params()] == ["gamma", "beta"]


@given(seed=st.integers(0, 1000), shift=st.floats(-100, 100), scale=st.floats(0.5, 20))
def test_shift_and_scale_of_the_images_change_nothing(seed, shift, scale):
    """That is what it is for; eps is small beside the variance."""
    layer = nn.BatchNorm2d(3).set_train()
    x = images(seed, dtype=np.float64)
    numbers = [Tensor(each.numpy().astype(np.float64)) for _, each in layer.parameters_and_names()]
    y, *_ = ops.batch_norm(Tensor(x), *numbers, eps=0.0)
    moved, *_ = ops.batch_norm(Tensor(x * scale + shift), *numbers, eps=0.0)
    np.testing.assert_allclose(moved.numpy(), y.numpy(), atol=1e-9)


def test_the_gradient_computes_nothing_for_the_averages_that_are_assigned():
    """Of new averages no gradient comes: forward and backward are one operator each."""
    layer = nn.BatchNorm2d(3).set_train()
    loss = value_and_grad(lambda x: ops.reduce_sum(layer(x) * x), 0, layer.trainable_params())
    ops_there = loss.compiled(Tensor(images())).func.ops()
    assert [name for name in ops_there if "norm" in name] == ["batch_norm", "batch_norm_grad"]
    assert set(ops_there) <= {"batch_norm", "batch_norm_grad", "mul", "add", "reduce_sum", "broadcast_to"}


def test_half_precision_is_normalised_by_float32_statistics():
    """Numbers beyond what float16 can square are no trouble."""
    layer = nn.BatchNorm2d(3).set_train().to_float("float16")
    y = layer(Tensor(images() * 1000))
    assert str(y.dtype) == "float16"
    np.testing.assert_allclose(y.numpy().astype(np.float32).var(axis=(0, 2, 3)), 1, atol=2e-3)
    assert str(layer.moving_variance.dtype) == "float32"


def test_equal_layers_are_compiled_once():
    """Two bottlenecks of one size are one Func, called twice, and each renews its own averages."""
    draw = nn.generator(0)
    blocks = nn.SequentialCell(*(resnet50.Bottleneck(16, 4, 1, draw) for _ in range(2))).set_train()
    compiled = jit(blocks).compiled(Tensor(images(shape=(2, 16, 4, 4))))
    assert len(compiled.renewed) == 2 * 2 * 3
    gradient = grad(lambda x: ops.reduce_sum(blocks(x)), None, blocks.trainable_params())
    assert len(gradient(Tensor(images(shape=(2, 16, 4, 4))))) == 2 * 3 * 3


def test_numbers_by_channel_must_fit():
    """One of another length is refused by name."""
    x = Tensor(images())
    good, bad = Tensor(np.ones(3, np.float32)), Tensor(np.ones(4, np.float32))
    with pytest.raises(ShapeMismatch) as caught:
        ops.batch_norm(x, good, bad, good, good)
    assert str(caught.value) == (
        "batch_norm: the numbers by channel of x float32[4, 3, 5, 2] must be floats [3] of one dtype, "
        "found float32[4]"
    )
