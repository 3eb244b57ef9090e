"""Derivatives of Funcs with loops, branches, recursion and functions as values, to the third order."""

from __future__ import annotations

import numpy as np
import pytest

from framework.autodiff import differentiate
from framework.autodiff.forward import push
from framework.dtypes import float64, int64
from framework.ir import (
    Builder,
    Func,
    TensorType,
    evaluate,
    parse_func,
    print_func,
    structurally_equal,
    verify,
)
from framework.ir.control import APPLY
from framework.ir.flow import Part, branch, closure, loop, scan
from framework.ir.nodes import CALL, Rec

F, N = TensorType((), float64), TensorType((), int64)


def power() -> Func:
    """While n > 0: x = x * x * k; n -= 1."""
    b = Builder()
    x, n, k = b.param(F, "x"), b.param(N, "n"), b.param(F, "k")
    inside = Builder(b)
    _, count = inside.param(F), inside.param(N)
    cond = Part(inside, [count > 0], "power.cond")
    turn = Builder(b)
    here, count = turn.param(F), turn.param(N)
    body = Part(turn, [here * here * k, count - 1], "power.body")
    return b.finish("power", loop(b, [x, n], cond, body)[:1])


def factorial() -> Func:
    """Return x times the factorial of x - 1, or 1 from x = 1 downwards."""
    b = Builder()
    x = b.param(F, "x")
    one, more = Builder(b), Builder(b)
    below = more.bind(CALL, [x - 1.0], {"func": Rec("factorial")}, {"factorial": ((F,), (F,))})[0]
    orelse = Part(more, [more.lift(x) * below], "factorial.else")
    then = Part(one, [one.constant(1.0, float64)], "factorial.then")
    func = b.finish("factorial", branch(b, x <= 1.0, then, orelse))
    outer = Builder()
    return outer.finish("main", outer.call(func, [outer.param(F, "x")]))


def chosen() -> Func:
    """(a -> a * x * x if x > 1 else a -> a * a * x)(x * x)."""
    b = Builder()
    x = b.param(F, "x")

    def part(name: str, squares_argument: bool) -> Part:
        taken = Builder(b)
        code = Builder(taken)
        a, caught = code.param(F), code.lift(x)
        value = a * a * caught if squares_argument else a * caught * caught
        return Part(taken, [closure(taken, Part(code, [value], f"{name}.code"))], name)

    function = branch(b, x > 1.0, part("large", False), part("small", True))[0]
    return b.finish("chosen", b.bind(APPLY, [function, x * x], {}))


def nested() -> Func:
    """For i in 3, 2, 1: j = 2: while j > 0: x = x * x / k if x > k else x * k."""
    b = Builder()
    x, n, k = b.param(F, "x"), b.param(N, "n"), b.param(F, "k")

    def inner(turn: Builder, value, times):
        over, go = Builder(turn), Builder(turn)
        _, left = over.param(F), over.param(N)
        cond = Part(over, [left > 0], "inner.cond")
        here, left = go.param(F), go.param(N)
        then, orelse = Builder(go), Builder(go)
        large = Part(then, [then.lift(here) * here / k], "large")
        small = Part(orelse, [orelse.lift(here) * k], "small")
        (value_,) = branch(go, here > go.lift(k), large, small)
        return loop(turn, [value, times], cond, Part(go, [value_, left - 1], "inner.body"))[0]

    outside, turn = Builder(b), Builder(b)
    _, left = outside.param(F), outside.param(N)
    cond = Part(outside, [left > 0], "outer.cond")
    here, left = turn.param(F), turn.param(N)
    body = Part(turn, [inner(turn, here, turn.constant(np.int64(2))), left - 1], "outer.body")
    return b.finish("nested", loop(b, [x, n], cond, body)[:1])


