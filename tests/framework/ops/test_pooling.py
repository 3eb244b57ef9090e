"""Pooling with padding, and averages."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import ShapeMismatch
from framework import Tensor, grad, nn, ops


def images(h=5, w=4):
    return np.random.default_rng(0).normal(size=(2, 3, h, w)).astype(np.float32)


def test_padding_never_is_the_maximum():
    """Of negative numbers neither, and no gradient is lost to it."""
    x = -1 - np.abs(images())
    y, place = ops.max_pool_with_argmax(Tensor(x), 3, 2, 1)
    assert y.shape == (2, 3, 3, 2)
    assert y.numpy()[0, 0, 0, 0] == x[0, 0, :2, :2].max()
    assert place.numpy()[:, :, 0, 0].min() >= 4  # the first row and the first column lie beside the image
    slopes = grad(lambda x: ops.reduce_sum(nn.MaxPool2d(3, 2, 1)(x)))(Tensor(x)).numpy()
    assert slopes.sum() == y.size


def test_averages_count_padding_only_when_asked():
    """Of ones all averages are one, or as much as lies in the image."""
    x = Tensor(np.ones((1, 1, 4, 4), np.float32))
    assert nn.AvgPool2d(3, 2, 1)(x).numpy().tolist() == [[[[1, 1], [1, 1]]]]
    counted = nn.AvgPool2d(3, 2, 1, include_pad=True)(x).numpy() * 9
    np.testing.assert_allclose(counted, [[[[4, 6], [6, 9]]]])


def test_a_global_average_is_that_of_the_whole_image():
    """As is an average pooling whose window is the image."""
    x = images()
    found = nn.GlobalAvgPool2d()(Tensor(x)).numpy()
    np.testing.assert_allclose(found, x.mean(axis=(2, 3), keepdims=True), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(nn.AvgPool2d((5, 4))(Tensor(x)).numpy(), found, rtol=1e-5, atol=1e-7)


def test_windows_see_the_image():
    """Padding as wide as the window would make averages of nothing."""
    with pytest.raises(ShapeMismatch) as caught:
        nn.MaxPool2d(2, 1, 2)(Tensor(images()))
    assert str(caught.value) == (
        "max_pool_with_argmax: pad (2, 2, 2, 2) must be less than the window (2, 2), so that every window "
        "sees the image"
    )
