"""Gradients of every operator for random shapes, axes and attributes: two orders, and over batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from framework.autodiff import differentiate
from framework.autodiff.batching import Batch, batch
from framework.ir import evaluate, verify
from framework.ops import OPERATORS, NoGradient, Op
from tests.framework.ops.differences import moving, slope_along, weighted_slopes, weighted_sum
from tests.framework.ops.random_inputs import inputs

NAMES = [name for name, op in OPERATORS.items() if type(op) is Op and not isinstance(op.vjp, NoGradient)]
FEW = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=30)


def compared(op, arrays, attrs):
    """Compare first and second derivatives along a direction with differences, and a batch with its items."""
    func, wrt = weighted_sum(op, arrays, attrs), moving(op, arrays)
    directions = {at: np.cos(np.arange(arrays[at].size) * 1.7).reshape(arrays[at].shape) for at in wrt}
    gradient = verify(differentiate(func, wrt))
    in_a_batch(gradient, arrays)
    again = weighted_slopes(gradient)
    for value, slopes in ((func, gradient), (again, verify(differentiate(again, wrt)))):
        expected = slope_along(value, arrays, directions)
        assume(expected is not None)
        found = evaluate(slopes, arrays)
        total = sum(float((each * directions[at]).sum()) for at, each in zip(wrt, found, strict=True))
        np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-6)


def in_a_batch(gradient, arrays):
    """Compare the slopes over a batch of three with those of its items."""
    items = [
        [np.roll(each, turn) if each.dtype.kind == "f" else each for each in arrays] for turn in range(3)
    ]
    batched = batch(gradient, [True] * len(arrays), Batch(len(items)))
    stacked = [np.stack(each) for each in zip(*items, strict=True)]
    found = evaluate(verify(batched.func), [*stacked, np.ones(len(items), bool)])
    wanted = zip(*(evaluate(gradient, each) for each in items), strict=True)
    for slopes, each, has_axis in zip(found, wanted, batched.is_batched, strict=True):
        np.testing.assert_allclose(slopes, np.stack(each) if has_axis else each[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(st.data())
def test_gradients_hold_for_random_shapes_axes_and_attributes(name, data):
    """First and second order against central differences in float64, and over a batch."""
    compared(OPERATORS[name], *data.draw(inputs(OPERATORS[name])))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@MANY
@given(st.data())
def test_gradients_hold_for_many_random_shapes_axes_and_attributes(name, data):
    """The same, longer."""
    compared(OPERATORS[name], *data.draw(inputs(OPERATORS[name])))
