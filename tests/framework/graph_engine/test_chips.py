"""Placement asks whether this chip can run a kernel: what it lacks goes elsewhere, by cost."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.platforms import assumed, platform, platform_names
from framework import Tensor, grad, jit, ops
from framework.dtypes import dtype as data_type
from framework.frontend.trace import trace
from framework.graph_engine.control.session import Session
from framework.graph_engine.data.graph import AICORE, AICPU, HOST
from framework.graph_engine.data.operators import CONVERSIONS, CONVERTIBLE, conversion, refusal
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import placement, split
from framework.ir.types import TensorType
from framework.passes import run
from kernels.able import obstacle

SMALL = platform("ascend310")
RNG = np.random.default_rng(0)


def func_of(function, *arrays):
    """Return the Func of a function of arrays."""
    return run(trace(function, [Tensor(each) for each in arrays], {}).func)


def random(*shape, dtype=np.float32):
    """Return random numbers of either sign."""
    return RNG.standard_normal(shape).astype(dtype)


def slope_of_relu(x):
    """Return 1 where x is positive."""
    return grad(lambda x: ops.reduce_sum(ops.relu(x)))(x)


def test_what_a_chip_lacks_is_the_reason_why_a_node_goes_elsewhere():
    """In the words of the kernel's own check, with the costs of those that are left."""
    placed = split(prepare(func_of(slope_of_relu, random(10, 100))), SMALL)
    reason = "kernel relu_grad: ascend310 lacks vcmpv_gt of fp32, vsel of fp32"
    (node,) = (node for node in placed.nodes if node.op == "relu_grad")
    assert (node.engine, node.reason) == (AICPU, reason)
    assert f"{reason}; {node.costs}\n" in placement(placed)


def test_the_types_that_a_chip_has_stay_on_its_cores():
    """The same operator in half precision."""
    placed = split(prepare(func_of(slope_of_relu, random(10, 100, dtype=np.float16))), SMALL)
    assert {node.engine for node in placed.nodes if node.op == "relu_grad"} == {AICORE}


def test_a_product_that_a_chip_cannot_sum_up_goes_to_the_host():
    """The AI CPU refuses it, and the table has both reasons."""
    x = random(20, 30, dtype=np.float16)
    (node,) = split(prepare(func_of(ops.matmul, x, x.T.copy())), platform("ascend_lite")).nodes
    assert (node.engine, node.reason) == (HOST, "kernel matmul: ascend_lite lacks mmad of fp16>fp32")
    assert node.costs == "aicpu: it has no cube, host 30.2 us"


@pytest.mark.parametrize("name", platform_names())
def test_a_network_computes_the_same_on_every_chip(name):
    """Convolution, pooling, a choice, a loss, and all their gradients: wherever each of them runs."""

    def loss(image, filters, weights):
        y, _ = ops.max_pool_with_argmax(ops.relu(ops.conv2d(image, filters)), 2)
        z = ops.matmul(ops.reshape(y, (2, 36)), weights)
        return ops.reduce_mean(ops.where(z > 0, ops.exp(-z), z * 0.5))

    arrays = [random(2, 3, 8, 8), random(4, 3, 3, 3) * 0.3, random(36, 10) * 0.3]
    step = grad(loss, (0, 1, 2))
    device = jit(step, device=Chip(platform(name)))
    for got, expected in zip(device(*map(Tensor, arrays)), step(*map(Tensor, arrays)), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("name", platform_names())
def test_every_kernel_that_is_left_on_the_cores_can_run(name):
    """After fusions and conversions, too."""
    chip = platform(name)

    def step(x, y):
        z = ops.matmul(ops.relu(x), y)
        return ops.matmul(ops.where(z > 1, z * 2 + 1, z), y)

    session = Session(func_of(step, random(40, 40), random(40, 40)), Chip(chip, data=False))
    on_cores = [node for node in session.optimized.nodes if node.engine == AICORE]
    assert all(refusal(launch, chip) == "" for node in on_cores for launch in node.launches)


def test_a_fusion_into_what_a_chip_lacks_is_not_made():
    """A choice comes to the cores where they can choose, and stays where it is where they cannot."""
    func = func_of(lambda x: ops.where(x > 0, x * 2 + 1, x), random(2000))
    engines = {
        name: {node.engine for node in Session(func, Chip(platform(name), data=False)).optimized.nodes}
        for name in ("ascend310", "ascend910a")
    }
    assert engines["ascend910a"] == {AICORE}
    assert engines["ascend310"] == {AICORE, AICPU}


@pytest.mark.parametrize("dtype", CONVERTIBLE)
@pytest.mark.parametrize("name", platform_names())
def test_formats_are_converted_by_kernels_that_the_chip_can_run(name, dtype):
    """Others do not count as conversions."""
    chip, image = platform(name), TensorType((2, 3, 4, 5), data_type(dtype))
    for pair in CONVERSIONS:
        launch = conversion(image, *pair, chip)
        assert launch is None or refusal(launch, chip) == ""


def test_a_kernel_without_room_for_any_tiling_is_refused_with_the_numbers():
    """As one that lacks instructions."""
    chip = platform("ascend910a")
    tiny = chip.with_figures("tiny", ub_bytes=assumed(4096, "bytes", "a test"))
    softmax = kernels.find("softmax")
    shape = softmax.shape_type.of("softmax", {"m": 40, "n": 60_000}, "fp16")
    assert obstacle(softmax, shape, tiny) == "buffer kept, numbers@UB needs 4096 bytes, 1280 are available"
    assert obstacle(softmax, shape, chip) == ""
