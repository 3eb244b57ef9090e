"""Networks that are only compiled or timed need shapes, not numbers."""

from __future__ import annotations

import numpy as np

from framework import nn
from framework.models import lenet5
from framework.nn.initializer import shapes_only


def test_parameters_without_numbers_take_no_memory_whatever_their_shape():
    with shapes_only():
        dense = nn.Dense(1 << 20, 1 << 20)
    assert dense.weight.shape == (1 << 20, 1 << 20)
    assert dense.weight.numpy().base is not None
    assert not any(dense.weight.numpy().strides)


def test_the_same_parameters_come_out_as_with_numbers():
    """Names, shapes and types; outside of the block numbers are drawn again."""
    with shapes_only():
        empty = {name: each.type for name, each in lenet5.build().parameters_and_names()}
    full = lenet5.build()
    assert empty == {name: each.type for name, each in full.parameters_and_names()}
    assert np.ptp(full.conv1.weight.numpy()) > 0


def test_numbers_can_be_given_later():
    with shapes_only():
        dense = nn.Dense(2, 3)
    dense.weight.set_data(np.ones((3, 2), np.float32))
    assert dense.weight.numpy().sum() == 6
