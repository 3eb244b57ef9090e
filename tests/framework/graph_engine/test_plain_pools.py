"""Where nobody reads the positions of maxima, none are looked for."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.platforms import platform, platform_names
from framework import Tensor, grad, jit, ops
from framework.frontend.trace import trace
from framework.graph_engine.control.session import Session
from framework.passes import run

IMAGE = np.random.default_rng(0).standard_normal((2, 20, 15, 15)).astype(np.float16)


def pooled(x):
    """Return the maxima of windows that overlap."""
    return ops.max_pool_with_argmax(x, 3, 2, 1)[0]


def both(x):
    """Return the maxima and where they are."""
    return ops.max_pool_with_argmax(x, 3, 2, 1)


def session_of(function):
    """Return what an image's function becomes on the device, without numbers."""
    func = run(trace(function, [Tensor(IMAGE)], {}).func)
    return Session(func, Chip(platform("ascend910a"), data=False))


def pools_of(session):
    """Return the kernels of pooling that run."""
    launches = [launch for node in session.optimized.nodes for launch in node.launches]
    return [launch.kernel for launch in launches if launch.kernel.startswith("max_pool")]


@pytest.mark.parametrize("name", platform_names())
def test_inference_gives_the_same_bits_on_every_chip(name):
    """With the plain kernel, or without where the chip cannot run it."""
    device = jit(pooled, device=Chip(platform(name)))
    assert device(Tensor(IMAGE)).numpy().tobytes() == pooled(Tensor(IMAGE)).numpy().tobytes()


def test_positions_that_nobody_reads_are_not_looked_for():
    """In less time."""
    plain, whole = session_of(pooled), session_of(both)
    assert (pools_of(plain), pools_of(whole)) == (["max_pool_plain"], ["max_pool"])
    assert plain.step_us() < whole.step_us()


def test_the_gradient_reads_the_positions():
    """And so they are found."""
    session = session_of(grad(lambda x: ops.reduce_sum(pooled(x))))
    assert pools_of(session) == ["max_pool", "max_pool_grad"]


def test_in_a_loop_positions_that_the_next_turn_reads_are_found():
    """Those that no turn reads are not."""

    def repeated(x, n):
        while n > 0:
            x = ops.max_pool_with_argmax(x, 3, 1, 1)[0]
            n -= 1
        return x

    def followed(x, n):
        places = x
        while n > 0:
            x, places = ops.max_pool_with_argmax(x, 3, 1, 1)
            n -= 1
        return places

    for function in (repeated, followed):
        device = jit(function, device=Chip(platform("ascend910a")))
        assert device(Tensor(IMAGE), 2).numpy().tobytes() == function(Tensor(IMAGE), 2).numpy().tobytes()