def kept() -> Func:
    """A loop that saves x ** i, then a scan that sums products of them backwards."""
    b = Builder()
    x, n = b.param(F, "x"), b.param(N, "n")
    over, turn = Builder(b), Builder(b)
    _, left = over.param(F), over.param(N)
    here, count = turn.param(F), turn.param(N)
    body = Part(turn, [here * x, count - 1, here], "kept.body")
    _, _, powers = loop(b, [x, n], Part(over, [left > 0], "kept.cond"), body, saves=1)
    sums = Builder(b)
    element, total = sums.param(F), sums.param(F)
    y, products = scan(
        b, [powers], [x], Part(sums, [total * 0.5 + element * element, total * element], "sums"), 1, True
    )
    last = Builder(b)
    element, total = last.param(F), last.param(F)
    z = scan(b, [products], [y], Part(last, [total + element * element], "last"))[0]
    return b.finish("kept", [z])


PROGRAMS = [
    (power(), [1.1, 3, 0.9], [0, 2]),
    (power(), [1.1, 0, 0.9], [0, 2]),
    (factorial(), [3.5], [0]),
    (factorial(), [0.5], [0]),
    (chosen(), [1.3], [0]),
    (chosen(), [0.7], [0]),
    (nested(), [1.2, 3, 1.1], [0, 2]),
    (kept(), [1.05, 4], [0]),
]


def slope(func: Func, args: list, position: int, step: float = 1e-5) -> float:
    """Return the central difference of result 0."""
    low, high = list(args), list(args)
    low[position], high[position] = args[position] - step, args[position] + step
    return (value(func, high) - value(func, low)) / (2 * step)


def value(func: Func, args: list) -> float:
    """Return result 0."""
    return float(evaluate(func, [np.asarray(each) for each in args])[0])


@pytest.mark.parametrize(("func", "args", "wrt"), PROGRAMS, ids=lambda each: getattr(each, "name", None))
def test_derivatives_of_control_flow_equal_differences(func, args, wrt):
    """Each order is the derivative of the one before; each is a Func that verifies and reads back."""
    for _ in range(3):
        gradient = verify(differentiate(func, wrt))
        assert structurally_equal(parse_func(print_func(gradient)), gradient)
        found = evaluate(gradient, [np.asarray(each) for each in args])
        expected = [slope(func, args, position) for position in wrt]
        np.testing.assert_allclose(np.array(found, float), expected, rtol=2e-6, atol=1e-6)
        func = verify(differentiate(func, wrt[:1]))


def test_the_derivative_of_a_loop_holds_a_loop_and_no_copies():
    """It serves every number of turns."""
    gradient = differentiate(power(), [0])
    assert [op for op in gradient.ops() if op in ("while", "scan")] == ["while", "scan"]
    for turns in (0, 1, 7):
        found = evaluate(gradient, [np.float64(1.01), np.int64(turns), np.float64(1.0)])
        expected = 2.0**turns * 1.01 ** (2**turns - 1)
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)


@pytest.mark.parametrize(("func", "args", "wrt"), PROGRAMS, ids=lambda each: getattr(each, "name", None))
def test_forward_and_reverse_mode_agree(func, args, wrt):
    """Tangents are those of the gradient; also forward over reverse and reverse over forward."""
    position = wrt[0]
    forward = tangent_func(func, position)
    gradient = differentiate(func, [position])
    expected = value(gradient, args)
    np.testing.assert_allclose(value(forward, args), expected, rtol=1e-12)
    second = value(differentiate(gradient, [position]), args)
    for func_of_second in (tangent_func(gradient, position), differentiate(forward, [position])):
        np.testing.assert_allclose(value(verify(func_of_second), args), second, rtol=1e-12)


def tangent_func(func: Func, position: int) -> Func:
    """Return the Func of the tangent of result 0 when one parameter moves by one."""
    pushed = push(func, [at == position for at in range(len(func.params))])
    builder = Builder()
    params = [builder.param(each.type, each.name) for each in func.params]
    outputs = builder.call(verify(pushed.func), [*params, 1.0 + 0.0 * params[position]])
    return verify(builder.finish("tangent", [outputs[len(func.results)]]))
