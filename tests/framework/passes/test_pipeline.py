"""The passes together: what is left of derivatives, of functions as values, of layers that repeat."""

from __future__ import annotations

import numpy as np

from framework import Tensor, grad, jit, ops, passes
from framework.autodiff import differentiate
from framework.dtypes import bool_, float32
from framework.ir import Builder, Func, TensorType, evaluate
from framework.ir.control import APPLY, is_control
from framework.ir.flow import Part, branch, closure
from framework.passes.algebraic import number_everywhere
from framework.passes.walk import distinct

X = TensorType((4, 8), float32)
W = TensorType((8, 8), float32)


def layer(steps: int = 20) -> Func:
    """Return a Func of (x, w) that is too large to be repeated wherever it is called."""
    builder = Builder()
    x, w = builder.param(X, "x"), builder.param(W, "w")
    for _ in range(steps):
        x = ops.relu(x @ w) + x * 0.5
    return builder.finish("layer", [x])


def network(layers: int) -> Func:
    """Return a Func that calls one layer several times, each with a weight of its own."""
    repeated, builder = layer(), Builder()
    x = builder.param(X, "x")
    weights = [builder.param(W, f"w{at}") for at in range(layers)]
    for weight in weights:
        (x,) = builder.call(repeated, [x, weight])
    return builder.finish("network", [x.mean()])


def test_layers_that_are_repeated_are_optimised_once_and_called():
    """Of 24 layers and of 96, forward and backward, there is one Func each beside the network."""
    sizes = []
    for layers in (24, 96):
        gradient = differentiate(network(layers), range(1, layers + 1))
        found = passes.run(gradient)
        sizes.append([len(each.bindings) for each in distinct(found)[:2]])
        assert found.ops().count("call") >= 2 * (layers - 2)
        assert len(distinct(found)) <= 5
    assert sizes[0] == sizes[1]


def test_flat_funcs_call_nothing():
    """What runs straight-line code gets the layers one after the other."""
    flat = passes.run(network(3), passes.FLAT)
    assert "call" not in flat.ops()
    assert len(distinct(flat)) == 1


def test_calls_and_flat_code_give_the_same_numbers():
    """Sharing does not change what is computed."""
    generator = np.random.default_rng(0)
    func = differentiate(network(3), [1, 2])
    arguments = [generator.normal(0, 0.3, each.tensor.shape).astype(np.float32) for each in func.params]
    flat, calls = (evaluate(passes.run(func, each), arguments) for each in (passes.FLAT, passes.OPTIMIZE))
    for a, b in zip(flat, calls, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def assert_plain(func: Func) -> None:
    """There is no closure, tuple or call, and no addition of zero."""
    producers = {var.name: each for each in func.bindings for var in each.outputs}
    for binding in func.bindings:
        assert not is_control(binding.op), binding
        zeros = [number_everywhere(atom, producers) == 0 for atom in binding.inputs]
        assert not (binding.op == "add" and any(zeros)), binding


def test_the_derivative_of_a_straight_line_network_is_straight_line():
    """First and second derivatives of a network with functions in it are operators only."""

    def activation(f):
        return lambda x: f(x) * x + 0.0

    def net(x, w, b):
        hidden = activation(ops.exp)(x @ w + b)
        return (hidden * hidden).mean()

    args = [Tensor(np.full(shape, 0.1, np.float32)) for shape in ((4, 8), (8, 8), (8,))]
    first = grad(net, position=(0, 1, 2))
    second = grad(lambda *args: first(*args)[1].sum(), position=(0, 1, 2))
    for each in (first, second):
        assert_plain(each.compiled(*args).func)


def test_functions_chosen_at_run_time_become_branches_also_in_the_derivative():
    """After the passes neither a function as a value nor an env is left; one branch chooses."""
    builder = Builder()
    condition, x = builder.param(TensorType((), bool_), "c"), builder.param(TensorType((), float32), "x")

    def chosen(rule) -> Part:
        inner = Builder(builder)
        code = Builder(inner)
        y = code.param(TensorType((), float32))
        function = closure(inner, Part(code, [rule(y, x)], "rule"))
        return Part(inner, [function], "branch")

    (function,) = branch(builder, condition, chosen(lambda y, x: y * x), chosen(lambda y, x: y + x * x))
    (value,) = builder.bind(APPLY, [function, x * 2.0], {})
    func = builder.finish("f", [value])
    gradient = passes.run(differentiate(func, [1], keep_results=True))
    for taken, expected in ((True, (18.0, 12.0)), (False, (15.0, 8.0))):
        found = evaluate(gradient, [np.asarray(taken), np.float32(3.0)])
        assert tuple(map(float, found)) == expected
    used = {binding.op for each in distinct(gradient) for binding in each.bindings}
    assert not used & {"closure", "apply", "env", "unenv", "nothing", "accumulate"}, str(gradient)


def test_stages_show_every_pass():
    """The first round shows each pass, so that one can see what it did."""
    compiled = jit(lambda x: x * 1 + 0).compiled(Tensor([1.0]))
    names = [name for name, _ in compiled.stages]
    assert names == ["traced", *(each.__name__ for each in passes.OPTIMIZE)]


def test_branches_may_be_nested_deeply():
    """A chain of 300 branches, each in the other one's second part, is no matter of Python's own limit."""
    builder = Builder()
    x = builder.param(TensorType((), float32), "x")
    orelse = builder.finish("last", [ops.exp(x)])
    for level in range(300):
        builder, then = Builder(), Builder()
        x, y = builder.param(TensorType((), float32), "x"), then.param(TensorType((), float32), "x")
        attrs = {"then": then.finish("then", [y * float(level)]), "orelse": orelse}
        orelse = builder.finish("orelse", builder.bind("if", [x > float(level), x], attrs))
    found = passes.run(orelse)
    assert len(distinct(found)) == 601
