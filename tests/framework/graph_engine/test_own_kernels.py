"""A user's kernel as an operator: values, gradient, launches, training on the host and the chip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import DavinciError
from davinci_sim.platforms import platform
from experiments.user_files import load_module
from framework import Model, Tensor, grad, jit, nn, ops, optim
from framework.data import Dataset
from framework.frontend.trace import trace
from framework.graph_engine import compile_for_device
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import split
from framework.ops import OPERATORS, NoGradient
from framework.passes import run as run_passes
from kernels.lang import FP32, Operand, Shape, output

FOLDER = Path(__file__).parents[3] / "docs" / "examples" / "my_kernels"
GELU = load_module(FOLDER / "gelu.py", "docs_gelu")
X = np.linspace(-4, 4, 30, dtype=np.float32).reshape(5, 6)
PIXELS, CLASSES = 16, 3


@pytest.fixture(scope="module", autouse=True)
def network():
    """Load the example, which registers its operator; operators of these tests are forgotten at the end."""
    before = dict(OPERATORS)
    yield load_module(FOLDER / "network.py", "docs_network")
    for name in OPERATORS.keys() - before.keys():
        del OPERATORS[name]


def slope_of_gelu(x):
    """Return the derivative of x * sigmoid(1.702 x), by central differences in float64."""

    def gelu(at):
        return at / (1 + np.exp(-GELU.SLOPE * at))

    return (gelu(x.astype(np.float64) + 1e-6) - gelu(x.astype(np.float64) - 1e-6)) / 2e-6


def blobs(count: int) -> Dataset:
    """Return images around three centres, with their numbers."""
    draw = np.random.default_rng(3)
    centres, labels = draw.normal(size=(CLASSES, 1, 4, 4)), draw.integers(0, CLASSES, count)
    images = centres[labels] + 0.7 * draw.normal(size=(count, 1, 4, 4))
    return Dataset(images.astype(np.float32), labels.astype(np.int32), batch_size=8)


def trained(network, device) -> tuple[Model, list[np.ndarray]]:
    """Return a model after two epochs, and its weights."""
    net = network.Net(PIXELS, CLASSES)
    model = Model(
        net, nn.SoftmaxCrossEntropyWithLogits(), optim.Momentum(net.trainable_params(), 0.1, 0.9), device
    )
    model.train(2, blobs(64))
    return model, [parameter.numpy() for _, parameter in net.parameters_and_names()]


def test_a_network_trains_on_the_host_and_on_the_chip_to_the_same_weights(network):
    """16 steps of forward, backward and update; products of fp32 are cut into halves on the chip: 2**-22."""
    (host, expected), (device, found) = trained(network, None), trained(network, Chip("ascend910a"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    x = blobs(64).images
    np.testing.assert_allclose(device.predict(x), host.predict(x), rtol=1e-3, atol=1e-4)
    assert host.eval(blobs(64)).accuracy > 0.9


def test_forward_and_gradient_are_launched_on_the_cores_and_nothing_is_left_to_the_host(network):
    model, _ = trained(network, Chip("ascend910a"))
    loaded = model.runner.session.loaded
    assert {node.engine for node in loaded.graph.nodes} == {"aicore", "view"}
    launched = {launch.kernel for node in loaded.graph.nodes for launch in node.launches}
    assert {"gelu.gelu", "gelu.gelu_grad"} <= launched  # the kit has kernels of these names, too


def test_the_gradient_is_the_slope_of_the_kernels_function(network):
    slopes = grad(lambda x: ops.reduce_sum(network.activation(x)))(Tensor(X))
    np.testing.assert_allclose(slopes.numpy(), slope_of_gelu(X), rtol=1e-5, atol=1e-6)


def test_compiled_code_calls_the_operator_by_the_name_that_it_has(network):
    def twice(x):
        return network.activation(network.activation(x))

    expected = network.activation(network.activation(Tensor(X))).numpy()
    np.testing.assert_array_equal(jit(twice)(Tensor(X)).numpy(), expected)


def test_a_rule_of_operators_can_be_the_gradient():
    """It can be differentiated again, which a kernel cannot."""
    squared = ops.kernel_op(
        replace(GELU.gelu, name="rule_gelu"), vjp=lambda call, dy: (dy * call.outputs[0],)
    )
    x = Tensor(X)
    found = grad(lambda x: ops.reduce_sum(squared(x)))(x)
    np.testing.assert_array_equal(found.numpy(), squared(x).numpy())


def test_a_kernel_whose_file_is_loaded_again_takes_the_place_of_the_first():
    again = load_module(FOLDER / "gelu.py", "docs_gelu")
    first = ops.kernel_op(GELU.gelu, vjp=NoGradient("a test"), name="loaded_twice")
    second = ops.kernel_op(again.gelu, vjp=NoGradient("a test"), name="loaded_twice")
    assert first is not second
    np.testing.assert_array_equal(first(Tensor(X)).numpy(), second(Tensor(X)).numpy())


def test_axes_are_told_by_the_operands_of_a_kernel_of_the_kit():
    """c[m, n] = a[m, k] @ b[k, n]: every axis stands in an operand; the result's type follows."""
    product = ops.kernel_op(kernels.find("matmul"), vjp=NoGradient("a test"), name="own_matmul")
    a, b = np.ones((20, 30), np.float16), np.ones((30, 40), np.float16)
    assert product(Tensor(a), Tensor(b)).numpy().tolist() == np.full((20, 40), 30).tolist()


