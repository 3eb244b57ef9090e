"""What is wrong with a derivative is told with the user's lines. Messages are compared exactly."""

from __future__ import annotations

import re

import numpy as np
import pytest

from framework import Parameter, Tensor, grad, jit, nn, ops, vmap
from framework.autodiff import GradientError, custom_vjp, hook, jvp
from framework.host import EndlessRecursion
from framework.ir.evaluate import CheckFailed
from framework.ops.indexing import OutsideAxis
from framework.ops.op import MissingGradient, Op, sample

X = Tensor(np.array([1.0, -2.0, 3.0], np.float32))

WAYS = {
    "grad": grad,
    "grad of grad": lambda f: grad(lambda x: grad(f)(x).sum()),
    "jit of grad": lambda f: jit(grad(f)),
    "on the device": lambda f: jit(grad(f), device="ascend910a"),
    "jvp": lambda f: lambda x: jvp(f, x, x),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def refused(function, *args, kind=GradientError):
    with pytest.raises(kind) as caught:
        function(*(args or (X,)))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def line(function, offset, text, at=None):
    """Return how a line is told, with a caret below a part of it."""
    caret = "" if at is None else f"\n    {' ' * text.index(at)}^"
    return f"  {__file__}:{function.__code__.co_firstlineno + offset}\n    {text}{caret}"


def ruled(back, ahead=lambda x: (x * 2.0, ())):
    """Return a function of one tensor with a gradient rule."""

    def double(x):
        return x * 2.0

    rule = custom_vjp(double)
    rule.defvjp(ahead, back)
    return rule


@every_way
@pytest.mark.parametrize(
    ("back", "told", "text"),
    [
        (
            lambda kept, dy: (dy, dy),
            "its `back` gives 2 cotangents, there are 1 arguments; give None for those without",
            "lambda kept, dy: (dy, dy),",
        ),
        (
            lambda kept, dy: dy.sum(),
            "cotangent 0 is float32[], argument 0 is float32[3]\n"
            "  rule: a cotangent has the shape and dtype of its argument",
            "lambda kept, dy: dy.sum(),",
        ),
        (
            lambda kept, dy: dy.astype("float64"),
            "cotangent 0 is float64[3], argument 0 is float32[3]\n"
            "  rule: a cotangent has the shape and dtype of its argument",
            'lambda kept, dy: dy.astype("float64"),',
        ),
        (
            lambda kept, dy: 1.0,
            "cotangent 0 is 1.0, argument 0 is float32[3]\n"
            "  rule: a cotangent has the shape and dtype of its argument",
            "lambda kept, dy: 1.0,",
        ),
    ],
    ids=["count", "shape", "dtype", "number"],
)
def test_a_wrong_rule_is_told_with_its_line_and_that_of_the_call(way, back, told, text):
    """Count, shape and dtype of the cotangents."""
    rule = ruled(back)

    def f(x):
        return rule(x).sum()

    assert refused(way(f)) == (
        f"gradient rule of double: {told}\n{line(back, 0, text)}\n"
        f"{line(f, 1, 'return rule(x).sum()', 'rule')}"
    )


def test_a_number_is_the_cotangent_of_a_scalar():
    """It is no zero."""
    rule = custom_vjp(lambda x, y: x * y)
    rule.defvjp(lambda x, y: (x * y, ()), lambda kept, dy: (7.0, None))
    assert [float(each) for each in grad(rule, (0, 1))(Tensor(2.0), Tensor(3.0))] == [7.0, 0.0]


def test_the_way_ahead_must_give_what_the_function_gives():
    """Its types, and two values."""

    def ahead(x):
        return x.sum(), ()

    def one(x):
        return x

    back = lambda kept, dy: dy
    assert refused(grad(lambda x: ruled(back, ahead)(x).sum())).startswith(
        "gradient rule of double: its `ahead` returns (float32[]), the function (float32[3])\n"
        f"{line(ahead, 0, 'def ahead(x):')}\n"
    )
    assert refused(grad(lambda x: ruled(back, one)(x).sum())).startswith(
        "gradient rule of double: its `ahead` must return two values: the function's and what is kept\n"
        f"{line(one, 0, 'def one(x):')}\n"
    )


class TooFew(nn.Cell):
    """A Cell whose rule takes too few arguments."""

    def construct(self, x):
        """Return x."""
        return x

    def bprop(self, x, dy):
        """Return dy."""
        return (dy,)


class TooMany(nn.Cell):
    """A Cell whose rule gives too many cotangents."""

    def construct(self, x):
        """Return x."""
        return x

    def bprop(self, x, value, dy):
        """Return dy twice."""
        return dy, dy


def test_a_wrong_bprop_is_told_with_its_line():
    """What it takes, and what it gives."""
    few, many = TooFew(), TooMany()
    assert refused(grad(lambda x: few(x).sum())).startswith(
        "gradient rule of TooFew: its `bprop` is given 3 arguments: too many positional arguments\n"
        "  next: bprop(self, *args, value, dy), where args are those of construct\n"
        f"{line(TooFew.bprop, 0, 'def bprop(self, x, dy):')}\n  {__file__}:"
    )
    assert refused(grad(lambda x: many(x).sum())).startswith(
        "gradient rule of TooMany: its `bprop` gives 2 cotangents, there are 1 arguments; "
        f"give None for those without\n{line(TooMany.bprop, 0, 'def bprop(self, x, value, dy):')}\n"
    )


def test_a_hook_changes_a_cotangent_into_one_of_the_same_type_or_leaves_it():
    """Its line is told; without a result it has only looked."""

    def shorter(dx):
        return dx.sum()

    def looks(dx):
        assert dx[0] < 10.0, "large"

    assert refused(grad(lambda x: hook(x, shorter).sum())).startswith(
        "hook shorter: cotangent 0 is float32[], argument 0 is float32[3]\n"
        "  rule: a cotangent has the shape and dtype of its argument\n"
        f"{line(shorter, 0, 'def shorter(dx):')}\n"
    )
    np.testing.assert_array_equal(grad(lambda x: (hook(x, looks) * 2.0).sum())(X).numpy(), [2, 2, 2])


def _operator(name, vjp):
    return Op(
        name, "...->...", lambda x, /: x, lambda x: x * 2, vjp,
        samples=(sample((3,)),),
    )  # fmt: skip


@pytest.fixture
def operators(monkeypatch):
    """Operators of the test's own: they leave the table after it."""
    from framework.ir import registry

    for name in list(registry.OPERATORS):
        monkeypatch.setitem(registry.OPERATORS, name, registry.OPERATORS[name])
    before = set(registry.OPERATORS)
    yield _operator
    for name in set(registry.OPERATORS) - before:
        del registry.OPERATORS[name]


@pytest.mark.parametrize("way", [grad, WAYS["grad of grad"], WAYS["jvp"]])
def test_an_operator_without_a_gradient_rule_is_told_with_the_line_of_its_call(operators, way):
    """It is not taken for one whose derivative is zero."""
    twice = operators("twice", MissingGradient("twice", "nobody knows it"))

    def f(x):
        y = twice(x)
        return y.sum()

    assert refused(way(f)).startswith(
        "operator twice has no gradient rule: nobody knows it\n"
        "  next: give one, vjp=lambda call, dy: (...); or ops.stop_gradient(twice(...)) for zeros\n"
        f"{line(f, 1, 'y = twice(x)')}"
    )
    assert float(jit(f)(X)) == 4.0
    assert grad(lambda x: (ops.stop_gradient(twice(x)) * x).sum())(X).numpy().tolist() == [2, -4, 6]


@pytest.mark.parametrize(
    ("vjp", "told"),
    [
        (
            lambda call, dy: (dy, dy),
            "it gives 2 cotangents, there are 1 inputs\n"
            "  next: return a tuple with a cotangent, or None for zero, per input",
        ),
        (
            lambda call, dy: dy,
            "it gives no tuple of cotangents, there are 1 inputs\n"
            "  next: return a tuple with a cotangent, or None for zero, per input",
        ),
        (
            lambda call, dy: (dy.sum(),),
            "cotangent 0 is float32[], input 0 is float32[3]\n  rule: a cotangent has the shape of its input",
        ),
    ],
)
@pytest.mark.parametrize("way", [grad, WAYS["jvp"]])
def test_a_wrong_rule_of_an_operator_is_told_with_the_line_of_its_call(operators, way, vjp, told):
    """Count and shape of its cotangents."""
    twice = operators("twice", vjp)

    def f(x):
        return twice(x).sum()

    assert refused(way(f)) == (
        f"gradient rule of operator twice: {told}\n{line(f, 1, 'return twice(x).sum()', 'twice')}"
    )


@every_way
def test_an_index_outside_of_its_axis_names_the_line_in_every_derivative(way):
    """Of the element that is read, also where the derivative adds to it."""

    def f(x):
        i = ops.cast(x[2], "int32")
        y = x * x
        return (y[i] * x[i - 1]).sum()

    assert refused(way(f), kind=OutsideAxis) == (
        "index: position 3 is outside axis 0 of [3]\n  rule: from -3 to 2\n"
        "  next: ops.clip(i, 0, 2) keeps an index inside\n"
        f"{line(f, 3, 'return (y[i] * x[i - 1]).sum()', 'y[i]')}"
    )


def left(n, x):
    if n == 0.0:
        return x
    return right(n - 1.0, x) * 0.5


def right(n, x):
    y = left(n - 1.0, x)
    return y + 1.0


@pytest.mark.parametrize(
    ("way", "suffix"), [(jit, ""), (grad, "_ahead"), (lambda f: lambda x: vmap(f)(x[None]), "_batch")]
)
def test_endless_mutual_recursion_shows_both_functions(way, suffix):
    """Also the one that has been inlined into the other, in the program, its derivative and its batch."""
    text = refused(way(lambda x: left(x[0] + 0.5, x[1])), kind=EndlessRecursion)
    head, *lines = text.splitlines()
    assert re.fullmatch(f"@left_1{suffix} calls itself without an end: 99,9.. calls are nested", head)
    chain = [each for each in lines if "  @left" in each or "  @right" in each]
    calls = [each.split(":")[1].split("  ")[1] for each in chain]
    assert [each for each in calls if not each.startswith("if ")] == [
        "return right(n - 1.0, x) * 0.5",
        "y = left(n - 1.0, x)",
    ]
    assert re.fullmatch("  then, 99,9.. times over:", lines[1])
    assert lines[-2:] == [
        "  rule: calls are nested at most 100,000 deep",
        "  next: let a branch return without a call, or write a loop",
    ]


WEIGHT = Parameter(np.ones(3, np.float32), "w")


def weighted(w, x):
    return (w * x).sum()


def test_a_weight_that_is_an_argument_is_refused():
    """Its gradient as a weight would be zero, as the function uses its argument; both ways out work."""
    told = (
        "grad of weighted: Parameter 'w' is asked for by weights and is an argument, too\n"
        "  rule: weights are Parameters that the function uses without being passed them\n"
        "  next: ask for the argument by position, or let the function use the Parameter itself\n"
        f"{line(weighted, 0, 'def weighted(w, x):')}"
    )
    by_weight = grad(weighted, None, weights=WEIGHT)
    assert refused(by_weight, WEIGHT, X) == told
    assert refused(jit(lambda x: by_weight(WEIGHT, x))).startswith(told)
    for way in (grad(weighted), lambda w, x: grad(lambda x: weighted(w, x), None, weights=w)(x)):
        np.testing.assert_array_equal(way(WEIGHT, X).numpy(), X.numpy())
    inside = jit(lambda x, w: grad(lambda x: weighted(w, x), None, weights=w)(x))
    assert refused(inside, X, WEIGHT).startswith(
        "grad: weights has a tensor float32[3], an argument of the compiled function around\n"
        "  rule: weights are Parameters, which are used without being passed\n"
        "  next: pass it to the function that is differentiated, too, and ask for it by position\n"
    )


@pytest.mark.parametrize("position", ["x", 1.0, (0, "y"), True])
def test_positions_are_numbers(position):
    """What is none is refused at once."""
    with pytest.raises(GradientError, match="it must be an int or a tuple of them"):
        grad(weighted, position)


@pytest.mark.parametrize("way", [grad, WAYS["grad of grad"], WAYS["on the device"]])
def test_a_demand_that_fails_in_a_loop_names_its_line_in_every_derivative(way):
    """With the value that it shows."""

    def f(x):
        s = x[0]
        while s < 100.0:
            assert s < 50.0, f"s is {s}"
            s = s * 2.0
        return s * s

    told = line(f, 3, 'assert s < 50.0, f"s is {s}"', "assert")
    assert refused(way(f), kind=CheckFailed) == f"AssertionError: s is 64.0\n{told}"
