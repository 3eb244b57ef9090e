"""Equal calls share one Func; loops and recursion are there once, whatever their trip counts."""

from __future__ import annotations

import numpy as np

from framework import Parameter, Tensor, jit, nn, ops
from framework.frontend.trace import trace
from framework.ir import verify

X = Tensor(np.ones((2, 4), np.float32))


class Layer(nn.Cell):
    """A residual layer with a scale of its own."""

    def __init__(self, scale, width=4):
        super().__init__()
        self.dense = nn.Dense(width, width)
        self.scale = Parameter(np.float32(scale))
        self.slope = 0.5

    def construct(self, x):
        """Return x changed by the layer."""
        return x + self.dense(ops.relu(x)) * self.scale * self.slope


class Stack(nn.Cell):
    """Layers one after the other."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers
        for at, layer in enumerate(layers):
            setattr(self, f"layer{at}", layer)

    def construct(self, x):
        """Return what the layers make of x."""
        for layer in self.layers:
            x = layer(x)
        return x


def funcs(func):
    """All Funcs below one, each once."""
    found: dict = {}

    def walk(each):
        if id(each) not in found:
            found[id(each)] = each
            for binding in each.bindings:
                for inner in binding.funcs.values():
                    walk(inner)

    walk(func)
    return list(found.values())


def named(func, name):
    return [each for each in funcs(func) if each.name == name]


def test_equal_layers_are_compiled_once_and_called_with_their_parameters():
    """24 layers of equal structure are 24 calls of one Func; the numbers are those of the layers."""
    net = Stack([Layer(0.1 * at) for at in range(24)])
    func = trace(net, [X], {}).func
    assert len(named(func, "Layer")) == 1
    assert len(named(func, "Dense")) == 1
    assert len(named(func, "Stack.for_item")) == 1
    assert func.ops().count("call") == 24
    assert len(func.params) == 1 + 24 * 3
    np.testing.assert_allclose(jit(net)(X).numpy(), net(X).numpy(), rtol=1e-6)


def test_layers_that_differ_in_a_number_or_a_type_do_not_share():
    """What the source of a layer can see tells it from others."""
    layers = [Layer(1.0) for _ in range(3)]
    layers[1].slope = 0.25
    layers[2].dense.has_more = True
    net = Stack(layers)
    assert len(named(trace(net, [X], {}).func, "Layer")) == 3
    np.testing.assert_allclose(jit(net)(X).numpy(), net(X).numpy(), rtol=1e-6)


def test_parameters_that_are_one_stay_one():
    """A Parameter that two layers share is one parameter of the program."""
    layers = [Layer(1.0), Layer(2.0)]
    layers[1].dense.weight = layers[0].dense.weight
    func = trace(Stack(layers), [X], {}).func
    assert len(func.params) == 1 + 2 * 3 - 1


def test_a_parameter_from_outside_is_a_parameter_of_the_program():
    """A Parameter that a function finds in its module is read at every call."""
    w = Parameter(np.float32(2.0), name="w")

    def inner(x):
        return x * w

    f = jit(lambda x: inner(inner(x)))
    assert float(f(Tensor(3.0))) == 12.0
    w.set_data(np.float32(3.0))
    assert float(f(Tensor(3.0))) == 27.0


def repeated(x, n):
    while n > 0:
        x = x * x
        n -= 1
    return x


def test_a_loop_is_a_loop_in_the_text():
    """One program serves all trip counts."""
    f = jit(repeated)
    for n in (0, 3, 7):
        assert float(f(Tensor(1.01, "float64"), n)) == float(repeated(Tensor(1.01, "float64"), n))
    assert len(f._compiled) == 1
    assert f.ir["traced"].count("mul(") == 1
    assert "while(" in f.ir["traced"]


def test_a_range_with_known_bounds_is_a_loop_unless_it_is_written_out():
    """`ops.unroll` asks for copies of the turns."""

    def looped(x):
        for i in range(5):
            x = x * (i + 1)
        return x

    def copied(x):
        for i in ops.unroll(range(5)):
            x = x * (i + 1)
        return x

    assert trace(looped, [X], {}).func.ops() == ("while",)
    assert trace(copied, [X], {}).func.ops() == ("mul",) * 5
    assert float(jit(copied)(Tensor(1.0))) == float(jit(looped)(Tensor(1.0))) == 120.0


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def test_recursion_is_a_call_in_the_text_also_with_known_numbers():
    """A known number that changes from call to call becomes one of run time."""
    func = verify(trace(lambda x: x * fib(20), [X], {}).func)
    assert len(funcs(func)) < 12
    assert float(jit(lambda x: x * fib(15))(Tensor(1.0))) == 610.0


def test_recursion_of_the_compiled_function_itself_is_a_func_that_is_called():
    """The outermost Func calls the one that calls itself."""
    func = verify(trace(fib, [10], {}).func)
    assert func.ops() == ("call",)
    assert int(jit(fib)(10)) == 55


def test_a_known_condition_leaves_one_branch():
    """What is known when compiling is folded, errors of the other branch included."""

    def f(x, flag):
        if flag and x.ndim == 2:
            return x * 2
        return x @ x

    assert trace(f, [X, True], {}).func.ops() == ("mul",)


def test_conditions_of_truths_are_operators():
    """`and` of plain comparisons makes no branch."""
    func = trace(lambda n: n > 1 and n < 5 and 0 < n < 9, [3], {}).func
    assert set(func.ops()) <= {"greater", "less", "logical_and"}


def test_compiling_many_layers_costs_little_more_than_compiling_few():
    """The Funcs of 96 layers are those of 24."""
    sizes = [len(funcs(trace(Stack([Layer(0.1) for _ in range(n)]), [X], {}).func)) for n in (24, 96)]
    assert sizes[0] == sizes[1]


def test_arguments_keep_the_kind_of_number_that_they_are():
    """A Python number comes in as one: it takes on the dtype of the tensor that it meets."""
    f = jit(lambda x, s: x * s)
    assert str(f(Tensor([1.0, 2.0]), 2.5).dtype) == "float32"
    assert str(f(Tensor([1, 2]), 3).dtype) == "int32"
    assert str(jit(lambda s: s * 2)(0.1).dtype) == "float64"
    assert float(jit(lambda s: s / 4)(1)) == 0.25
    first = f.compiled(Tensor([1.0]), 1.0)
    assert f.compiled(Tensor([5.0]), 7.5) is first
    assert f.compiled(Tensor([5.0]), 7) is not first
