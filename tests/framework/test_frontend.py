"""What the front end compiles, and how it refuses the rest. Messages are compared exactly."""

# ruff: noqa: PTH123, PLW0602 - lines of what is refused are compared as they stand

from __future__ import annotations

import functools

import numpy as np
import pytest

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework import Tensor, jit, nn, ops
from framework.frontend import CompileError

X = Tensor([[1.0, 2.0], [3.0, 4.0]])
SCALE = 3.0


def line_of(function, offset):
    return function.__code__.co_firstlineno + offset


def refused(function, *args):
    with pytest.raises(DavinciError) as caught:
        jit(function)(*(args or (X,)))
    return str(caught.value)


def test_a_statement_that_is_not_compiled_is_refused_with_place_and_advice():
    """The message has file, line, source, caret, what and what instead."""

    def f(x):
        with open("x"):
            x = x + 1
        return x

    assert refused(f) == (
        "`with` is not supported in compiled code\n"
        f"  {__file__}:{line_of(f, 1)}\n"
        '    with open("x"):\n'
        "    ^\n"
        "  instead: enter the context outside the compiled function"
    )


def test_what_is_refused_is_refused_where_it_stands():
    """The caret stands below the statement, inside a function that another one calls."""

    def inner(x):
        global SCALE
        return x

    def f(x):
        return inner(x)

    assert refused(f) == (
        "`global` is not supported in compiled code\n"
        f"  {__file__}:{line_of(inner, 1)}\n"
        "    global SCALE\n"
        "    ^\n"
        "  instead: return the value"
    )


def test_shapes_that_do_not_match_name_the_line():
    """An operator's own message is kept, and the user's line follows."""

    def f(x):
        y = ops.reshape(x, (4,))
        return x @ ops.reshape(y, (1, 4))

    with pytest.raises(ShapeMismatch) as caught:
        jit(f)(X)
    assert str(caught.value) == (
        "matmul: float32[2, 2] and float32[1, 4] do not match: k is 2 on the left and 1 on the right\n"
        f"  {__file__}:{line_of(f, 2)}\n"
        "    return x @ ops.reshape(y, (1, 4))\n"
        "           ^"
    )


def test_an_undefined_name_is_told_with_the_nearest_one():
    """A typing error is answered by the name that was meant."""

    def f(scores):
        return scroes + 1  # noqa: F821

    assert refused(f).startswith("name 'scroes' is not defined; did you mean scores?\n")


def test_an_undefined_attribute_is_an_error():
    """Reading an attribute that was never set does not give None."""

    class Net(nn.Cell):
        def construct(self, x):
            return x * self.scale

    with pytest.raises(CompileError, match="a Net has no attribute 'scale'; it must be set in __init__"):
        jit(Net())(X)


def yields(x):
    yield x


def awaits_nothing(x):
    try:
        return x
    finally:
        pass


@pytest.mark.parametrize(("function", "what"), [(yields, "`yield`"), (awaits_nothing, "`try`")])
def test_other_syntax_is_refused_with_the_same_message(function, what):
    """Each unsupported statement and expression is named."""
    message = refused(function)
    assert message.startswith(f"{what} is not supported in compiled code\n  {__file__}:")
    assert "\n  instead: " in message


def test_a_numpy_call_on_a_tensor_is_refused():
    """NumPy cannot see symbolic values."""
    assert refused(lambda x: np.exp(x) + 1).startswith(
        "a call of exp cannot be compiled; call operators (framework.ops: here ops.exp), Cells and plain "
        "Python functions, or compute it outside\n"
    )


def test_a_condition_has_one_element():
    """`not x` of a tensor with axes has no truth, as in Python."""
    assert refused(lambda x: not x).startswith(
        "the truth of a tensor float32[2, 2] is not one truth\n"
        "  rule: a condition has one element\n"
        "  next: reduce it with ops.reduce_max or ops.reduce_min, or choose by element with ops.select\n"
        f"  {__file__}:"
    )


def test_wrong_arguments_are_named():
    """Calls are bound as Python binds them."""

    def g(x, scale):
        return x * scale

    assert refused(lambda x: g(x) + 1).startswith("g is called without its argument 'scale'")
    assert refused(lambda x: g(x, 1, 2)).startswith("g takes 2 positional arguments, 3 were given")
    assert refused(lambda x: g(x, scale=1, bias=2)).startswith("g has no argument 'bias'; it has x, scale")


def test_a_function_without_source_is_refused():
    """Compiling needs the text of the function."""
    names: dict = {}
    exec("def f(x):\n    return x", names)
    assert refused(names["f"]).startswith("the source of f is not available, so it cannot be compiled")


def endless(x):
    return endless(x)


def test_endless_recursion_and_returned_functions_are_refused():
    """A function that calls itself on every path never ends; the result of compiled code is no function."""
    assert refused(endless).startswith(
        "endless calls itself on every path, so it never ends\n"
        f"  @endless  {__file__}:{endless.__code__.co_firstlineno + 1}  return endless(x)\n"
        "  next: return something without a further call under some condition"
    )
    assert refused(lambda x: lambda y: x + y).startswith(
        f"lambda returns a function, lambda; return what it computes\n  {__file__}:"
    )


def scaled(x, *, by=2.0):
    """Return x times a number."""
    return x * by


class Twice(nn.Cell):
    """A Cell with a method and a tuple of results."""

    def __init__(self):
        super().__init__()
        self.by = 2.0

    def both(self, x):
        y: object = x * self.by
        y += 1
        return x, y

    def construct(self, x):
        """Return 2x + 1 and its shape."""
        first, second = self.both(x)
        rows, columns = second.shape
        return ops.reshape(second, (columns * rows, -1)), len(first), (rows, -columns)


def test_straight_line_python_compiles():
    """Assignments, tuples, methods, keywords, closures, partial and shapes mean what they mean in Python."""
    offset = 10.0

    def g(x):
        add = lambda y, bias=offset: y + bias

        def again(y):
            return add(y) + x

        a, (b, c) = x, (scaled(x, by=SCALE), functools.partial(scaled, by=5.0)(x))
        return again(a) - b * c

    x = X.numpy()
    np.testing.assert_array_equal(jit(g)(X).numpy(), x + 10 + x - 3 * x * (5 * x))


def test_cells_methods_and_static_results_compile():
    """What is known while compiling comes back as plain Python values."""
    y, length, sizes = jit(Twice())(X)
    np.testing.assert_array_equal(y.numpy(), [[3.0], [5.0], [7.0], [9.0]])
    assert (length, sizes) == (2, (2, -2))


def test_user_functions_are_called_then_inlined():
    """The text after tracing has a call, the one after inlining has none."""
    f = jit(lambda x: scaled(scaled(x)))
    f(X)
    assert f.ir["traced"].count("call @") == 2
    assert "call" not in f.ir["inline"]
    assert "// test_frontend.py:" in f.ir["dead_code"]


def test_two_lambdas_on_one_line_are_told_apart():
    """The position in the line decides."""
    first, second = jit(lambda x: x + 1), jit(lambda x: x * 3)
    assert (float(first(Tensor(2.0))), float(second(Tensor(2.0)))) == (3.0, 6.0)
