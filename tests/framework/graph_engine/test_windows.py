"""Windows of convolutions and of pooling on the device: padding of any side, one step for both axes."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.platforms import platform
from framework import Tensor, grad, ops, value_and_grad
from framework.graph_engine.data.graph import AICORE, HOST, VIEW
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import placement, split

PLATFORM = platform("ascend910a")
X = Tensor(np.ones((2, 16, 9, 9), np.float16))
W = Tensor(np.ones((16, 16, 3, 3), np.float16))
SAME = (0, 1, 0, 1)
"""What keeps nine rows as four and a half, rounded up: all of the padding at the end."""


def convolved(x, w, stride=2):
    return ops.reduce_sum(ops.cast(ops.conv2d(x, w, stride, SAME), "float32"))


def pooled(x, w, stride=2):
    y, _ = ops.max_pool_with_argmax(x, 3, stride, SAME)
    return ops.reduce_sum(ops.cast(ops.avg_pool(y, 2, 1, SAME) + ops.global_avg_pool(x), "float32"))


def nodes(function, position):
    """Return the nodes of a gradient, placed."""
    func = grad(function, position).compiled(X, W).func
    return split(prepare(func), PLATFORM).nodes


@pytest.mark.parametrize(("function", "position"), [(convolved, (0, 1)), (pooled, 0)])
def test_unequal_padding_runs_on_the_ai_cores(function, position):
    """Forward and backward; the kernels are told by how much sides have more than the least one."""
    found = [node for node in nodes(function, position) if node.engine != VIEW]
    padded = [node.launches[0].axes for node in found if "pad" in node.attrs]
    assert all(axes["pad"] == 0 and axes["more_bottom"] == axes["more_right"] == 1 for axes in padded)
    assert len(padded) >= 2
    assert {node.engine for node in found} == {AICORE}


@pytest.mark.parametrize("given", [{"stride": (2, 1)}, {"dilation": (1, 2)}])
def test_two_steps_are_refused_and_the_table_says_why(given):
    """One for rows and another for columns: forward, and both gradients."""

    def convolved(x, w):
        return ops.reduce_sum(ops.cast(ops.conv2d(x, w, **given), "float32"))

    ((name, pair),) = given.items()
    reason = f"convolution kernels take one {name} for both axes, not {pair}"
    func = value_and_grad(convolved, (0, 1)).compiled(X, W).func
    placed = split(prepare(func), PLATFORM)
    refused = [node for node in placed.nodes if "conv2d" in node.op]
    assert [(node.engine, node.reason) for node in refused] == [(HOST, reason)] * 3
    lines = placement(placed).splitlines()
    assert sum(f"{reason}; aicpu: it has no cube, host " in line for line in lines) == 3