def refusal(call) -> str:
    """Return how a call is refused."""
    with pytest.raises(DavinciError) as refused:
        call()
    return str(refused.value)


@dataclass(frozen=True)
class Rows(Shape):
    """m rows of n numbers."""

    m: int
    n: int


def pairs(shape):
    """Return x[m, n], a row, and y[m, n]."""
    return Operand("x", (shape.m, shape.n), FP32), Operand("row", (shape.n,), FP32), output(
        "y", (shape.m, shape.n), FP32
    )  # fmt: skip


def row_added(shape, x, row):
    """Return x + row."""
    return (x + row,)


def test_inputs_that_disagree_about_an_axis_are_refused():
    add_row = ops.kernel_op(
        replace(
            GELU.gelu, name="add_row", shape_type=Rows, operands=pairs, reference=lambda s, x, r: (x + r,)
        ),
        vjp=NoGradient("a test"),
    )
    assert add_row(np.zeros((2, 3, 4), np.float32), np.ones(4, np.float32)).shape == (2, 3, 4)
    message = refusal(lambda: add_row(np.zeros((2, 3), np.float32), np.zeros(4, np.float32)))
    assert message == (
        "operator of kernel add_row: axis n is 3 and, by row float32[4], 4\n"
        "  rule: inputs agree about it\n  next: reshape one of them"
    )


def test_a_type_that_the_kernel_does_not_take_is_refused(network):
    assert refusal(lambda: network.activation(X.astype(np.float16))) == (
        "operator of kernel gelu: x is float16[5, 6]\n"
        "  rule: for shape n=30 it is float32[30]\n  next: cast or reshape it"
    )
    assert refusal(lambda: network.activation(X.astype(np.float64))) == (
        "operator of kernel gelu: an input is float64[5, 6]\n"
        "  rule: kernels take float16, float32, int32\n  next: cast it"
    )


def test_a_name_that_is_taken_is_refused():
    assert refusal(lambda: ops.kernel_op(GELU.gelu, vjp=GELU.gelu_grad, name="relu")) == (
        "kernel gelu: there is an operator relu\n  rule: names of operators are unique\n"
        "  next: kernel_op(..., name='my_relu')"
    )


def test_a_kernel_with_the_name_of_one_of_the_kit_is_launched_itself():
    """The task list names its file."""
    own = ops.kernel_op(replace(GELU.gelu, name="exp"), vjp=NoGradient("a test"), name="own_exp")
    func = run_passes(trace(own, [Tensor(X)], {}).func)
    graph = split(prepare(func), platform("ascend910a"))
    assert [launch.kernel for node in graph.nodes for launch in node.launches] == ["docs_gelu.exp"]
    (found,) = compile_for_device(func, "ascend910a")([X])
    np.testing.assert_allclose(found, own(Tensor(X)).numpy(), rtol=1e-5)


def test_an_operand_of_a_gradient_kernel_without_meaning_is_refused():
    kernel = replace(
        GELU.gelu_grad, name="strange_grad",
        operands=lambda s: (*(Operand(name, (s.n,), FP32) for name in "xg"), output("dx", (s.n,), FP32)),
    )  # fmt: skip
    assert refusal(lambda: ops.kernel_op(GELU.gelu, vjp=kernel, name="strange")) == (
        "gradient kernel strange_grad: operand g has no meaning\n"
        "  rule: its name is one of dy, x, y\n"
        "  next: rename it, or give a rule: vjp=lambda call, dy: (...)"
    )


def test_the_second_derivative_of_a_kernel_without_one_is_refused():
    """It is not taken for zero; the line of the call is told."""
    gelu = ops.kernel_op(GELU.gelu, vjp=GELU.gelu_grad, name="gelu_once")

    def f(x):
        return ops.reduce_sum(gelu(x))

    np.testing.assert_allclose(grad(f)(Tensor(X)).numpy(), slope_of_gelu(X), atol=1e-4)
    message = refusal(lambda: grad(lambda x: ops.reduce_sum(grad(f)(x)))(Tensor(X)))
    assert message.startswith(
        "operator gelu_once_vjp has no gradient rule: it is kernel gelu_grad, the gradient of gelu_once\n"
        "  next: give one, vjp=lambda call, dy: (...); or ops.stop_gradient(gelu_once_vjp(...)) for zeros\n"
        f"  {__file__}:{f.__code__.co_firstlineno + 1}\n    return ops.reduce_sum(gelu(x))"
    )
